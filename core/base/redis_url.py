"""Reads the URL of a Redis server in any of its usual forms. It reads nothing but the files of certificates.

Celery's library and ours differ in the forms that they take, so this module alone decides what a URL means. The forms are
``redis://``, ``rediss://`` (TLS), ``unix://`` or ``redis+socket://`` (a socket), and ``sentinel://`` or ``sentinels://``
(TLS) for servers that Redis Sentinel watches.
"""

import ssl
import sys
from collections.abc import Callable
from functools import cache
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from msgspec import Struct
from msgspec.structs import asdict

from core.base.secrets import HIDDEN

PORT = 6379
SENTINEL_PORT = 26379

_SERVER = ("redis", "rediss")
_SOCKET = ("unix", "redis+socket")
_SENTINEL = ("sentinel", "sentinels", "redis+sentinel", "rediss+sentinel")
SCHEMES = (*_SERVER, *_SOCKET, *_SENTINEL)
_TLS = ("rediss", "sentinels", "rediss+sentinel")

_SOCKET_PATH_BYTES = 103 if sys.platform == "darwin" else 107
"""The longest path of a socket that the system takes."""

_VERIFY = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "none": ssl.CERT_NONE}

EXAMPLE = "is not a URL such as redis://host:6379/0"
_NOT_ENCODED = "has special characters in its password: write them percent-encoded, / as %2F and @ as %40"


class Tls(Struct, frozen=True, kw_only=True):
    """How to check the server's certificate, and which one to show. The names are those of the URL's options."""

    ssl_ca_certs: str | None = None
    ssl_cert_reqs: str = "required"
    ssl_check_hostname: bool = True
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None


class RedisUrl(Struct, frozen=True, kw_only=True):
    """The parts of the URL of a Redis server. A field is None when the URL does not say it."""

    hosts: tuple[tuple[str, int], ...] = ()
    """The host and the port of the server, or of each sentinel. It is empty for a socket."""
    socket: str | None = None
    """The path of the server's socket."""
    master: str | None = None
    """The name under which the sentinels know the master. It is None without sentinels."""
    db: int = 0
    username: str | None = None
    password: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = None
    tls: Tls | None = None
    socket_timeout: float | None = None
    socket_connect_timeout: float | None = None
    health_check_interval: int | None = None
    client_name: str | None = None

    def __repr__(self) -> str:
        shown = {name: value for name, value in asdict(self).items() if value is not None}
        hidden = {name: HIDDEN for name in ("password", "sentinel_password") if name in shown}
        return f"RedisUrl({', '.join(f'{name}={value!r}' for name, value in (shown | hidden).items())})"


def is_redis(text: str) -> bool:
    """Tell whether a URL means a Redis server."""
    return text.partition("://")[0] in SCHEMES and "://" in text


@cache
def parse(text: str) -> RedisUrl:
    """Read a URL. No message shows a part of it that may be secret.

    Raises:
        ValueError: it means no server. The message is the end of a sentence that begins with the setting's name.
    """
    if not is_redis(text):
        raise ValueError(EXAMPLE)
    try:
        url = urlsplit(text)
    except ValueError:  # Its message may show the password.
        raise ValueError(_NOT_ENCODED) from None
    if url.scheme not in _SOCKET and ("@" in url.path or ("@" in url.query and "@" not in url.netloc)):
        raise ValueError(_NOT_ENCODED)
    options = _options(url)
    login, _, hosts = url.netloc.rpartition("@")
    username, _, password = login.partition(":")
    fields: dict[str, Any] = {
        "username": unquote(username) or options.pop("username", None),
        "password": unquote(password) or options.pop("password", None),
    }
    if url.scheme in _SOCKET:
        fields["socket"] = _socket_path(hosts, url.path)
    else:
        port = SENTINEL_PORT if url.scheme in _SENTINEL else PORT
        fields["hosts"] = tuple(_host(host, port) for host in hosts.split(","))
        if url.scheme in _SERVER and len(fields["hosts"]) > 1:
            raise ValueError("names several servers: only sentinel:// takes a list of hosts")
        options.setdefault("db", _number(unquote(url.path.strip("/")) or "0", "the database"))
    if url.scheme in _SENTINEL and not options.get("master"):
        raise ValueError("does not name the master that the sentinels watch: add ?master=mymaster")
    tls = {name: options.pop(name) for name in Tls.__struct_fields__ if name in options}
    if url.scheme in _TLS:
        fields["tls"] = Tls(**tls)
        _check_certificates(fields["tls"])
    elif tls:
        raise ValueError("has options of TLS: only rediss:// and sentinels:// mean TLS")
    return RedisUrl(**fields, **options)


def _options(url: SplitResult) -> dict[str, Any]:
    """Read the query. A name that is given twice counts once, the last one."""
    try:
        given = [(_ALIASES.get(name, name), value) for name, value in parse_qsl(url.query, keep_blank_values=True)]
        options = {name: _OPTIONS[name](value, name) for name, value in given}
    except KeyError:
        known = ", ".join(sorted(_OPTIONS))
        raise ValueError(f"has an option that is unknown: there are {known}") from None
    if url.scheme not in _SENTINEL and options.keys() & {"master", "sentinel_username", "sentinel_password"}:
        raise ValueError("has options for sentinels: only sentinel:// and sentinels:// name some")
    if url.fragment:
        raise ValueError("has the character # in it: write it percent-encoded, as %23")
    return options


def _host(text: str, default_port: int) -> tuple[str, int]:
    """Read one host with its port. An IPv6 address is in brackets."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    else:
        host, _, port = text.partition(":")
    number = int(port) if port.isascii() and port.isdecimal() else 0 if port else default_port
    if not 0 < number < 2**16:
        raise ValueError("has a port that is not a number from 1 to 65535, or a password that is not percent-encoded")
    return unquote(host) or "localhost", number


def _socket_path(host: str, path: str) -> str:
    found = unquote(path)
    if host or not found.strip("/"):
        raise ValueError("does not name a socket: three slashes come before its path, as in unix:///run/redis.sock")
    if len(found.encode()) > _SOCKET_PATH_BYTES:
        raise ValueError(
            f"names a socket whose path is longer than the {_SOCKET_PATH_BYTES} bytes that the system takes"
        )
    return found


def _check_certificates(tls: Tls) -> None:
    """Load the files of certificates once, so that a wrong one is told at the start."""
    context = ssl.create_default_context()
    name, path = "ssl_ca_certs", tls.ssl_ca_certs
    try:
        if path is not None:
            context.load_verify_locations(path)
        name, path = "ssl_certfile", tls.ssl_certfile
        if path is not None:
            context.load_cert_chain(path, tls.ssl_keyfile)
    except ssl.SSLError:
        raise ValueError(f"has {name}={path}, which has no certificate in PEM form, or not that of the key") from None
    except OSError as error:
        raise ValueError(f"has {name}={path}, which cannot be read: {error.strerror}") from None
    if tls.ssl_keyfile is not None and tls.ssl_certfile is None:
        raise ValueError("has ssl_keyfile and no ssl_certfile")


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"must have a whole number for {name}")
    return int(text)


def _seconds(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 3600:
        raise ValueError(f"must have a number of seconds above 0 for {name}")
    return value


def _verify(text: str, name: str) -> str:
    value = text.lower().removeprefix("cert_")
    if value not in _VERIFY:
        raise ValueError(f"must have required, optional or none for {name}")
    return value


def _yes_or_no(text: str, name: str) -> bool:
    value = text.lower()
    if value not in ("true", "false", "yes", "no", "1", "0"):
        raise ValueError(f"must have true or false for {name}")
    return value in ("true", "yes", "1")


def _text(text: str, name: str) -> str:
    if not text:
        raise ValueError(f"has no value for {name}")
    return text


_OPTIONS: dict[str, Callable[[str, str], Any]] = {
    "client_name": _text,
    "db": _number,
    "health_check_interval": _number,
    "master": _text,
    "password": _text,
    "sentinel_password": _text,
    "sentinel_username": _text,
    "socket_connect_timeout": _seconds,
    "socket_timeout": _seconds,
    "ssl_ca_certs": _text,
    "ssl_cert_reqs": _verify,
    "ssl_certfile": _text,
    "ssl_check_hostname": _yes_or_no,
    "ssl_keyfile": _text,
    "username": _text,
}

_ALIASES = {"virtual_host": "db", "master_name": "master", "service_name": "master"}
"""The names that other libraries give to some options."""
