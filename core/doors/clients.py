"""Turns the URL of a Redis server into what Celery takes, and into a client of our own."""

from typing import Any
from urllib.parse import quote

from msgspec.structs import asdict
from redis import (
    Connection,
    ConnectionError,
    ConnectionPool,
    Redis,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from core.base.redis_url import RedisUrl

_CONNECT_TIMEOUT_S = 1.0
_TIMEOUT_S = 1.0
_HEALTH_CHECK_S = 5
"""A connection that was idle for so long is tried before it is used. A subscription is tried each time that it passes."""

_CELERY_CONNECT_TIMEOUT_S = 2.0
_CELERY_TIMEOUT_S = 5.0
"""A worker waits for a message for a second at a time, so its answers come later than ours."""

_ONCE = Retry(NoBackoff(), 0)
"""Asks the next sentinel at once when one is away. The library would try the same one for seconds."""


def connect(url: RedisUrl) -> Redis:
    """Make a client, which connects when it is used. Its calls end within seconds, whatever the server does.

    A connection that turns out to be closed is opened again at once, one time. A timeout is never tried again.
    """
    options: dict[str, Any] = {
        "db": url.db,
        "username": url.username,
        "password": url.password,
        "client_name": url.client_name,
        "socket_timeout": url.socket_timeout or _TIMEOUT_S,
        "health_check_interval": _HEALTH_CHECK_S if url.health_check_interval is None else url.health_check_interval,
        "retry": Retry(NoBackoff(), 1, supported_errors=(ConnectionError,)),
    }
    if url.socket is not None:
        return Redis(
            connection_pool=ConnectionPool(connection_class=UnixDomainSocketConnection, path=url.socket, **options)
        )
    options["socket_connect_timeout"] = url.socket_connect_timeout or _CONNECT_TIMEOUT_S
    options["socket_keepalive"] = True
    tls = _tls(url)
    if url.master is not None:
        secure = {"ssl": True, **tls} if url.tls else {}
        sentinels = Sentinel(url.hosts, sentinel_kwargs=_sentinel_options(url, options) | secure, **options, **secure)
        master: Redis = sentinels.master_for(url.master)
        return master
    (host, port), *_ = url.hosts
    kind = SSLConnection if url.tls else Connection
    return Redis(connection_pool=ConnectionPool(connection_class=kind, host=host, port=port, **options, **tls))


def celery_settings(url: RedisUrl) -> dict[str, Any]:
    """Return Celery's settings for this server: ``broker_url``, ``broker_use_ssl`` and ``broker_transport_options``."""
    options: dict[str, Any] = {
        "socket_timeout": url.socket_timeout or _CELERY_TIMEOUT_S,
        "socket_connect_timeout": url.socket_connect_timeout or _CELERY_CONNECT_TIMEOUT_S,
        "socket_keepalive": True,
        "health_check_interval": 10 if url.health_check_interval is None else url.health_check_interval,
        "client_name": url.client_name,
    }
    login = f"{quote(url.username or '', safe='')}:{quote(url.password or '', safe='')}@"
    if login == ":@":
        login = ""
    if url.socket is not None:
        broker = f"redis+socket://{login}{quote(url.socket)}?virtual_host={url.db}"
    else:
        scheme = "sentinel" if url.master is not None else "rediss" if url.tls else "redis"
        hosts = (f"[{host}]:{port}" if ":" in host else f"{quote(host)}:{port}" for host, port in url.hosts)
        broker = ";".join(f"{scheme}://{login}{host}/{url.db}" for host in hosts)
    tls = _tls(url)
    if url.master is not None:
        secure = {"ssl": True, **tls} if url.tls else {}
        options |= {"master_name": url.master, "sentinel_kwargs": _sentinel_options(url, options) | secure}
    return {"broker_url": broker, "broker_use_ssl": tls or None, "broker_transport_options": options}


def _tls(url: RedisUrl) -> dict[str, Any]:
    """Return the options of TLS, which have the same names for both libraries."""
    return {} if url.tls is None else asdict(url.tls)


def _sentinel_options(url: RedisUrl, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of the connections to the sentinels themselves, which have a login of their own."""
    timeouts = {name: options[name] for name in ("socket_timeout", "socket_connect_timeout")}
    return {**timeouts, "retry": _ONCE, "username": url.sentinel_username, "password": url.sentinel_password}
