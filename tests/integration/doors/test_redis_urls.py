"""One URL means the same to Celery and to our own client, in each form, on a real server."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import pytest
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

import celeryconfig
from core.base import redis_url
from core.doors import clients
from tests.harness.programs import missing_program
from tests.harness.redis_servers import (
    celery_of,
    certificates,
    free_port,
    names,
    needs_redis_7,
    redis_server,
    take,
    until_ready,
)

SECRET = "p@ss/w:rd?#%+;,& é"
"""A password of all the characters that mean something in a URL."""
ENCODED = quote(SECRET, safe="")

LEAST = (
    "-@all +@connection -@admin -@dangerous "
    "+set +get +del +publish +subscribe +unsubscribe +lpush +rpush +brpop +rpop +llen +exists +hset +hget +hdel +hlen "
    "+zadd +zrem +zrange +sadd +srem +smembers +watch +unwatch +multi +exec +evalsha +script|load +script|exists +type"
)
"""All that a ledger's user needs. The how-to page says the same."""


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., int]]:
    """Starts a server of these arguments, which lives as long as the module's tests."""
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(redis_server(tmp_path_factory.mktemp("redis"), *arguments))


@pytest.fixture(scope="module")
def plain(start: Callable[..., int]) -> int:
    """The port of a server with a password, and a user that may do the least."""
    port = start("--requirepass", SECRET)
    admin = until_ready(f"redis://:{ENCODED}@127.0.0.1:{port}")
    rules = f"on ~{names().prefix}* resetchannels &{names().prefix}* {LEAST}"
    admin.execute_command("ACL", "SETUSER", "a-ledger", f">{SECRET}", *rules.split())
    return port


@pytest.fixture(scope="module")
def least(plain: int) -> int:
    """The port of the same server, for all that a user needs who may do the least."""
    needs_redis_7(until_ready(f"redis://:{ENCODED}@127.0.0.1:{plain}"))
    return plain


@pytest.fixture(scope="module")
def socket_path(start: Callable[..., int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("s") / "a redis.sock"
    start("--port", "0", "--unixsocket", str(path), "--requirepass", SECRET)
    return path


@pytest.fixture(scope="module")
def tls(start: Callable[..., int], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The place of a server that speaks TLS alone, and the option that names its authority."""
    ca, cert, key = certificates(tmp_path_factory.mktemp("ca"))
    port = free_port()
    files = ["--tls-cert-file", str(cert), "--tls-key-file", str(key), "--tls-ca-cert-file", str(ca)]
    start("--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no", "--requirepass", SECRET, *files)
    try:
        until_ready(f"rediss://:{ENCODED}@127.0.0.1:{port}?ssl_ca_certs={ca}")
    except AssertionError:
        missing_program("redis-server with TLS")
    return f"127.0.0.1:{port}/0?ssl_ca_certs={quote(str(ca))}"


@pytest.fixture
def url(request: pytest.FixtureRequest) -> str:
    """The URL of a form, which names the server that it needs."""
    server, form = request.param
    found = request.getfixturevalue(server)
    return str(form.format(at=quote(str(found)) if server == "socket_path" else found, secret=ENCODED))


FORMS = [
    ("plain", "redis://:{secret}@127.0.0.1:{at}"),
    ("plain", "redis://:{secret}@127.0.0.1:{at}/0?socket_timeout=3&socket_connect_timeout=2&health_check_interval=7"),
    ("plain", "redis://default:{secret}@127.0.0.1:{at}/3"),
    ("plain", "redis://127.0.0.1:{at}/3?password={secret}"),
    ("least", "redis://a-ledger:{secret}@127.0.0.1:{at}"),
    ("socket_path", "unix://:{secret}@{at}"),
    ("socket_path", "unix://:{secret}@{at}?db=2"),
    ("socket_path", "redis+socket://default:{secret}@{at}?virtual_host=2"),
    ("tls", "rediss://:{secret}@{at}"),
    ("tls", "rediss://:{secret}@{at}&ssl_cert_reqs=required&ssl_check_hostname=true"),
    ("tls", "rediss://:{secret}@{at}&ssl_cert_reqs=none&ssl_check_hostname=false"),
]


@pytest.mark.parametrize("url", FORMS, indirect=True, ids=lambda form: form[1])
def test_both_reach_the_server_and_the_same_database(url: str) -> None:
    ours, app = until_ready(url), celery_of(url, names())
    app.send_task(celeryconfig.DRAIN, (7,), retry=False)
    pipe = ours.pipeline(transaction=False)
    assert pipe.llen(f"{names().prefix}postings.7").execute() == [1]
    assert take(app, names().postings(7)) == celeryconfig.DRAIN
    assert ours.llen(f"{names().prefix}postings.7") == 0
    assert ours.set(names().bell, 1, nx=True, ex=2)
    listener = ours.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(names().decided)
    while (heard := listener.get_message(timeout=1)) is None:
        ours.publish(names().decided, "{}")
    assert heard["data"] == b"{}"
    listener.close()
    ours.delete(names().bell)
    app.close()


def test_a_ledgers_user_may_touch_no_key_and_no_channel_of_another(plain: int) -> None:
    ours = until_ready(f"redis://a-ledger:{ENCODED}@127.0.0.1:{plain}")
    other = names(2)
    with pytest.raises(NoPermissionError):
        ours.set(other.bell, 1)
    with pytest.raises(NoPermissionError):
        ours.publish(other.decided, "{}")
    with pytest.raises(NoPermissionError):
        ours.config_get("*")


@pytest.mark.parametrize("login", [":wrong@", "", "a-ledger:wrong@"])
def test_a_wrong_password_fails_and_is_not_printed(plain: int, login: str) -> None:
    url = f"redis://{login}127.0.0.1:{plain}"
    with pytest.raises(RedisError) as caught:
        clients.connect(redis_url.parse(url)).ping()
    assert isinstance(caught.value, AuthenticationError)
    with pytest.raises(Exception) as other:  # noqa: PT011
        celery_of(url, names()).send_task(celeryconfig.DRAIN, (7,), retry=False)
    assert "wrong" not in f"{caught.value}{other.value!r}".replace("WRONGPASS", "")


def test_an_unknown_authority_is_refused_by_both(tls: str) -> None:
    url = f"rediss://:{ENCODED}@{tls.partition('?')[0]}"
    with pytest.raises(RedisError, match="CERTIFICATE_VERIFY_FAILED"):
        clients.connect(redis_url.parse(url)).ping()
    with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
        celery_of(url, names()).send_task(celeryconfig.DRAIN, (7,), retry=False)


def test_every_key_of_a_ledger_begins_with_its_prefix(start: Callable[..., int]) -> None:
    url = f"redis://127.0.0.1:{start()}"
    ours, app = until_ready(url), celery_of(url, names())
    for number in range(3):
        app.send_task(celeryconfig.DRAIN, (number,), retry=False)
    app.send_task(celeryconfig.SWEEP, retry=False)
    ours.set(names().bell, 1)
    with app.connection_for_read() as connection:
        message = connection.default_channel.basic_get(names().postings(1))
        assert message is not None
        found = ours.keys("*")
    assert {f"{names().prefix}{end}".encode() for end in ("postings.0", "postings.2", "bell", "unacked")} <= set(found)
    assert [key for key in found if not key.startswith(names().prefix.encode())] == []
    app.close()
