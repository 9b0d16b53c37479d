"""``/health``, ``/health/live`` and ``/health/ready``: they read what the checks of this process last saw."""

from typing import Literal

from flask import Blueprint, Response
from msgspec import UNSET, Struct, UnsetType

from core.base.answers import Time
from web.http import wire
from web.http.operations import operation
from web.probing.facts import Facts
from web.probing.prober import Severity, Trouble
from web.service import Service, service

blueprint = Blueprint("health", __name__)

Status = Literal["UP", "DEGRADED", "DOWN"]
Part = Literal["UP", "DEGRADED", "DOWN", "UNKNOWN"]
"""The status of one part. It is UNKNOWN while the database is away that would tell."""


class HealthProblem(Struct, frozen=True, kw_only=True):
    """One thing that is amiss."""

    part: str
    status: Literal["DEGRADED", "DOWN"]
    """DOWN if no transaction can be accepted because of it."""
    since: Time
    what: str
    """The problem."""
    advice: str
    """The next step against it."""


class Checks(Struct, frozen=True, kw_only=True):
    """The results of the checks. Only the database and the append lock decide whether transactions can be accepted."""

    database: Part
    """Whether the database can be written, and is migrated."""
    append: Part
    """Whether the append lock of the log can be had."""
    broker: Part
    """Whether the broker answers, and takes what is written."""
    workers: Part
    workers_alive: list[str]
    """The workers that gave a sign of life lately."""
    ticks: Part
    """Whether sweeps, due dates and funding are looked at in time."""
    queues: Part
    """Whether the oldest transaction is younger than its limit."""
    oldest_queued_age_s: float | None
    clocks: Part
    """Whether the clocks of all hosts agree with the database's."""
    verification: Part
    """Whether the last verification was sound, and is not too old."""
    notary: Part
    """Whether the notary signs what is new."""
    webhooks: Part
    """Whether endpoints take what they are sent."""
    threads: Part
    """Whether the threads of this web process do their work."""
    disk: Part
    """Whether the disks that this process knows of have room."""


class Health(Struct, frozen=True, kw_only=True):
    """Whether transactions can be accepted, and all that is amiss."""

    status: Status
    reason: str | UnsetType = UNSET
    """The text of the worst problem."""
    checks: Checks
    problems: list[HealthProblem]
    """All that is amiss, the worst first."""


class Alive(Struct, frozen=True, kw_only=True):
    """Whether this process does what it was asked for."""

    status: Status
    reason: str | UnsetType = UNSET


_DEPENDS_ON_DATABASE = ("workers", "ticks", "queues", "clocks", "verification", "notary", "webhooks", "append")


@blueprint.get("/health")
@operation({200: Health, 503: Health}, open=True, probe=True)
def health() -> Response:
    """Check the health of the service.

    The status is 503 DOWN while no transaction can be accepted. It is 200 DEGRADED when anything else is amiss, such as a
    broker or a worker that is away, and 200 UP when nothing is. ``problems`` says which part, since when, and what to do.
    The answer comes within two seconds whatever hangs, because the checks run all the time and this only reads them.
    """
    ledger = service()
    troubles = ledger.prober.troubles()
    found = Health(
        status=_status(troubles),
        reason=troubles[0].what if troubles else UNSET,
        checks=_checks(ledger, troubles),
        problems=[_problem(each) for each in troubles],
    )
    return wire.answer(found, 503 if found.status == "DOWN" else 200)


@blueprint.get("/health/live")
@operation({200: Alive}, open=True, probe=True)
def live() -> Response:
    """Check that this process answers.

    Nothing else is checked. An orchestrator restarts a process that does not answer.
    """
    return wire.answer(Alive(status="UP"))


@blueprint.get("/health/ready")
@operation({200: Alive, 503: Alive}, open=True, probe=True)
def ready() -> Response:
    """Check that this process can accept transactions.

    The status is 503 when ``/health`` is DOWN, and while the process stops. A load balancer sends requests elsewhere then.
    """
    prober = service().prober
    if prober.is_stopping:
        return wire.answer(Alive(status="DOWN", reason="this process is stopping"), 503)
    worst = next(iter(prober.troubles()), None)
    if worst is not None and worst.severity is Severity.DOWN:
        return wire.answer(Alive(status="DOWN", reason=worst.what), 503)
    return wire.answer(Alive(status="UP"))


def _status(troubles: list[Trouble]) -> Status:
    """Return the status of the worst trouble. The worst is the first."""
    match troubles[0].severity if troubles else Severity.UP:
        case Severity.DOWN:
            return "DOWN"
        case Severity.DEGRADED:
            return "DEGRADED"
        case Severity.UP:
            return "UP"


def _checks(ledger: Service, troubles: list[Trouble]) -> Checks:
    facts: Facts | None = ledger.probe.facts

    def of(part: str) -> Part:
        mine = [each for each in troubles if each.part == part]
        if not mine and part in _DEPENDS_ON_DATABASE and facts is None:
            return "UNKNOWN"
        return _status(mine)

    oldest_age_s = None if facts is None else facts.oldest_age_s
    return Checks(
        database=of("database"),
        append=of("append"),
        broker=of("broker"),
        workers=of("workers"),
        workers_alive=[] if facts is None else facts.workers_alive(),
        ticks=of("ticks"),
        queues=of("queues"),
        oldest_queued_age_s=None if oldest_age_s is None else round(oldest_age_s, 3),
        clocks=of("clocks"),
        verification=of("verification"),
        notary=of("notary"),
        webhooks=of("webhooks"),
        threads=of("threads"),
        disk=of("disk"),
    )


def _problem(trouble: Trouble) -> HealthProblem:
    assert trouble.since is not None
    status: Literal["DOWN", "DEGRADED"] = "DOWN" if trouble.severity is Severity.DOWN else "DEGRADED"
    return HealthProblem(
        part=trouble.part, status=status, since=trouble.since, what=trouble.what, advice=trouble.advice
    )
