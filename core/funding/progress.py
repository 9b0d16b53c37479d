"""What one call that advances runs has done, and knows of the next step."""

import time
from dataclasses import dataclass, field
from uuid import UUID

from core.funding.run_store import RunRow


@dataclass
class Progress:
    """What one call did."""

    claimed: int = 0
    posted: int = 0
    ended: list[RunRow] = field(default_factory=list)
    """Runs that are over."""
    touched: set[int] = field(default_factory=set)
    """Queues that were held, and may have got work meanwhile: whoever calls rings for them."""
    settled: set[UUID] = field(default_factory=set)
    """Runs before which everything has been decided, so that they may start."""
    last_seq: int | None = None
    """That the last piece ended with."""
    company_at: float = field(default_factory=time.monotonic)
    """When somebody else has last posted, or may have."""
    settling: bool = False
    """Whether the last step was that. The next one is then due whatever the time: else it might never come."""
    failures: dict[UUID, Exception] = field(default_factory=dict)
    """What went wrong with a job that was due, or a run. The others have their turn all the same."""
    more: bool = False
    """Whether there is something left to do at once."""
