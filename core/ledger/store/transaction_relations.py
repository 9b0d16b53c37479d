"""Names where the transactions of a list are found: in the log, or among what waits for its date."""

from sqlalchemy import BigInteger, literal_column, select

from core.base.tables.transactions import log, scheduled
from core.lists.fields import Relation

LAST = 2**63 - 1
"""The sequence of scheduled transactions in lists. They come after all of the log, as they will be accepted later."""

LOG_ROWS = Relation(log, log, log.c.seq, log.c.id)
_WAITING = select(
    scheduled.c.id,
    literal_column(str(LAST), BigInteger()).label("seq"),
    *(scheduled.c[name] for name in ("reference", "source", "destination", "amount", "currency", "precision")),
    *(scheduled.c[name] for name in ("description", "parent", "effective_date", "meta_data", "actor", "cancelled_at")),
    *(scheduled.c[name] for name in ("kind", "legs")),
    scheduled.c.scheduled_at.label("accepted_at"),
).subquery("log")
SCHEDULED_ROWS = Relation(_WAITING, _WAITING, _WAITING.c.seq, _WAITING.c.id, position_is_unique=False)
