"""The names that a ledger has in Redis and Celery. All of them begin with its identity."""

from uuid import UUID

from msgspec import Struct

_DIGITS = 12
"""So many digits of the identity go into names. They are random, so two ledgers hardly ever share them."""


class Names(Struct, frozen=True, kw_only=True):
    """The names of one ledger. Kombu's transport for Redis puts ``prefix`` before all its keys, those of queues among them."""

    prefix: str
    """The prefix of every key and every channel in Redis, such as ``pacioli.0123456789ab.``."""
    queue_prefix: str
    """The prefix of every queue and every exchange. It is empty on Redis, where the key has the prefix."""

    @property
    def bell(self) -> str:
        """The key of a waiting doorbell. The web sets it, and a worker removes it before it looks at all queues."""
        return f"{self.prefix}bell"

    @property
    def health(self) -> str:
        """The key that web processes write to see whether Redis takes anything. Nobody reads it."""
        return f"{self.prefix}health"

    @property
    def decided(self) -> str:
        """The channel where a drain publishes the new cursors of its queues, as JSON ``{queue: cursor}``."""
        return f"{self.prefix}decided"

    @property
    def maintenance(self) -> str:
        """The Celery queue of everything but doorbells and ticks."""
        return f"{self.queue_prefix}maintenance"

    @property
    def ticks(self) -> str:
        """The Celery queue of ticks. It holds one at most, so that none pile up while workers are away."""
        return f"{self.queue_prefix}ticks"

    @property
    def deliveries(self) -> str:
        """The Celery queue of the doorbell of webhooks, which delivering processes alone consume. It holds one at most."""
        return f"{self.queue_prefix}deliveries"

    def postings(self, number: int) -> str:
        """Return the Celery queue for the doorbells of a posting queue."""
        return f"{self.queue_prefix}postings.{number}"


def names_of(ledger: UUID, *, on_redis: bool) -> Names:
    """Make the names of the ledger that has this identity."""
    prefix = f"pacioli.{ledger.hex[:_DIGITS]}."
    return Names(prefix=prefix, queue_prefix="" if on_redis else prefix)
