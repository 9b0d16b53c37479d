"""Times every answer of the service, and says what followed each blow."""

import time
from bisect import bisect_left, bisect_right
from collections import Counter
from itertools import pairwise
from typing import NamedTuple

import httpx
from msgspec import Struct


class Stopwatch:
    """Notes when each answer came. Threads may share it."""

    def __init__(self) -> None:
        self.began_at = time.monotonic()
        self.accepted_at: list[float] = []
        """When a POST was answered 201, in order."""
        self.reads: list[tuple[float, float]] = []
        """When each GET began, and how long it took to an answer or an error."""
        self.unanswered = 0
        self.unavailable = 0
        """The number of answers 503."""
        self.wrong: list[str] = []

    def transport(self, inner: httpx.BaseTransport | None = None) -> httpx.BaseTransport:
        """Make a transport for one client."""
        return _Timed(self, inner or httpx.HTTPTransport())

    @property
    def longest_read_s(self) -> float:
        return max((took for _, took in self.reads), default=0.0)

    @property
    def longest_without_201_s(self) -> float:
        times = [self.began_at, *sorted(self.accepted_at)]
        return max((later - earlier for earlier, later in pairwise(times)), default=0.0)

    def note(self, request: httpx.Request, response: httpx.Response | None, began_at: float) -> None:
        now = time.monotonic()
        if request.method == "GET":
            self.reads.append((began_at, now - began_at))
        if response is None:
            self.unanswered += 1
        elif response.status_code == 201:
            self.accepted_at.append(now)
        elif response.status_code == 503:
            self.unavailable += 1
            if "Retry-After" not in response.headers and not request.url.path.startswith("/health"):
                self.wrong.append(f"503 without Retry-After: {request.method} {request.url.path} {response.text[:200]}")
        elif response.status_code >= 500:
            self.wrong.append(f"{response.status_code}: {request.method} {request.url.path} {response.text[:200]}")


class _Timed(httpx.BaseTransport):
    def __init__(self, stopwatch: Stopwatch, inner: httpx.BaseTransport) -> None:
        self._stopwatch, self._inner = stopwatch, inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        began_at = time.monotonic()
        response = None
        try:
            response = self._inner.handle_request(request)
            response.read()
        except httpx.HTTPError:
            response = None
            raise
        finally:
            self._stopwatch.note(request, response, began_at)
        return response

    def close(self) -> None:
        self._inner.close()


class Struck(NamedTuple):
    """A blow, and when it began. It missed if there was nothing to hit."""

    fault: str
    began_at: float
    missed: bool = False


class Suffered(Struct):
    """The consequences of the blows of one fault, until the next blow fell."""

    blows: int = 0
    missed: int = 0
    longest_without_201_s: float = 0.0
    longest_read_s: float = 0.0


def suffered(stopwatch: Stopwatch, blows: list[Struck], ended_at: float) -> dict[str, Suffered]:
    """Say what followed each fault."""
    by_fault: dict[str, Suffered] = {}
    counted = Counter(blow.fault for blow in blows)
    accepted = sorted(stopwatch.accepted_at)
    for blow, until in zip(blows, [*(each.began_at for each in blows[1:]), ended_at], strict=True):
        found = by_fault.setdefault(blow.fault, Suffered(blows=counted[blow.fault]))
        if blow.missed:
            found.missed += 1
            continue
        # The first 201 after the next blow ends a gap too. What went on before the blow was another's doing.
        first, last = bisect_left(accepted, blow.began_at), bisect_right(accepted, until)
        gaps = [later - earlier for earlier, later in pairwise([blow.began_at, *accepted[first : last + 1]])]
        reads = [
            began_at + took - max(began_at, blow.began_at)
            for began_at, took in stopwatch.reads
            if began_at < until and began_at + took > blow.began_at
        ]
        found.longest_without_201_s = round(max([found.longest_without_201_s, *gaps]), 2)
        found.longest_read_s = round(max([found.longest_read_s, *reads]), 2)
    return by_fault
