"""Drops what is in the queues and is no message of ours, so that it neither ends a worker nor stops it from consuming.

Whoever may write to Redis, or to the folder of messages, may leave anything there. Kombu's transports raise for bytes that
are no JSON and for envelopes that lack a member, and Celery ends the worker then. The transports below check each
envelope before Celery sees it. What fails is logged, counted and dropped: no message carries more than a number, and the
sweep finds the work of a message that is lost. RabbitMQ keeps envelopes apart from bodies itself.
"""

import base64
from functools import cache, partial
from queue import Empty
from typing import Any

import kombu.transport
import msgspec
import structlog
from kombu.transport import filesystem
from kombu.transport import redis as redis_transport
from kombu.utils.imports import symbol_by_name
from msgspec import Struct
from redis import AuthenticationError, BusyLoadingError, Redis, ResponseError
from redis import ConnectionError as RedisConnectionError
from redis import TimeoutError as RedisTimeoutError

import celeryconfig
from core.ledger.history import MAX_BATCH
from core.ledger.rules.routing import MAX_QUEUES

logger = structlog.get_logger()

BODY_MAX = 10_000
"""The characters of a body. Ours have some hundred."""

KEY_MAX = 2**63 - 1

dropped = 0
"""The number of messages that this process has dropped."""


class Junk(Exception):
    """A message that is none of ours. Its text says why."""


class _Delivery(Struct):
    exchange: str
    routing_key: str


class _Properties(Struct):
    delivery_tag: str
    delivery_info: _Delivery
    body_encoding: str


class _Headers(Struct):
    task: str
    id: str


class _Envelope(Struct):
    """The members of an envelope that kombu and Celery rely on."""

    body: str
    headers: _Headers
    properties: _Properties
    content_type: str = msgspec.field(name="content-type")
    content_encoding: str = msgspec.field(name="content-encoding")


_Body = tuple[list[int], dict[str, Any], dict[str, Any]]

_BOUNDS: dict[str, tuple[range, ...]] = {
    celeryconfig.DRAIN: (range(MAX_QUEUES),),
    celeryconfig.TICK: (),
    celeryconfig.SWEEP: (),
    celeryconfig.DUE: (),
    celeryconfig.FUND: (),
    celeryconfig.VERIFY: (),
    celeryconfig.SNAPSHOT: (range(1, MAX_BATCH + 1), range(KEY_MAX)),
}
"""The tasks, and the numbers that the arguments of each may be. ``SNAPSHOT`` has defaults for both of its own."""


def check(message: object) -> None:
    """Check that an envelope is a message that this service sends.

    Raises:
        Junk: it is none.
    """
    try:
        envelope = msgspec.convert(message, _Envelope)
    except (ValueError, RecursionError) as error:  # A lone surrogate is a ValueError.
        raise Junk(repr(error)) from None
    if (envelope.content_type, envelope.content_encoding) != ("application/json", "utf-8"):
        raise Junk(f"its content type is {envelope.content_type[:40]!r}")
    if envelope.properties.body_encoding != "base64" or len(envelope.body) > BODY_MAX:
        raise Junk("its body has another encoding, or is too long")
    if not envelope.properties.delivery_tag:
        raise Junk("its delivery tag is empty")
    bounds = _BOUNDS.get(envelope.headers.task)
    if bounds is None:
        raise Junk(f"there is no task {envelope.headers.task[:40]!r}")
    try:
        args, kwargs, _ = msgspec.json.decode(base64.b64decode(envelope.body, validate=True), type=_Body)
    except (ValueError, RecursionError) as error:
        raise Junk(f"its body is not that of a task: {error}") from None
    is_short = envelope.headers.task == celeryconfig.SNAPSHOT and len(args) < len(bounds)
    if kwargs or not (len(args) == len(bounds) or is_short):
        raise Junk("its task takes other arguments")
    if any(arg not in bound for arg, bound in zip(args, bounds, strict=False)):
        raise Junk("an argument is out of range")


def drop(queue: object, error: BaseException) -> None:
    """Count and log a message that is dropped."""
    global dropped
    dropped += 1
    logger.warning("what is no message of ours was dropped", queue=str(queue)[:100], error=repr(error)[:300])


class _Checked:
    """A transport that delivers only what passes ``check``, and does not fail for what does not."""

    def _deliver(self, message: Any, queue: str) -> None:
        try:
            check(message)
        except Junk as error:
            drop(queue, error)
            return
        super()._deliver(message, queue)  # type: ignore[misc]


class _RedisQoS(redis_transport.QoS):
    """Restores unanswered messages, and removes from their keys what is none."""

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        try:
            super().restore_by_tag(tag, client, leftmost)
        except _AWAY:
            raise
        except Exception as error:
            drop(self.unacked_key, error)
            self._remove_from_indices(tag).execute()


def _redis_channel(base: Any) -> Any:
    class Channel(base):  # type: ignore[misc]
        """A channel of Redis that goes on after an item that is no envelope."""

        QoS = _RedisQoS

        def _brpop_read(self, **options: Any) -> Any:
            """Read an item and deliver it. One that cannot be read is dropped, and has left its list by then."""
            try:
                return super()._brpop_read(**options)
            except (Empty, *_AWAY):
                raise
            except ResponseError as error:
                # Celery ends the worker for what Redis refuses, and connects again after an error of the connection.
                _remove_wrong_types(self)
                raise RedisConnectionError(str(error)) from error
            except Exception as error:
                drop("redis", error)
                return True

    return Channel


class _FilesChannel(filesystem.Channel):
    """A channel of files that goes on after a file that is no envelope."""

    def _get(self, queue: Any, timeout: Any = None) -> Any:
        while True:
            try:
                return super()._get(queue)
            except (Empty, OSError):
                raise
            except Exception as error:
                drop(queue, error)


_AWAY = (OSError, RedisConnectionError, RedisTimeoutError, BusyLoadingError, AuthenticationError)
"""The errors that say that Redis is away. Kombu counts KeyError among them, which an envelope without a member raises."""


def _remove_wrong_types(channel: Any) -> None:
    """Delete the keys of this channel that hold a value of another type than messages have."""
    wanted = dict.fromkeys(channel.active_queues, b"list")
    wanted |= {channel.unacked_key: b"hash", channel.unacked_index_key: b"zset"}
    with channel.conn_or_acquire() as client:
        for name, type_ in wanted.items():
            key = f"{channel.global_keyprefix}{name}"
            # The client of a channel with a prefix adds the prefix to some commands, so the plain class asks.
            found = Redis.execute_command(client, "TYPE", key)
            if (found if isinstance(found, bytes) else found.encode()) not in (type_, b"none"):
                drop(key, Junk(f"the key holds a {found!r}"))
                Redis.execute_command(client, "DEL", key)


@cache
def checked(base: str) -> Any:
    """Make the transport that checks what ``base`` delivers."""
    transport = symbol_by_name(base)
    channel = _FilesChannel if transport is filesystem.Transport else _redis_channel(transport.Channel)
    return type(f"Checked{transport.__name__}", (_Checked, transport), {"Channel": channel})


def install() -> None:
    """Make this process consume through transports that check."""
    for name in ("redis", "rediss", "sentinel", "filesystem"):
        base = kombu.transport.TRANSPORT_ALIASES[name]
        if isinstance(base, str):  # Otherwise it is installed already.
            kombu.transport.TRANSPORT_ALIASES[name] = partial(checked, base)  # type: ignore[assignment]
