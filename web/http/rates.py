"""Refuses requests that come too fast: those of a key, and those with wrong keys from one address.

Each web process counts for itself, in memory, so a request costs no look anywhere else. The rate that an operator sets is
shared among the processes.
"""

import threading
import time
from collections.abc import Collection
from math import ceil

from flask import Response, request

from core.base.errors import ErrorCode
from core.base.rate import Rate
from web.http import errors, later

GUESSES_MAX = 10
"""The number of wrong keys that an address may send in ``GUESSES_S``. Further ones are answered 429."""
GUESSES_S = 60.0
ADDRESSES_MAX = 10_000
"""The number of addresses whose wrong keys are counted. The one that was counted first is forgotten for another."""


class Bucket:
    """A token bucket: ``rate.burst`` requests at once, and ``rate.per_s`` a second after that."""

    def __init__(self, rate: Rate, processes: int = 1) -> None:
        self._per_s = rate.per_s / processes
        self._burst = max(rate.burst / processes, 1.0)
        self._tokens, self._at = self._burst, time.monotonic()
        self._lock = threading.Lock()

    def wait_s(self) -> float:
        """Take a token, and return 0. When there is none, return the seconds until the next one."""
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self._tokens + (now - self._at) * self._per_s, self._burst)
            self._at = now
            if self._tokens < 1.0:
                return (1.0 - self._tokens) / self._per_s
            self._tokens -= 1.0
            return 0.0


class Guesses:
    """Counts the wrong keys of each address. A right key is answered all the same, so nobody can lock others out."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()

    def wait_s(self, address: str) -> float:
        """Count a wrong key, and return 0. When there were too many, return the seconds until they are forgotten."""
        now = time.monotonic()
        with self._lock:
            count, since = self._counts.get(address, (0, now))
            if now - since >= GUESSES_S:
                del self._counts[address]
                count, since = 0, now
            if count >= GUESSES_MAX:
                return GUESSES_S - (now - since)
            if address not in self._counts and len(self._counts) >= ADDRESSES_MAX:
                del self._counts[next(iter(self._counts))]
            self._counts[address] = (count + 1, since)
            return 0.0


class Buckets:
    """The token buckets of keys that have a rate of their own."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._buckets: dict[tuple[str, Rate], Bucket] = {}

    def wait_s(self, key_id: str, rate: Rate) -> float:
        """Take a token of a key, and return 0. When there is none, return the seconds until the next one."""
        bucket = self._buckets.get((key_id, rate))
        if bucket is None:
            if len(self._buckets) >= ADDRESSES_MAX:
                self._buckets = {}
            bucket = self._buckets.setdefault((key_id, rate), Bucket(rate, self._processes))
        return bucket.wait_s()


def check(bucket: Bucket, exempt: Collection[str]) -> Response | None:
    """Refuse the request when the bucket is empty, unless its path is one of ``exempt``."""
    if request.path in exempt or later.AGAIN in request.environ or not (wait_s := bucket.wait_s()):
        return None
    return too_many("more requests came than PACIOLI_RATE allows", wait_s)


def too_many(why: str, wait_s: float) -> Response:
    """Answer that too many requests came, and when the next may come."""
    seconds = max(ceil(wait_s), 1)
    response = errors.error_response(ErrorCode.GEN_RATE_LIMITED, f"{why}; try again in {seconds} s")
    response.headers["Retry-After"] = str(seconds)
    return response
