"""Balance to queue. Every debit of a balance is in one queue, so its order is kept."""

from zlib import crc32

MAX_QUEUES = 64
"""The most queues a ledger may have. Workers listen to all of them, so ``resize`` needs no restart."""

DEFAULT_QUEUES = 8


def route_of(balance_id: str) -> int:
    """The part of a balance that routing looks at. CRC-32, since ``hash()`` differs between processes."""
    return crc32(balance_id.encode())


def queue_of(route: int, queues: int) -> int:
    """The number, from 0, of the queue that decides what this source balance pays."""
    return route % queues
