"""Several web processes and workers at once end as the serial run does, and so does what each of them was answered.

``test_serial_equality`` gives the log its order. Here the committers race for it, and the oracle follows the log.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from random import Random
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from core.base.db import begin, connect, reading
from core.ledger import drain, immediate
from core.ledger.append import Submission
from core.ledger.deciding import Decision, Opened
from core.ledger.rules.log_row import LogRow
from core.ledger.rules.model import STATUS_OF_NUMBER, Kind, Outcome
from core.ledger.rules.routing import MAX_QUEUES
from core.ledger.store import log as log_store
from core.ledger.store import outcomes as outcome_store
from core.verification.verify import verify_all
from tests.integration.ledger.test_serial_equality import SEED, Difference, Run, _resize
from tests.oracle import Operation
from tests.strategies import Account, resolve, seeded_group
from web.accept.committer import Committer

QUEUES = 8
WEBS, CLIENTS, WORKERS = 3, 4, 3
SUBMISSIONS = 25
"""The number of submissions of one client."""


class Race:
    """Committers that race for the order of the log, each with clients of its own, beside workers and other trouble."""

    def __init__(self, engine: Engine, seed: int) -> None:
        self.engine, self.random = engine, Random(seed)
        self.accounts: list[Account] = [("@World", "USD"), *((f"@{number}", "USD") for number in range(9))]
        self.run = Run(engine, {each: self.random.randrange(MAX_QUEUES) for each in self.accounts})
        self.outcomes: dict[int, Outcome] = {}
        """The answers of the commits that accepted them, by seq."""
        self.limits: list[tuple[int, Account, int | None, str | None]] = []
        """Each with the seq after which it counts."""
        self.holds: list[int] = []
        self.sides: dict[int, tuple[Account, Account]] = {}
        self.is_over = threading.Event()

    def go(self) -> None:
        engines = [connect(str(self.engine.url.render_as_string(hide_password=False))) for _ in range(WEBS + WORKERS)]
        committers = [Committer(engine, lambda queues: None) for engine in engines[:WEBS]]
        others = [lambda engine=engine: self._work(engine) for engine in engines[WEBS:]]
        try:
            with ThreadPoolExecutor(WEBS * CLIENTS + WORKERS + 2) as threads:
                clients = [
                    threads.submit(self._post, committer, engine, self.random.randrange(2**32))
                    for committer, engine in zip(committers, engines[:WEBS], strict=True)
                    for _ in range(CLIENTS)
                ]
                beside = [threads.submit(each) for each in (*others, self._lock_balances, self._set_limits)]
                try:
                    for client in clients:
                        client.result()
                finally:
                    self.is_over.set()
                for each in beside:
                    each.result()
        finally:
            for engine in engines:
                engine.dispose()

    def compare(self) -> None:
        """Let the oracle decide the log as it is, and compare everything."""
        self.run.drain()
        self._follow()
        self.run.compare_all()
        self.run.check_balanced()
        with reading(self.engine) as conn:
            final = {
                seq: (STATUS_OF_NUMBER[status], int(amount))
                for seq, status, amount in conn.execute(text("SELECT seq, status, amount FROM outcomes"))
            }
        for seq, outcome in self.outcomes.items():
            if (outcome.status, outcome.amount) != final[seq]:
                raise Difference(f"{seq} was answered as {outcome}, and is {final[seq]}")

    def _post(self, committer: Committer, engine: Engine, seed: int) -> None:
        random = Random(seed)
        for _ in range(SUBMISSIONS):
            with reading(self.engine) as conn:
                found = "SELECT seq FROM log JOIN outcomes USING (seq) WHERE kind IN (1, 3, 6) AND status = 1"
                moved = list(conn.execute(text(f"{found} ORDER BY seq DESC LIMIT 20")).scalars())
            if group := resolve(seeded_group(random, self.accounts), self.holds[-60:], moved):
                submission = Submission(
                    [self._draft(each) for each in group], atomic=len(group) > 1, decide_now=random.random() < 0.8
                )
                committer.submit(submission)
                self._note(submission)
                for one in submission.undecided() if submission.decide_now else ():
                    drain.drain_until(engine, one.queue, one.seq)

    def _draft(self, each: Any) -> Any:
        if not isinstance(each, Operation):
            return self.run._split_draft(each)
        seq = each.hold if each.hold is not None else each.refund_of
        if seq is None:
            return self.run._plain_draft(each)
        source, destination = self._sides(seq)
        if each.refund_of is not None:
            source, destination = destination, source
        drafted = self.run._plain_draft(
            each._replace(source=source, destination=destination, hold=None, refund_of=None)
        )
        return drafted.with_row(hold_seq=each.hold, refund_of=each.refund_of)

    def _sides(self, seq: int) -> tuple[Account, Account]:
        names = {key: account for account, key in self.run.keys.items()}
        with reading(self.engine) as conn:
            found = conn.execute(text("SELECT source, destination FROM log WHERE seq = :seq"), {"seq": seq}).one()
        return names[found.source], names[found.destination]

    def _note(self, submission: Submission) -> None:
        for draft, accepted in zip(submission.drafts, submission.accepted, strict=True):
            legs = zip(draft.legs, accepted.legs, strict=True)
            self.holds += [one.seq for each, one in ((draft, accepted), *legs) if each.row.kind == Kind.HOLD]
        if submission.immediate is not None:
            self.outcomes |= submission.immediate.outcomes

    def _work(self, engine: Engine) -> None:
        random = Random(id(engine))
        while not self.is_over.is_set():
            drain.drain(
                engine,
                random.randrange(QUEUES),
                batch=random.choice([1, 7, drain.BATCH]),
                together=random.choice([0, 5]),
            )

    def _lock_balances(self) -> None:
        """Hold some balances for a moment, so that commits must leave them to drains."""
        random = Random(1)
        while not self.is_over.is_set():
            with begin(self.engine) as conn:
                keys = sorted(random.sample(list(self.run.keys.values()), 2))
                conn.execute(text("SELECT FROM balances WHERE id = ANY(:keys) ORDER BY id FOR UPDATE"), {"keys": keys})
                self.is_over.wait(0.005)
            self.is_over.wait(0.01)

    def _set_limits(self) -> None:
        random = Random(2)
        while not self.is_over.wait(0.1):
            account, floor = random.choice(self.accounts[1:]), random.choice([None, None, -3, 0, 4])
            frozen = random.choice([*[None] * 8, "debits", "all"])
            self.limits.append((self.run.set_limit(account, floor, frozen), account, floor, frozen))

    def _follow(self) -> None:
        """Give the oracle what was accepted, in the order of the log."""
        oracle, first = self.run.oracle, self.run.seq(0)
        names = {key: account for account, key in self.run.keys.items()}
        with reading(self.engine) as conn:
            columns = ", ".join(log_store.SELECTED)
            found = conn.execute(text(f"SELECT {columns} FROM log WHERE seq >= :first ORDER BY seq"), {"first": first})
            rows = [log_store.row_of(tuple(each)) for each in found]
        splits = {row.transaction_id: row.seq for row in rows if row.kind == Kind.SPLIT}
        legs: dict[int, list[int]] = {}
        limits = iter(sorted(self.limits, key=lambda each: each[0]))
        limit = next(limits, None)
        for _, members in groupby(rows, lambda row: row.group_first or -row.seq):
            group = list(members)
            while limit is not None and limit[0] < group[0].seq:
                oracle.limit(*limit[1:])
                limit = next(limits, None)
            oracle.accept(*(_operation(row, names, first) for row in group))
            for row in group:
                if row.parent in splits:
                    legs.setdefault(splits[row.parent], []).append(row.seq)
        for split, seqs in legs.items():
            oracle.legs[split - first] = range(seqs[0] - first, seqs[-1] - first + 1)


def _operation(row: LogRow, names: dict[int, Account], first: int) -> Operation:
    if row.kind == Kind.SPLIT:
        return Operation(Kind.SPLIT)
    return Operation(
        Kind(row.kind),
        None if row.source is None else names[row.source],
        None if row.destination is None else names[row.destination],
        row.amount,
        row.allow_overdraft and row.kind != Kind.REFUND,
        row.overdraft_limit,
        None if row.hold_seq is None else row.hold_seq - first,
        None if row.refund_of is None else row.refund_of - first,
    )


@pytest.fixture(autouse=True)
def _some_decisions_fail(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Let the first decision fail when a part of it is written, and some of the others."""
    dice, failed, plain = Random(SEED), list[int](), immediate.write

    def write(conn: Connection, opened: Opened, decision: Decision, **named: Any) -> None:
        if not failed or dice.random() < 0.05:
            hashes = {queue: head.hash for queue, head in named["heads"].items()}
            outcome_store.write(conn, decision.outcomes, decision.postings, decision.decided_at, hashes)
            failed.append(decision.outcomes[0].seq)
            raise ZeroDivisionError
        plain(conn, opened, decision, **named)

    monkeypatch.setattr(immediate, "write", write)
    yield failed
    assert failed, "no decision has failed"


def test_web_processes_beside_workers_end_as_the_serial_run_does(engine: Engine) -> None:
    _resize(engine, QUEUES)
    race = Race(engine, SEED)
    race.go()
    race.compare()
    assert race.outcomes, "nothing was decided in the commit that accepted it"
    assert verify_all(engine).problems == []
