"""The progress of one call that advances runs. Its steps share this value."""

import time
from dataclasses import dataclass, field
from uuid import UUID

from core.funding.run_store import RunRow


@dataclass
class Progress:
    """The work that one call has done, and what it must remember for its next step."""

    claimed: int = 0
    posted: int = 0
    ended: list[RunRow] = field(default_factory=list)
    """Runs that this call ended."""
    touched: set[int] = field(default_factory=set)
    """Queues that were locked and may have got work meanwhile. The caller rings their doorbells."""
    settled: set[UUID] = field(default_factory=set)
    """Runs before which everything has been decided, so that they may start."""
    last_seq: int | None = None
    """The last seq of the newest piece."""
    company_at: float = field(default_factory=time.monotonic)
    """The last time at which somebody else posted, or may have."""
    settling: bool = False
    """Whether the last step was that. The next one is then due whatever the time: else it might never come."""
    failures: dict[UUID, Exception] = field(default_factory=dict)
    """The exception of each due job or run that failed. The others are advanced all the same."""
    more: bool = False
    """Whether there is something left to do at once."""
