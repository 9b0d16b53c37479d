"""Sends requests, repeats those that may be repeated, and decodes answers. Numbers in JSON stay exact."""

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from time import sleep
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx
import msgspec

from pacioli_client.answers import audit, balances, funding, ledgers, service, transactions
from pacioli_client.errors import KeyUnusable, NotConfigured, Unreachable, refused

T = TypeVar("T")

TRIES = 4
"""A request that may be repeated is sent at most so often."""
FIRST_PAUSE_S = 0.2
"""The pause before the second try. Each later pause is twice as long as the one before."""
TIMEOUT_S = 30.0
"""An answer may take so long. A long poll adds its own time."""

_UNTRUSTED = "its certificate is not trusted: name a file that has it in PACIOLI_CA"
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

_ONE = (
    transactions.Transaction, transactions.BatchAccepted, transactions.Batch, balances.Balance, balances.BalanceAt,
    ledgers.Ledger, funding.Job, funding.Run, funding.DryRun, service.Health, service.Parts, service.Verification, dict[str, Any],
)  # fmt: skip
_MANY = (
    transactions.Transaction, balances.Balance, balances.Entry, ledgers.Ledger, funding.Job, funding.Run, funding.Row,
    service.Queue, audit.AuditEntry,
)  # fmt: skip
_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind, float_hook=Decimal)
    for kind in (*_ONE, *(list[one] for one in _MANY))  # type: ignore[valid-type]
}
"""One thread makes all decoders once, because msgspec 0.22 crashes when two threads make the first one of a struct together."""

encode = msgspec.json.Encoder(decimal_format="number").encode


def escaped(name: str) -> str:
    """Escape a name as one step of a path."""
    return quote(name, safe="")


def new_reference() -> str:
    """Make a reference that nobody else uses."""
    return f"client-{uuid4()}"


@dataclass(frozen=True)
class Request:
    """A request. When it is ``safe``, sending it twice does nothing twice."""

    method: str
    path: str
    body: msgspec.Struct | Mapping[str, Any] | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    safe: bool = True
    wait_s: float = 0.0
    """The request asks the service to wait so long before it answers."""
    files: Mapping[str, Any] | None = None
    also: frozenset[int] = frozenset()
    """These statuses above 399 are answers, and no errors."""


class Wire:
    """One connection to the service. Threads may share it."""

    def __init__(
        self,
        url: str,
        key: str | None,
        transport: httpx.BaseTransport | None = None,
        verify: ssl.SSLContext | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise NotConfigured(f"{url} is not an address such as http://127.0.0.1:5001")
        if key and not (key.isascii() and key.isprintable()):
            raise KeyUnusable("the key has a character that is not printable ASCII, so no request can carry it")
        headers = {"X-Blnk-Key": key} if key else {}
        try:
            # The environment's proxy is for the internet, and a ledger is near.
            self._http = httpx.Client(
                base_url=self.url, headers=headers, transport=transport, verify=verify or True, trust_env=False
            )
        except httpx.InvalidURL as error:
            raise NotConfigured(f"{url} is not an address such as http://127.0.0.1:5001: {error}") from None

    def close(self) -> None:
        self._http.close()

    def ask(self, kind: type[T], request: Request) -> T:
        """Send a request and decode its answer.

        Raises:
            PacioliError: as ``send``.
        """
        return decoded(kind, self.send(request))

    def pages(self, kind: type[T], path: str, params: Mapping[str, Any]) -> Iterator[list[T]]:
        """Iterate over the pages of a list, one request each, by their Link headers."""
        request = Request("GET", path, params=params)
        while True:
            response = self.send(request)
            page = decoded(list[kind], response)  # type: ignore[valid-type]
            if page:
                yield page
            following = response.links.get("next")
            if following is None:
                return
            request = Request("GET", following["url"])

    def rows(self, kind: type[T], path: str, params: Mapping[str, Any]) -> Iterator[T]:
        """Iterate over all rows of a list."""
        for page in self.pages(kind, path, params):
            yield from page

    def send(self, request: Request) -> httpx.Response:
        """Send a request, again if it may be repeated and the service was not there or busy.

        Raises:
            Unreachable: there was no answer.
            Refused: the answer is an error.
        """
        for attempt in range(1, TRIES + 1):
            last = attempt == TRIES
            try:
                response = self._send(request)
            except httpx.HTTPError as error:
                sent = not isinstance(error, _NEVER_SENT)
                if last or (sent and not request.safe):
                    reason = _UNTRUSTED if "CERTIFICATE_VERIFY_FAILED" in str(error) else type(error).__name__
                    raise Unreachable(self.url, reason, uncertain=sent) from error
            else:
                again = response.status_code == 503 and request.safe and not last
                if response.status_code < 400 or response.status_code in request.also:
                    return response
                if not again:
                    raise refused(
                        response.status_code, response.content, response.headers.get("X-Request-Id", "")
                    ) from None
            sleep(FIRST_PAUSE_S * 2 ** (attempt - 1))
        raise AssertionError("the last try returns or raises")

    def _send(self, request: Request) -> httpx.Response:
        timeout = httpx.Timeout(TIMEOUT_S + request.wait_s, connect=5.0)
        params = {name: _text(value) for name, value in request.params.items() if value is not None}
        given: dict[str, Any] = {"params": params} if params else {}
        if request.files is not None:
            given |= {"files": request.files, "data": {"job": encode(request.body)}}
        elif request.body is not None:
            given |= {"content": encode(request.body), "headers": {"Content-Type": "application/json"}}
        return self._http.request(request.method, request.path, timeout=timeout, **given)


def decoded(kind: type[T], response: httpx.Response) -> T:
    """Decode the JSON of an answer.

    Raises:
        Refused: it is something else, such as the page of a proxy.
    """
    try:
        found: T = _DECODERS[kind].decode(response.content)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        request_id = response.headers.get("X-Request-Id", "")
        raise refused(response.status_code, f"the answer cannot be read: {error}".encode(), request_id) from None
    return found


def seconds(wait_s: float) -> str | None:
    """Format a ``wait`` parameter."""
    return f"{round(wait_s * 1000)}ms" if wait_s else None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
