"""The URL of a Redis server, in all its forms, and what is refused without showing a secret."""

from pathlib import Path
from typing import Any

import pytest

from core.base.environment import SettingsError, read
from core.base.redis_url import RedisUrl, Tls, is_redis, parse

FORMS: dict[str, dict[str, Any]] = {
    "redis://h": {"hosts": (("h", 6379),)},
    "redis://": {"hosts": (("localhost", 6379),)},
    "redis://h:6380/3": {"hosts": (("h", 6380),), "db": 3},
    "redis://h/3?db=4": {"hosts": (("h", 6379),), "db": 4},
    "redis://[::1]:7/1": {"hosts": (("::1", 7),), "db": 1},
    "redis://u:p%40%2F%3A@h": {"hosts": (("h", 6379),), "username": "u", "password": "p@/:"},
    "redis://:a@b@h": {"hosts": (("h", 6379),), "password": "a@b"},
    "redis://h?username=u&password=p%26": {"hosts": (("h", 6379),), "username": "u", "password": "p&"},
    "rediss://h": {"hosts": (("h", 6379),), "tls": Tls()},
    "rediss://h?ssl_cert_reqs=CERT_NONE": {"hosts": (("h", 6379),), "tls": Tls(ssl_cert_reqs="none")},
    "unix:///run/redis.sock": {"socket": "/run/redis.sock"},
    "unix://u:p@/a%20b?db=2": {"socket": "/a b", "db": 2, "username": "u", "password": "p"},
    "redis+socket:///run/redis.sock?virtual_host=2": {"socket": "/run/redis.sock", "db": 2},
    "sentinel://a,b:27000/2?master=m": {"hosts": (("a", 26379), ("b", 27000)), "db": 2, "master": "m"},
    "redis+sentinel://a?service_name=m": {"hosts": (("a", 26379),), "master": "m"},
    "sentinels://u:p@a?master=m&sentinel_username=v&sentinel_password=q": {
        "hosts": (("a", 26379),), "master": "m", "username": "u", "password": "p", "tls": Tls(),
        "sentinel_username": "v", "sentinel_password": "q",
    },
    "redis://h?socket_timeout=2.5&socket_connect_timeout=1&health_check_interval=0&client_name=n": {
        "hosts": (("h", 6379),), "socket_timeout": 2.5, "socket_connect_timeout": 1.0, "health_check_interval": 0,
        "client_name": "n",
    },
}  # fmt: skip


@pytest.mark.parametrize("text", FORMS)
def test_a_form_means(text: str) -> None:
    assert parse(text) == RedisUrl(**FORMS[text])
    assert read({"REDIS_URL": text}).broker == text


REFUSED = {
    "localhost:6379": "is not a URL such as redis://host:6379/0",
    "http://h": "is not a URL such as redis://host:6379/0",
    "redis://h:99999": "has a port that is not a number from 1 to 65535",
    "redis://h:0": "has a port that is not a number from 1 to 65535",
    "redis://h/x": "must have a whole number for the database",
    "redis://h/-1": "must have a whole number for the database",
    "redis://h?db=x": "must have a whole number for db",
    "redis://h?decode_responses=true": "has an option that is unknown: there are client_name, db",
    "redis://h,i": "names several servers",
    "redis://h?master=m": "has options for sentinels",
    "redis://h?ssl_cert_reqs=none": "has options of TLS",
    "redis://h?socket_timeout=0": "must have a number of seconds above 0 for socket_timeout",
    "redis://h?socket_timeout=nan": "must have a number of seconds above 0 for socket_timeout",
    "rediss://h?ssl_ca_certs=/no/such/file": "has ssl_ca_certs=/no/such/file, which cannot be read: No such file",
    "rediss://h?ssl_certfile=/no/such/file": "has ssl_certfile=/no/such/file, which cannot be read: No such file",
    "rediss://h?ssl_keyfile=/no/such/file": "has ssl_keyfile and no ssl_certfile",
    "rediss://h?ssl_cert_reqs=maybe": "must have required, optional or none for ssl_cert_reqs",
    "unix://run/redis.sock": "does not name a socket: three slashes",
    "unix:///": "does not name a socket",
    f"unix:///{'a' * 120}": "names a socket whose path is longer than the",
    "sentinel://a:26379": "does not name the master that the sentinels watch",
    "redis://[::1": "has special characters in its password",
    "redis://:sec/ret@h": "has special characters in its password",
    "redis://:sec?ret@h": "has special characters in its password",
    "redis://:sec#ret@h": "has",
    "redis://:sec[ret@h": "has special characters in its password",
    "redis://:6x9secret": "has a port that is not a number from 1 to 65535, or a password",
    "redis://h?password=sec&ret=1": "has an option that is unknown",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_cannot_work_is_refused_in_one_sentence_without_a_secret(text: str) -> None:
    for name in ("REDIS_URL", "BROKER_URL") if is_redis(text) else ("REDIS_URL",):
        with pytest.raises(SettingsError) as caught:
            read({name: text})
        (fault,) = caught.value.faults
        assert fault.startswith(f"{name} {REFUSED[text]}")
        assert "sec" not in fault.replace("seconds", "")
        assert "ret" not in fault


def test_a_file_without_a_certificate_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ca.crt"
    path.write_text("no certificate")
    with pytest.raises(ValueError, match=f"has ssl_ca_certs={path}, which has no certificate in PEM form"):
        parse(f"rediss://h?ssl_ca_certs={path}")
