"""Sends requests, repeats those that may be repeated, and decodes answers. Numbers in JSON stay exact.

What a method of a client does is a *plan*: a generator that yields steps, such as a request, and gets what became of each. A
``Wire`` carries a plan out and blocks, an ``AsyncWire`` carries the same plan out on an event loop. So each method is written
once, in the module of its resource.
"""

import asyncio
import ssl
from collections.abc import AsyncIterable, Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from threading import Lock
from time import sleep
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx
import msgspec

from pacioli_client.errors import KeyUnusable, NotConfigured, Unreachable, Unsendable, refused

T = TypeVar("T")

TRIES = 4
"""A request that may be repeated is sent at most so often."""
FIRST_PAUSE_S = 0.2
"""The pause before the second try. Each later pause is twice as long as the one before."""
LONGEST_PAUSE_S = 30.0
"""A request is not repeated when the service asks for a longer pause than this, by ``Retry-After``."""
ONE_WAIT_S = 20.0
"""A long wait is made of requests that each wait at most so long."""
AGAIN_S = 0.05
"""The service answers at once when too many clients wait already. Then the client itself waits so long."""
TIMEOUT_S = 30.0
"""An answer may take so long. A long poll adds its own time."""

_UNTRUSTED = "its certificate is not trusted: name a file that has it in PACIOLI_CA"
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}
_making_decoder = Lock()
"""One thread at a time makes decoders, because msgspec 0.22 crashes when two make the first one of a struct together."""

encode = msgspec.json.Encoder(decimal_format="number").encode


def escaped(name: str) -> str:
    """Escape a name as one step of a path. A dot is escaped too, because ``.`` and ``..`` are steps of their own.

    Raises:
        Unsendable: it is empty, or no Unicode text.
    """
    if not name:
        raise Unsendable("the id or name is empty")
    try:
        return quote(name, safe="").replace(".", "%2E")
    except UnicodeEncodeError as error:
        raise Unsendable(f"the id or name is no Unicode text: {error}") from None


def new_reference() -> str:
    """Make a reference that nobody else uses. It serves as an Idempotency-Key too."""
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
    idempotency_key: str | None = None
    """A repeated request with the same key is answered as the first one was."""
    accept: str | None = None


@dataclass(frozen=True)
class Try:
    """A step of a plan: send a request once. Its result is the response, or the error is thrown into the plan."""

    request: Request


@dataclass(frozen=True)
class Pause:
    """A step of a plan: wait some seconds."""

    seconds: float


@dataclass(frozen=True)
class Gather:
    """A step of a plan: hand over each item that comes, which only an event loop can wait for."""

    items: AsyncIterable[Any]
    take: Callable[[Any], object]


Step = Try | Pause | Gather
Plan = Generator[Step, Any, T]


def ask(kind: type[T], request: Request) -> Plan[T]:
    """Send a request and decode its answer.

    Raises:
        PacioliError: as ``attempts``.
    """
    return decoded(kind, (yield from attempts(request)))


def attempts(request: Request) -> Plan[httpx.Response]:
    """Send a request, again if it may be repeated and the service was not there, busy, or asked for fewer requests.

    Raises:
        Unreachable: there was no answer.
        Refused: the answer is an error.
    """
    for attempt in range(1, TRIES + 1):
        last, pause_s = attempt == TRIES, FIRST_PAUSE_S * 2 ** (attempt - 1)
        try:
            response: httpx.Response = yield Try(request)
        except httpx.HTTPError as error:
            sent = not isinstance(error, _NEVER_SENT)
            if last or (sent and not request.safe):
                reason = _UNTRUSTED if "CERTIFICATE_VERIFY_FAILED" in str(error) else type(error).__name__
                raise Unreachable(_address(error), reason, uncertain=sent) from error
        else:
            status = response.status_code
            if status < 400 or status in request.also:
                return response
            asked_s = _retry_after_s(response)
            # What is answered 429 was not begun, so even what must not be done twice may be sent again.
            # 409 comes with a time to wait while the first request with its Idempotency-Key is under way.
            may = status == 429 or (status == 503 and request.safe) or (status == 409 and asked_s > 0)
            if last or not may or asked_s > LONGEST_PAUSE_S:
                request_id = response.headers.get("X-Request-Id", "")
                raise refused(status, response.content, request_id, retry_after_s=asked_s or None) from None
            pause_s = max(pause_s, asked_s)
        yield Pause(pause_s)
    raise AssertionError("the last try returns or raises")


class _Connected:
    """The part that both wires share: the address and the headers, and how a request is put into the words of httpx."""

    def __init__(self, url: str, key: str | None) -> None:
        self.url = url.rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise NotConfigured(f"{url} is not an address such as http://127.0.0.1:5001")
        if key and not (key.isascii() and key.isprintable()):
            raise KeyUnusable("the key has a character that is not printable ASCII, so no request can carry it")
        self._headers = {"X-Blnk-Key": key} if key else {}

    def _options(self, transport: Any, verify: ssl.SSLContext | None) -> dict[str, Any]:
        # The environment's proxy is for the internet, and a ledger is near.
        return {
            "base_url": self.url, "headers": self._headers, "transport": transport, "verify": verify or True,
            "trust_env": False,
        }  # fmt: skip


class Wire(_Connected):
    """One connection to the service, which blocks. Threads may share it."""

    def __init__(
        self,
        url: str,
        key: str | None,
        transport: httpx.BaseTransport | None = None,
        verify: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(url, key)
        try:
            self._http = httpx.Client(**self._options(transport, verify))
        except httpx.InvalidURL as error:
            raise NotConfigured(f"{url} is not an address such as http://127.0.0.1:5001: {error}") from None

    def close(self) -> None:
        self._http.close()

    def run(self, plan: Plan[T]) -> T:
        """Carry out a plan, and return its result."""
        result: Any = None
        error: Exception | None = None
        try:
            while True:
                step = plan.send(result) if error is None else plan.throw(error)
                result = error = None
                try:
                    result = self._do(step)
                except httpx.HTTPError as failed:
                    error = failed
        except StopIteration as end:
            found: T = end.value
            return found
        finally:
            plan.close()

    def ask(self, kind: type[T], request: Request) -> T:
        """Send a request and decode its answer."""
        return self.run(ask(kind, request))

    def send(self, request: Request) -> httpx.Response:
        """Send a request, again where it may be repeated."""
        return self.run(attempts(request))

    def rows(self, kind: type[T], path: str, params: Mapping[str, Any]) -> Iterator[T]:
        """Iterate over all rows of a list."""
        for page in self.pages(kind, path, params):
            yield from page

    def pages(self, kind: type[T], path: str, params: Mapping[str, Any]) -> Iterator[list[T]]:
        """Iterate over the pages of a list, one request each, by their Link headers."""
        request: Request | None = Request("GET", path, params=params)
        while request is not None:
            page, request = self.run(next_page(kind, request))
            if page:
                yield page

    def _do(self, step: Step) -> Any:
        match step:
            case Try(request):
                return self._http.request(request.method, request.path, **_given(request))
            case Pause(seconds):
                sleep(seconds)
            case Gather():
                raise TypeError("only an AsyncClient can take rows from an asynchronous iterator")
        return None


class AsyncWire(_Connected):
    """One connection to the service, for an event loop. Tasks may share it."""

    def __init__(
        self,
        url: str,
        key: str | None,
        transport: httpx.AsyncBaseTransport | None = None,
        verify: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(url, key)
        try:
            self._http = httpx.AsyncClient(**self._options(transport, verify))
        except httpx.InvalidURL as error:
            raise NotConfigured(f"{url} is not an address such as http://127.0.0.1:5001: {error}") from None

    async def close(self) -> None:
        await self._http.aclose()

    async def run(self, plan: Plan[T]) -> T:
        """Carry out a plan, and return its result."""
        result: Any = None
        error: Exception | None = None
        try:
            while True:
                step = plan.send(result) if error is None else plan.throw(error)
                result = error = None
                try:
                    result = await self._do(step)
                except httpx.HTTPError as failed:
                    error = failed
        except StopIteration as end:
            found: T = end.value
            return found
        finally:
            plan.close()

    async def _do(self, step: Step) -> Any:
        match step:
            case Try(request):
                return await self._http.request(request.method, request.path, **_given(request))
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case Gather(items, take):
                async for item in items:
                    take(item)
        return None


def next_page(kind: type[T], request: Request) -> Plan[tuple[list[T], Request | None]]:
    """Read a page of a list, and return it with the request for the following one, by the Link header."""
    response = yield from attempts(request)
    page = decoded(list[kind], response)  # type: ignore[valid-type]
    following = response.links.get("next")
    return page, None if following is None else Request("GET", following["url"])


def decoded(kind: type[T], response: httpx.Response) -> T:
    """Decode the JSON of an answer.

    Raises:
        Refused: it is something else, such as the page of a proxy.
    """
    try:
        found: T = _decoder(kind).decode(response.content)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        request_id = response.headers.get("X-Request-Id", "")
        raise refused(response.status_code, f"the answer cannot be read: {error}".encode(), request_id) from None
    return found


def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    if (made := _decoders.get(kind)) is None:
        with _making_decoder:
            made = _decoders.setdefault(kind, msgspec.json.Decoder(kind, float_hook=Decimal))
    return made


def seconds(wait_s: float) -> str | None:
    """Format a ``wait`` parameter."""
    return f"{round(wait_s * 1000)}ms" if wait_s else None


def _given(request: Request) -> dict[str, Any]:
    """Put a request into the arguments of httpx.

    Raises:
        Unsendable: a value of it cannot be sent.
    """
    try:
        return _arguments(request)
    except UnicodeEncodeError as error:
        raise Unsendable(f"the request has text that is no Unicode: {error}") from None


def _arguments(request: Request) -> dict[str, Any]:
    given: dict[str, Any] = {"timeout": httpx.Timeout(TIMEOUT_S + request.wait_s, connect=5.0)}
    if params := {name: _parameter(name, value) for name, value in request.params.items() if value is not None}:
        given["params"] = params
    headers = {}
    if request.idempotency_key is not None:
        headers["Idempotency-Key"] = request.idempotency_key
    if request.accept is not None:
        headers["Accept"] = request.accept
    if request.files is not None:
        given |= {"files": request.files, "data": {"job": encode(request.body)}}
    elif request.body is not None:
        given["content"] = encode(request.body)
        headers["Content-Type"] = "application/json"
    return given | ({"headers": headers} if headers else {})


def _address(error: httpx.HTTPError) -> str:
    """Return the address of the service that a request was for, without the path."""
    url = error.request.url
    return f"{url.scheme}://{url.netloc.decode()}"


def _retry_after_s(response: httpx.Response) -> float:
    """Return the seconds that the service asks to wait, or 0."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _parameter(name: str, value: Any) -> str:
    """Write the value of a parameter. A list becomes the values of an ``in`` filter, or the two of a ``between``."""
    if not isinstance(value, (list, tuple, set, frozenset)):
        return _text(value)
    separator = "|" if name.endswith("_between") else ","
    texts = [_text(each) for each in value]
    if any(separator in text for text in texts):
        raise Unsendable(f"{name}: a value has a {separator}, which parts the values in a query")
    return separator.join(texts)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
