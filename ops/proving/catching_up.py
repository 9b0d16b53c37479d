"""Sums up and seals a past as the background of a service does, at once, and tells what that costs for each row.

An older ledger that gets a new release is caught up in this way, by ticks that take no more than a second at a time.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, Engine

from core.base.db import reading
from core.base.setting_values import notary_key
from core.flows import rollup_store, rollups
from core.ledger import history
from core.ledger.store import spans
from core.notary.notary import Notary
from core.notary.seals import keypair
from ops.proving.cpu import metered
from ops.proving.rows import Row
from ops.server.keys import NOTARY_KEY_FILE, kept, new_notary_key

Progress = Callable[[str, int, int], None]
"""A function that shows what is going on, how much of it is done, and how much there is."""

_FOR_S = 2.0
"""So often the progress is shown."""


class _Part(NamedTuple):
    """The work that is done once for each row of a past, in the background."""

    name: str
    left: Callable[[], int]
    """Tells how many rows, or entries of balances, are left."""
    go_on: Callable[[], object]
    """Does some of it."""


def caught_up(engine: Engine, data: Path, pids: Mapping[str, int], progress: Progress) -> Iterator[Row]:
    """Do all that a service would do in the background, as the owner of its database. ``data`` has the keys of the service."""
    notary = Notary(engine, keypair(notary_key(kept(data / NOTARY_KEY_FILE, new_notary_key))))
    notary.catch_up()
    for part in (
        _Part("flows", lambda: _flows_left(engine), lambda: rollups.add_new(engine, for_s=_FOR_S)),
        _Part("spans", lambda: _spans_left(engine), lambda: history.write_spans(engine, for_s=_FOR_S)),
        _Part("seals", lambda: notary.news().last_seq - notary.sealed_to, notary.seal),
    ):
        left = most = part.left()
        if not most:
            continue
        with metered(pids) as cost:
            while left:
                progress(f"{part.name} of the past", most - left, most)
                part.go_on()
                left = part.left()
        yield Row.costing(f"{part.name} of the past", most, cost)


def _flows_left(engine: Engine) -> int:
    with reading(engine) as conn:
        return rollup_store.lag(conn).rows


def _spans_left(engine: Engine) -> int:
    """Count the entries of balances that are in no span, of those that have a whole one."""
    with reading(engine) as conn:
        return sum((lag.version - lag.end) // spans.SIZE * spans.SIZE for lag in _lagging(conn))


def _lagging(conn: Connection) -> list[spans.Lag]:
    return spans.lagging(conn, after=0, limit=2**31)
