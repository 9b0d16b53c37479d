"""Check a piece of the log by columns, which takes a third of the time that its rows take one by one.

All that ``walk.py`` and ``chains.py`` check of a row is checked here of a column, and each hash is computed again. Plain
transfers that were applied are tallied as columns too. Every other row is tallied, and decided again by the engine, by itself.

It reports nothing. Where anything is not as it should be, or not as the newest release writes it, the piece is checked row
by row instead, and that says what is wrong.
"""

from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from itertools import compress, groupby
from operator import gt, itemgetter
from typing import Any

import msgspec
from sqlalchemy import Connection

from core.ledger.rules import chain
from core.ledger.rules.log_row import COLUMNS, DIGEST_VERSION
from core.ledger.rules.model import HOLD, REFUND, SPLIT, STATUS_NUMBERS, TRANSFER, Status
from core.ledger.store import outcomes as outcome_store
from core.verification import history_store
from core.verification.checkpoints import Heads
from core.verification.history_store import HistoryRow, Recorded
from core.verification.replay import Always, Replay
from core.verification.report import Report
from core.verification.sealed import Part, Roots
from core.verification.splits import Splits
from core.verification.tally import Needs, Salt, Start, Sums, Tally
from core.verification.walk import Known, group_of

_AT_A_TIME = 2_500
"""So many rows are read at once."""

_MAY_BE_SHORT, _TAKES = (TRANSFER, HOLD), (TRANSFER, HOLD, REFUND)
"""The kinds that are rejected when too little is available of their source, and those that take from it."""

_APPLIED, _REJECTED = STATUS_NUMBERS[Status.APPLIED], STATUS_NUMBERS[Status.REJECTED]

_PLAIN = (TRANSFER, None, None, None, _APPLIED, None, None)
"""A transfer for itself that was applied: kind, group, hold, refund, status, reason and rejection."""

_NAMES = list(COLUMNS)
_PLACE = {name: place for place, name in enumerate(_NAMES)}
_R = {name: place for place, name in enumerate(Recorded._fields)}

_NOT_DECIDED = (None,) * len(Recorded._fields)
_NO_BALANCES = (None,) * 6
_SOURCE, _REASON, _REJECTION = (_R[name] for name in ("source", "reason", "rejection_json"))
_balances_of = itemgetter(*range(_SOURCE, _R["reason"]))

_encode = msgspec.json.Encoder().encode


class _Differs(Exception):
    """Something is not as it should be, or not as the newest release writes it."""


class QuickPiece:
    """The rows of the log after one, up to another, and their outcomes."""

    def __init__(self, known: Known, always: Always) -> None:
        self._known, self._always = known, always
        self.tally = Tally()
        self.parts: list[Part] = []
        self.reached: Heads
        self.rows: list[tuple[Any, ...]] = []
        self.outcomes: list[tuple[Any, ...]] = []
        """The outcome of each row."""
        self._others: list[int] = []
        """The places of the rows that are no plain transfers."""
        self._rows_of_others: list[HistoryRow] = []
        self._sources: list[int] = []
        self._destinations: list[int] = []
        """The balances of all rows."""
        self._taken: dict[int, int] = {}
        """The sum that is taken from each balance."""
        self._bounded: set[int] = set()
        """The balances from which something is taken that needs what is available."""
        self._short: set[int] = set()
        """The balances that were too short for something."""

    @property
    def transactions(self) -> int:
        """The number of its rows."""
        return len(self.rows)

    def read(self, conn: Connection, salt: Salt, since: Heads, until: int) -> bool:
        """Read, check and tally the rows after ``since``, and return whether all is as it should be."""
        report = Report()
        try:
            self._read(conn, report, salt, since, until)
        except _Differs:
            return False
        return not report.problem_count

    def _read(self, conn: Connection, report: Report, salt: Salt, since: Heads, until: int) -> None:
        heads = dict(since.queues)
        digest, at = since.digest, history_store.accepted_at(conn, since.sequence)
        _require(at is not None and not any(since.sequence < seq <= until for seq in self._known.falls))
        roots = Roots(conn, report, since.sequence, self._known.parties)
        starts = range(since.sequence + 1, until + 1, _AT_A_TIME)
        seqs = [range(start, min(start + _AT_A_TIME, until + 1)) for start in starts]
        with history_store.columns(conn, seqs) as found:
            for these, (rows, outcomes) in zip(seqs, found, strict=True):
                _require(len(rows) == len(these))
                columns = list(zip(*rows, strict=True))
                _require(columns[_PLACE["seq"]] == tuple(these) and set(columns[-1]) == {DIGEST_VERSION})
                leaves = chain.leaves_of(DIGEST_VERSION, [row[:-2] for row in rows])
                digests = chain.digests_of(digest, leaves)
                _require(digests == list(columns[-2]))
                times = (at, *columns[_PLACE["accepted_at"]])
                _require(not any(map(gt, times, times[1:])))
                digest, at = digests[-1], times[-1]
                sides = columns[_PLACE["source"]], columns[_PLACE["destination"]]
                roots.follow_rows(these.start, leaves, list(zip(*sides, strict=True)))
                self._follow_outcomes(columns, outcomes, heads)
                self._tally(columns, rows, outcomes, salt)
        roots.end()
        self.parts, self.reached = roots.parts, Heads(until, digest, heads)
        self._check_currencies(conn)
        self._tally_others(report)

    def _follow_outcomes(
        self,
        columns: Sequence[Sequence[Any]],
        outcomes: Sequence[tuple[Any, ...]],
        heads: dict[int, tuple[int, bytes]],
    ) -> None:
        """Check that each row but a split has an outcome, in a queue that has come so far, and the hashes of the outcomes."""
        seqs, kinds, queues = columns[_PLACE["seq"]], columns[_PLACE["kind"]], columns[_PLACE["queue"]]
        if SPLIT in kinds:
            decided = [place for place, kind in enumerate(kinds) if kind != SPLIT]
            seqs, queues = tuple(seqs[place] for place in decided), tuple(queues[place] for place in decided)
        if not seqs:
            _require(not outcomes)
            return
        _require(len(outcomes) == len(seqs))
        of_outcomes = list(zip(*outcomes, strict=True))
        _require(of_outcomes[0] == seqs)
        last = dict(zip(queues, seqs, strict=True))
        for number, seq in last.items():
            queue = self._known.queues.get(number)
            _require(queue is not None and seq <= queue.cursor)
        hashes = {number: heads[number][1] if number in heads else chain.START for number in last}
        found = []
        for number, line in zip(queues, _lines(of_outcomes, outcomes), strict=True):
            hashes[number] = hash = sha256(hashes[number] + line).digest()
            found.append(hash)
        _require(found == list(of_outcomes[_R["hash"]]))
        heads.update((number, (seq, hashes[number])) for number, seq in last.items())

    def _tally(
        self,
        columns: Sequence[Sequence[Any]],
        rows: Sequence[tuple[Any, ...]],
        outcomes: Sequence[tuple[Any, ...]],
        salt: Salt,
    ) -> None:
        """Tally what plain transfers have moved, and the steps of all outcomes. Find the other rows."""
        self._note(outcomes, salt)
        if len(outcomes) < len(rows):
            of_seq = {outcome[0]: outcome for outcome in outcomes}
            outcomes = [of_seq.get(row[0], _NOT_DECIDED) for row in rows]
        recorded = list(zip(*outcomes, strict=True))
        seqs, sources, destinations = (columns[_PLACE[name]] for name in ("seq", "source", "destination"))
        amounts, parents = columns[_PLACE["amount"]], columns[_PLACE["parent"]]
        _require(None not in amounts)
        kinds = zip(
            *(columns[_PLACE[name]] for name in ("kind", "group_first", "hold_seq", "refund_of")),
            *(recorded[_R[name]] for name in ("status", "reason", "rejection_json")),
            strict=True,
        )
        of_log = zip(amounts, sources, destinations, strict=True)
        of_outcomes = zip(*(recorded[_R[name]] for name in ("amount", "source", "destination")), strict=True)
        first = len(self.rows)
        refunded = {seq - seqs[0] for seq in self._always.refunded.intersection(seqs)}
        others = {
            place
            for place, (kind, ours, theirs, parent) in enumerate(zip(kinds, of_log, of_outcomes, parents, strict=True))
            if kind != _PLAIN or ours != theirs or (parent is not None and parent.startswith("txn_"))
        } | refunded
        self._others += [first + place for place in sorted(others)]
        self.rows += rows
        self.outcomes += outcomes
        self._sources += sources
        self._destinations += destinations
        allowed, limits = columns[_PLACE["allow_overdraft"]], columns[_PLACE["overdraft_limit"]]
        if others:
            plain = [place not in others for place in range(len(rows))]
            seqs, sources, destinations, amounts, allowed, limits = (
                list(compress(column, plain)) for column in (seqs, sources, destinations, amounts, allowed, limits)
            )
        self.tally.add_all(seqs, sources, destinations, amounts)
        overdrafts = zip(sources, allowed, limits, strict=True)
        self._bounded.update(source for source, may, limit in overdrafts if not may or limit is not None)

    def _note(self, outcomes: Sequence[tuple[Any, ...]], salt: Salt) -> None:
        """Tally the steps of all outcomes but rejections. Each has both balances, versions and running balances."""
        steps = [outcome for outcome in outcomes if outcome[_SOURCE] is not None]
        if len(steps) < len(outcomes):
            rejections = [outcome for outcome in outcomes if outcome[_SOURCE] is None]
            _require(all(_balances_of(outcome) == _NO_BALANCES and outcome[1] == _REJECTED for outcome in rejections))
        if steps:
            columns = list(zip(*steps, strict=True))[1 : _R["reason"]]
            _require(not any(None in column for column in columns))
            self.tally.note_all(columns, salt)

    def _check_currencies(self, conn: Connection) -> None:
        """Check that each row has the currency of its balances. A split may lack one."""
        currencies = self._known.currencies
        named = set(self._sources) | set(self._destinations)
        if unknown := named - currencies.keys() - {None}:
            currencies |= history_store.currencies_of(conn, unknown)
        of_rows = list(map(itemgetter(_PLACE["currency"]), self.rows))
        for keys in (self._sources, self._destinations):
            found = list(map(currencies.get, keys))
            if None in named:
                found = [
                    row[_PLACE["currency"]] if key is None and row[_PLACE["kind"]] == SPLIT else currency
                    for key, row, currency in zip(keys, self.rows, found, strict=True)
                ]
            _require(found == of_rows)

    def _tally_others(self, report: Report) -> None:
        """Check splits, and tally the outcomes of the rows that are no plain transfers."""
        # Only plain transfers are tallied so far.
        self._taken = {key: sums.debit for key, sums in self.tally.sums.items() if sums.debit}
        splits, before = Splits(report), -1
        for place in self._others:
            row = self._row(place)
            assert row.logged is not None and row.posting is not None
            self._rows_of_others.append(row)
            if place != before + 1:
                splits.close()
            splits.check(row, row.logged)
            before, posting, recorded = place, row.posting, row.recorded
            if recorded is None:
                _require(posting.kind == SPLIT)
                continue
            _require(posting.kind != SPLIT)
            self.tally.add(posting, recorded, self._always.refunded)
            if recorded.status == _REJECTED:
                if posting.kind in _MAY_BE_SHORT:
                    self._short.add(posting.source)
            elif posting.kind in _TAKES:
                self._taken[posting.source] = self._taken.get(posting.source, 0) + recorded.amount
                if not posting.allow_overdraft or posting.overdraft_limit is not None:
                    self._bounded.add(posting.source)
        splits.close()

    def _row(self, place: int) -> HistoryRow:
        outcome = self.outcomes[place]
        return history_store.history_row((*self.rows[place], *outcome))

    def needs(self) -> Needs:
        """List what the decisions need from before the piece, be they made here or row by row."""
        postings = [row.posting for row in self._rows_of_others if row.posting is not None]
        balances = {key for posting in postings for key in (posting.source, posting.destination) if key is not None}
        balances |= self._bounded | self._limited()
        holds = {posting.hold_seq for posting in postings if posting.hold_seq is not None}
        refunds = {posting.refund_of for posting in postings if posting.refund_of is not None}
        return Needs(list(balances), list(holds), list(refunds))

    def _limited(self) -> set[int]:
        limits = self._always.limits
        return {key for key in (*self._sources, *self._destinations) if key in limits} if limits else set()

    def agrees(self, start: Start) -> bool:
        """Decide again what the sums do not decide, from a start, and return whether all outcomes are the recorded ones."""
        report = Report()
        replay = Replay(report, self._always, start)
        rows = self._rows_of_others
        unsure = unsure_balances(self._taken, self._bounded, start.sums) | self._short | self._limited()
        if unsure:
            others = set(self._others)
            sides = enumerate(zip(self._sources, self._destinations, strict=True))
            places = {place for place, (source, to) in sides if source in unsure or to in unsure} - others
            rows = sorted([*rows, *map(self._row, places)])
        for _, group in groupby(rows, key=group_of):
            replay.judge(list(group))
        return not report.problem_count


def unsure_balances(taken: Mapping[int, int], bounded: Collection[int], sums: Mapping[int, Sums]) -> set[int]:
    """Return the balances that may be too short for something, so that the order in which they are debited and credited counts.

    Where all that is ``taken`` from a balance was available at the start, each debit of it is applied, whatever the order.
    ``bounded`` has those from which something is taken that needs what is available.
    """
    nothing = Sums()
    unsure = set()
    for key in bounded:
        start = sums.get(key, nothing)
        if start.credit - start.debit - start.inflight_debit < taken.get(key, 0):
            unsure.add(key)
    return unsure


def _require(is_so: bool) -> None:
    if not is_so:
        raise _Differs


def _lines(columns: Sequence[Sequence[Any]], outcomes: Sequence[tuple[Any, ...]]) -> list[bytes]:
    """Write outcomes as ``line_of_row`` does one by one."""
    # No number has a comma, and times are in UTC, so all of them are written at once.
    values = zip(*columns[:_REASON], columns[_R["decided_at"]], strict=True)
    text = (
        _encode(list(values))[2:-4].replace(b'Z"],[', b"+00:00\n").replace(b',"', b"\t\\N\t\\N\t").replace(b",", b"\t")
    )
    lines = (text + b"+00:00").split(b"\n")
    for place, outcome in enumerate(outcomes):
        if outcome[_REASON] is not None or outcome[_REJECTION] is not None or outcome[_SOURCE] is None:
            lines[place] = outcome_store.line_of_row(outcome[:-1]).encode()
    return lines
