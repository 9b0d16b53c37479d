"""Sends one request to a receiver that nobody trusts: to an address that was checked, within a deadline, reading little.

No redirect is followed, no proxy of the environment is used, and no cookie is kept. The deadline is one for the whole request:
name, connection, TLS, writing and reading. A receiver that sends a byte now and then gains nothing.
"""

import ssl
import threading
import time
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, ClassVar
from urllib.parse import urlsplit

import certifi
import httpcore
from httpcore import NetworkBackend, NetworkStream, SyncBackend
from msgspec import Struct

from core.webhooks.addresses import Guard, Refused, Unresolved, allowed, port_of, problem_of

CONNECT_S = 5.0
"""A connection, with the name and TLS, may take so long."""

READ_MAX = 16 * 1024
"""So many bytes of an answer are read. The connection of a longer one is closed."""

_IDLE_S = 4.0
"""A connection that was idle for so long is not used again. Most servers keep theirs for 5 seconds or more."""


class Outcome(Struct, frozen=True, kw_only=True):
    """How one attempt went."""

    status: int | None = None
    """The status of the answer; None when there was none."""
    error: str | None = None
    """Why there was no answer. It has no text of the receiver's."""
    body: bytes = b""
    """The beginning of the answer."""
    took_ms: int = 0

    @property
    def is_done(self) -> bool:
        """Whether the receiver has taken it: any status from 200 to 299."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def why(self) -> str | None:
        """Why it counts as failed."""
        if self.is_done:
            return None
        if self.status is None:
            return self.error
        return f"the receiver answered {self.status}" + (
            "; redirects are not followed" if self.status // 100 == 3 else ""
        )


class Sender:
    """The connections to one receiver. Its threads share them."""

    def __init__(self, guard: Guard, connections: int = 8) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=_trust(),
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=_IDLE_S,
            network_backend=_Guarded(guard),
        )

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()

    def post(
        self, url: str, headers: Mapping[str, str], body: bytes, *, timeout_s: float, read_max: int = READ_MAX
    ) -> Outcome:
        """Send a body, and return how it went. It never raises for what a receiver or a network does."""
        began = time.monotonic()
        if problem_of(url) is not None:
            return Outcome(error=f"the URL {problem_of(url)}")
        _deadline.at = began + timeout_s
        status, answer, error = None, b"", None
        try:
            limits = {"connect": min(CONNECT_S, timeout_s), "read": timeout_s, "write": timeout_s, "pool": timeout_s}
            with self._pool.stream(
                "POST",
                url,
                headers=[("Host", urlsplit(url).netloc), *headers.items()],
                content=body,
                extensions={"timeout": limits},
            ) as response:
                status = response.status  # Whatever its body does now, this is the answer.
                answer = _beginning(response.iter_stream(), read_max)
        except (Refused, Unresolved) as refused:
            error = str(refused)
        except httpcore.TimeoutException:
            error = f"the receiver did not answer within {timeout_s:g} s"
        except httpcore.ConnectError as failed:
            error = _cause(failed)
        except (httpcore.NetworkError, httpcore.ProtocolError) as failed:
            error = f"the connection broke: {type(failed).__name__}"
        except (OSError, ValueError, RuntimeError, httpcore.UnsupportedProtocol) as failed:
            error = f"it could not be sent: {type(failed).__name__}"
        finally:
            _deadline.at = None
        return Outcome(status=status, error=error, body=answer, took_ms=round((time.monotonic() - began) * 1000))


class _Deadline(threading.local):
    """The deadline of the request that this thread sends."""

    at: float | None = None


_deadline = _Deadline()


def _left_s(timeout_s: float | None) -> float:
    """Return the time that is left, and at most ``timeout_s``.

    Raises:
        httpcore.ReadTimeout: none is left.
    """
    if _deadline.at is None:
        return 1.0 if timeout_s is None else timeout_s  # A connection is closed.
    left_s = _deadline.at - time.monotonic()
    if left_s <= 0:
        raise httpcore.ReadTimeout("the deadline is over")
    return left_s if timeout_s is None else min(left_s, timeout_s)


class _Guarded(NetworkBackend):
    """Connects to addresses that the guard allows."""

    _sockets: ClassVar = SyncBackend()

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> NetworkStream:
        """Resolve the name, check, and connect to the first address that answers. The name stays that of the certificate."""
        addresses = allowed(host.strip("[]"), port, self._guard, _left_s(timeout))
        for number, address in enumerate(addresses, 1):
            try:
                within_s = _left_s(timeout) / (len(addresses) - number + 1)
                return _Stream(self._sockets.connect_tcp(str(address), port, within_s, local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if number == len(addresses):
                    raise
        raise Unresolved(f"{host} has no address")


class _Stream(NetworkStream):
    """A connection whose every step is bounded by the deadline of the request."""

    def __init__(self, inner: NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left_s(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left_s(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> NetworkStream:
        """Shake hands. A timer closes the connection, because the socket's own timeout starts anew with each byte."""
        within_s = _left_s(timeout)
        timer = threading.Timer(within_s, self._inner.close)
        timer.daemon = True
        timer.start()
        try:
            return _Stream(self._inner.start_tls(ssl_context, server_hostname, within_s))
        finally:
            timer.cancel()

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _beginning(pieces: Iterable[bytes], size: int) -> bytes:
    """Read the beginning of an answer. The rest stays unread, and its connection is closed."""
    found = b""
    for piece in pieces:
        found += piece[: size - len(found)]
        if len(found) >= size:
            break
    return found


def _cause(error: Exception) -> str:
    """Say why a connection could not be made, in our words."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate is not trusted: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return "TLS failed"
        if isinstance(cause, ConnectionRefusedError):
            return "the connection was refused"
        cause = cause.__cause__ or cause.__context__
    return "the connection could not be made"


@cache
def _trust() -> ssl.SSLContext:
    """Trust the public authorities and those of this host."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def host_of(url: str) -> tuple[str, int]:
    """Return the host and the port that a well-formed URL means."""
    parts = urlsplit(url)
    return parts.hostname or "", port_of(parts)


def origin_of(url: str) -> tuple[str, str, int]:
    """Return the scheme, the host and the port that a well-formed URL means."""
    return urlsplit(url).scheme, *host_of(url)
