"""Judges what the parts of the service record: workers, ticks, the oldest line, clocks and verifications."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Struct

from core.flows.rollup_store import Lag
from core.upkeep.heartbeats import Heartbeat
from core.upkeep.probes import Sealed, Ticked, Verified
from core.upkeep.ticks import RATES, Tick
from core.webhooks.deliveries import Health
from web.probing.prober import Severity, Trouble

WORKER_SILENT_S = 15
"""The silence after which a worker counts as gone. Workers beat every two seconds."""

TICK_LATE_S = 10
"""The time for which a tick may be late, beside twice the time between two of them."""

NEVER_S = 15
"""The time after which a tick that was never done counts as missing."""

OLDEST_S = 60
"""The age at which the oldest undecided transaction is a trouble."""

CLOCK_OFF_S = 1.0
"""How far a host's clock may be off."""

FAILING_S = 30
"""The time for which an endpoint may take nothing."""

_SHOWN = 5
"""So many endpoints are named."""

SEAL_LATE_S = 60
"""The time after which a row that is not sealed is a trouble. The notary seals every ten seconds."""

FLOWS_LATE_S = 120
"""The time after which sums of flows that nobody adds to are a trouble. A tick adds to them each second."""

VERIFY_LATE_S = 3 * RATES[Tick.SLICE].every_s + TICK_LATE_S
"""The age of the last verification at which two were missed. A slice is verified each minute."""


class Facts(Struct, frozen=True, kw_only=True):
    """The records of the parts, read at one time."""

    heartbeats: list[Heartbeat]
    ticks: list[Ticked]
    oldest_age_s: float | None
    verified: Verified | None
    sealed: Sealed | None = None
    refused: list[str] = []
    """The scheduled transactions and funding runs that were altered after they were accepted."""
    webhooks: list[Health] = []
    """How endpoints of webhooks and hooks do."""
    losing: list[str] = []
    """The settings of the server with which a crash of its host loses transactions."""
    flows: Lag | None = None

    def workers_alive(self) -> list[str]:
        """List the workers that gave a sign of life lately."""
        return [each.name for each in self.heartbeats if each.part == "worker" and each.age_s <= WORKER_SILENT_S]


def judge(facts: Facts, known_for_s: float) -> Iterator[Trouble]:
    """Find what is amiss. What was never done is missed only after this process has known the ledger for long enough."""
    yield from _workers(facts)
    yield from _beat(facts.heartbeats)
    yield from _ticks(facts.ticks, known_for_s)
    yield from _oldest(facts.oldest_age_s)
    yield from _clocks(facts.heartbeats)
    yield from _verification(facts.verified, known_for_s)
    yield from _notary(facts)
    yield from _refused(facts.refused)
    yield from _webhooks(facts)
    yield from _durability(facts.losing)
    yield from _flows(facts)


def _degraded(part: str, what: str, advice: str, **more: Any) -> Trouble:
    return Trouble(part=part, severity=Severity.DEGRADED, what=what, advice=advice, **more)


def _workers(facts: Facts) -> Iterator[Trouble]:
    workers = [each for each in facts.heartbeats if each.part == "worker"]
    alive = facts.workers_alive()
    if not alive:
        silent_s = min((each.age_s for each in workers), default=None)
        yield _degraded(
            "workers",
            f"no worker was heard of for {WORKER_SILENT_S} s, so nothing is decided",
            "start a worker: `pacioli up`, or `celery -A worker.app worker`; if one runs, see its log",
            since=None if silent_s is None else datetime.now(UTC) - timedelta(seconds=silent_s),
        )
    for each in (each for each in workers if each.name in alive and each.state is not None):
        assert each.state is not None
        if frozen := [child.pid for child in each.state.children if not child.answers]:
            yield _degraded(
                "workers",
                f"{each.name} has processes that do not move: {', '.join(map(str, frozen))}",
                f"look at these processes on {each.host}: one that is stopped goes on with `kill -CONT`, or end it",
            )


def _beat(heartbeats: list[Heartbeat]) -> Iterator[Trouble]:
    """Find that beat is gone or frozen. One that ended as it should has left no heartbeat."""
    beat = min((each for each in heartbeats if each.part == "beat"), key=lambda each: each.age_s, default=None)
    if beat is not None and beat.age_s > WORKER_SILENT_S:
        yield _degraded(
            "ticks",
            f"{beat.name} was not heard of for {beat.age_s:.0f} s; a worker ticks in its place",
            f"start beat again: see on {beat.host} whether its process stands still, and its log",
            since=datetime.now(UTC) - timedelta(seconds=beat.age_s),
        )


def _ticks(ticks: list[Ticked], known_for_s: float) -> Iterator[Trouble]:
    done = {each.name: each for each in ticks if each.at is not None}
    missing = [name for name in Tick if _is_missing(name, done.get(name), known_for_s)]
    if missing:
        last = max((at for name in missing if name in done and (at := done[name].at)), default=None)
        by = sorted({done[name].by for name in missing if name in done})
        yield _degraded(
            "ticks",
            f"these do not come in time: {', '.join(missing)}" + (f"; last by {', '.join(by)}" if by else ""),
            "start beat or a worker, either of which ticks; if both run, see their logs",
            since=last,
        )


def _is_missing(name: Tick, tick: Ticked | None, known_for_s: float) -> bool:
    if tick is None or tick.late_s is None:
        return RATES[name].every_s <= 1 and known_for_s > NEVER_S
    return tick.late_s > 2 * RATES[name].every_s + TICK_LATE_S


def _oldest(age_s: float | None) -> Iterator[Trouble]:
    if age_s is not None and age_s > OLDEST_S:
        yield _degraded(
            "queues",
            f"a transaction has been waiting for {age_s:.0f} s, and {OLDEST_S} s is the limit",
            "see `pacioli queues`; add workers if all queues grow, and see the workers' log if one stands still",
        )


def _clocks(heartbeats: list[Heartbeat]) -> Iterator[Trouble]:
    lately = [each for each in heartbeats if each.age_s <= WORKER_SILENT_S]
    off = {each.host: each.clock_off_s for each in lately if abs(each.clock_off_s) > CLOCK_OFF_S}
    if off:
        hosts = ", ".join(f"{host} by {off_s:+.1f} s" for host, off_s in sorted(off.items()))
        yield _degraded(
            "clocks",
            f"a clock is off from the database's: {hosts}",
            "set the clock of that host, by NTP; only the times in its log are wrong, no decision depends on it",
        )


def _notary(facts: Facts) -> Iterator[Trouble]:
    """Find that the notary is gone, or signs nothing more. A ledger without a seal has never had one."""
    notaries = [each for each in facts.heartbeats if each.part == "notary"]
    alive = [each for each in notaries if each.age_s <= WORKER_SILENT_S]
    sealed = facts.sealed
    for each in alive:
        if each.state is not None and each.state.problem is not None:
            advice = (
                "see the log of the notary; when it names a row, keep a copy of the database and run `pacioli verify`"
            )
            yield _degraded("notary", f"{each.name}: {each.state.problem}", advice)
    if sealed is None and not notaries:
        return
    newest = "there is no signature" if sealed is None else f"the newest signature is {sealed.age_s:.0f} s old"
    rows = "" if sealed is None else f", and {sealed.unsealed} rows after it are not signed"
    if not alive:
        yield _degraded(
            "notary",
            f"no notary was heard of for {WORKER_SILENT_S} s: {newest}{rows}",
            "start the notary: `pacioli up`, or `pacioli notary run`; nobody can prove what is not signed",
            since=None if sealed is None else sealed.at,
        )
    elif sealed is not None and sealed.unsealed_s > SEAL_LATE_S:
        yield _degraded(
            "notary",
            f"a row has not been signed for {sealed.unsealed_s:.0f} s: {newest}{rows}",
            "see the log of the notary",
            since=sealed.at,
        )


def _webhooks(facts: Facts) -> Iterator[Trouble]:
    """Find endpoints that do not take what they are sent, and that nobody sends anything."""
    active = [each for each in facts.webhooks if each.disabled_why is None]
    failing = [each for each in active if each.failing_s is not None and each.failing_s > FAILING_S]
    for each in failing[:_SHOWN]:
        assert each.failing_s is not None
        yield _degraded(
            "webhooks",
            f"{each.webhook_id} has taken nothing for {each.failing_s:.0f} s: {each.last_error}",
            f"see the receiver, and `pacioli webhooks deliveries {each.webhook_id}`; `pacioli webhooks test` tries it at once",
            since=datetime.now(UTC) - timedelta(seconds=each.failing_s),
        )
    for each in [each for each in facts.webhooks if each.disabled_why is not None][:_SHOWN]:
        yield _degraded(
            "webhooks",
            f"{each.webhook_id} is inactive: {each.disabled_why}",
            "delete it, or make it active again when its receiver is back",
        )
    alive = any(each.part == "deliverer" and each.age_s <= WORKER_SILENT_S for each in facts.heartbeats)
    if not alive and active:
        yield _degraded(
            "webhooks",
            f"no deliverer was heard of for {WORKER_SILENT_S} s, so nothing is sent to webhooks and hooks",
            "start a deliverer: `pacioli up`, or `celery -A worker.app worker --deliver`",
        )


def _refused(refused: list[str]) -> Iterator[Trouble]:
    if refused:
        shown = ", ".join(refused[:3]) + (f" and {len(refused) - 3} more" if len(refused) > 3 else "")
        yield _degraded(
            "verification",
            f"altered after it was accepted, and refused: {shown}",
            "somebody changed it in the database: run `pacioli verify`, and cancel it or post it again by the API",
        )


def _durability(losing: list[str]) -> Iterator[Trouble]:
    if losing:
        yield _degraded(
            "database",
            f"Postgres runs with {' and '.join(losing)} off: a crash of its host loses accepted transactions",
            f"set {' and '.join(losing)} to on in postgresql.conf and reload it: neither needs a restart",
        )


def _verification(verified: Verified | None, known_for_s: float) -> Iterator[Trouble]:
    if verified is not None and verified.problem_count:
        yield _degraded(
            "verification",
            f"a verification found {verified.problem_count} problems",
            "the ledger is damaged: keep a copy of the database, and run `pacioli verify`, which lists what was altered",
            since=verified.unsound_at,
        )
    age_s = known_for_s if verified is None else verified.age_s
    if age_s > VERIFY_LATE_S:
        yield _degraded(
            "verification",
            f"the ledger was not verified for {age_s:.0f} s",
            "a worker verifies on a tick: see that workers and ticks are alive, and what the workers log",
            since=None if verified is None else verified.at,
        )


def _flows(facts: Facts) -> Iterator[Trouble]:
    """Find that the tick which adds up flows fails. One with much to do ends all the same, and ``_ticks`` finds a missing one."""
    lag = facts.flows
    if (
        lag is not None
        and lag.rows
        and lag.ended_s is not None
        and lag.ended_s > FLOWS_LATE_S
        and facts.workers_alive()
    ):
        yield _degraded(
            "flows",
            f"the sums of flows and activity are {lag.rows:,} transactions behind, and were not added to for {lag.ended_s:.0f} s",
            "see the workers' log for the tick flows, and why it fails; nothing else depends on these sums",
        )
