"""Finds the queue of a balance. Every debit of a balance is in one queue, which keeps their order."""

from zlib import crc32

MAX_QUEUES = 64
"""The largest number of queues. Workers listen to all of them, so that ``resize`` needs no restart."""


def route_of(balance_id: str) -> int:
    """Compute the route of a balance, which decides its queue. It is a CRC-32, as ``hash()`` differs between processes."""
    return crc32(balance_id.encode())


def queue_of(route: int, queues: int) -> int:
    """Return the number, from 0, of the queue that decides the debits of a balance with this route."""
    return route % queues
