"""The progress of one call that advances runs. Its steps share this value."""

import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from uuid import UUID

from core.funding.run_store import RunRow
from core.ledger.append import Submission


@dataclass
class Progress:
    """The work that one call has done, and what it must remember for its next step."""

    claimed: int = 0
    """The number of jobs whose due runs were made."""
    posted: int = 0
    """The number of rows that were posted."""
    submitted: list[Submission] = field(default_factory=list)
    """The rows that the newest step has appended. They count when its commit is done."""
    ended: list[RunRow] = field(default_factory=list)
    """Runs that this call ended."""
    touched: set[int] = field(default_factory=set)
    """Queues that were locked and may have got work meanwhile. The caller rings their doorbells."""
    settled: set[UUID] = field(default_factory=set)
    """The pending runs for which everything accepted before them was waited for."""
    last_seq: int | None = None
    """The last seq of the newest piece."""
    company_at: float = field(default_factory=time.monotonic)
    """The last time at which somebody else posted, or may have."""
    settling: bool = False
    """True when the last step only waited for earlier transactions.

    The next step then follows in the same call, even past the deadline, because otherwise the run might never start.
    """
    failures: dict[UUID, Exception] = field(default_factory=dict)
    """The exception of each due job or run that failed. The others are advanced all the same."""
    locked: bool = False
    """True when another process was at a step."""
    more: bool = False
    """True when there is more to do at once."""
    ahead: bool = False
    """True when the next piece of the run may be posted while the newest is being decided.

    The pieces before it are decided, more follow, and nobody else posts.
    """
    deciding: tuple[RunRow, Future[set[int]]] | None = None
    """The piece that is being decided meanwhile: its run, and the queues that were locked for it."""
