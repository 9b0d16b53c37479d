"""Follows watched balances through the decisions of a drain, and fires their monitors in its commit.

Monitors see each balance as if all postings had been decided one at a time, in the order of acceptance. A drain may decide a
posting while an earlier one of the same balance waits in another queue. Then the later one is followed when the earlier one
is decided, in the commit that decides it. The row in ``watches`` keeps the sums up to there, beside the balance's own, which
are further.
"""

from collections.abc import Sequence

from sqlalchemy import Connection

from core.base.ids import new_key
from core.ledger.watch import Watched
from core.monitors import store, watch_store
from core.monitors.events import Crossing, tell
from core.monitors.rules import State, Sums, step
from core.monitors.store import Firing, MonitorRow
from core.monitors.watch_store import Move, WatchRow


def follow(conn: Connection, watched: Watched) -> None:
    """Follow the watched balances of a commit, which is a ``Watch`` of the ledger."""
    made = _moves(watched)
    watches = watch_store.find_watches(conn, made) if made else {}
    made = {balance: moves for balance, moves in made.items() if balance in watches}
    if not made:
        return
    tops = {balance: max(watches[balance].ahead, moves[-1].seq) for balance, moves in made.items()}
    undecided = watch_store.first_undecided(conn, tops)
    late = {
        balance: (watch.seq, undecided.get(balance, tops[balance] + 1))
        for balance, watch in watches.items()
        if watch.ahead > watch.seq
    }
    # What waited for an earlier posting comes from the database, with what this commit has decided.
    known = {**made, **dict.fromkeys(late, ()), **(watch_store.decided(conn, late) if late else {})}
    seen = store.find_active(conn, made)
    run = _Run(watched)
    after = []
    for balance, watch in watches.items():
        end = undecided.get(balance, tops[balance] + 1)
        moves = [move for move in known[balance] if move.seq < end]
        sums = run.follow(watch.sums, moves, seen.get(balance, ()))
        after.append(WatchRow(balance, end - 1, tops[balance], sums))
    watch_store.write_watches(conn, after)
    if run.states:
        store.write_states(conn, run.states)
    if run.crossings:
        store.write_firings(conn, [crossing.firing for crossing in run.crossings])
        tell(conn, run.crossings)


class _Run:
    """Steps monitors through the moves of their balances, and collects what comes of it."""

    def __init__(self, watched: Watched) -> None:
        self.now = watched.decided_at
        self.states: dict[int, State] = {}
        """The new states of monitors, by their keys."""
        self.crossings: list[Crossing] = []

    def follow(self, sums: Sums, moves: Sequence[Move], monitors: Sequence[MonitorRow]) -> Sums:
        """Follow one balance. Returns its sums after the moves."""
        for move in moves:
            before, sums = sums, sums.plus(move.change)
            position = 0
            for monitor in monitors:
                state = self.states.get(monitor.key, monitor.state)
                new, fires = step(monitor.terms, state, sums, self.now)
                if new is not state:
                    self.states[monitor.key] = new
                if fires:
                    value_of = monitor.terms.condition.value_of
                    firing = Firing(
                        monitor.key, new_key(), move.seq, value_of(before), value_of(sums), sums.version, self.now
                    )
                    self.crossings.append(
                        Crossing(monitor, new, firing, sums, move.id, 2 * position + (not move.is_source))
                    )
                    position += 1
        return sums


def _moves(watched: Watched) -> dict[int, list[Move]]:
    """Cut decisions into what they changed in each watched balance, in the order of acceptance."""
    balances = frozenset(watched.balances)
    found: dict[int, list[Move]] = {}
    for posting, outcome in zip(watched.postings, watched.outcomes, strict=True):
        if outcome.rejection is None:
            for balance, is_source in ((posting.source, True), (posting.destination, False)):
                if balance in balances:
                    change = watch_store.change_of(posting.kind, outcome.amount, is_source=is_source)
                    found.setdefault(balance, []).append(Move(posting.seq, posting.id, change, is_source))
    return found
