"""``/parts``: the processes of the service, its ticks and its last verification, as ``pacioli top`` shows them."""

from flask import Blueprint, Response
from msgspec import Struct

from core.base.answers import Time
from core.upkeep.heartbeats import Heartbeat
from core.upkeep.probes import Sealed, Ticked, Verified
from web.http import wire
from web.http.operations import operation
from web.service import service

blueprint = Blueprint("parts", __name__)


class PartChild(Struct, frozen=True, kw_only=True):
    """A child process of a worker, which runs the tasks."""

    pid: int
    answers: bool
    """False for a child that is frozen or gone."""
    task: str | None
    """The task that it runs; null when it waits for one."""
    queue: int | None
    """The queue that it drains, and the few postings that wait in others; null in any other task."""
    busy_s: float
    """The time for which it has been running the task."""
    ended: int
    """The number of tasks that it has ended."""


class Process(Struct, frozen=True, kw_only=True):
    """The last heartbeat of a process. Ages are counted by the database's clock."""

    name: str
    part: str
    host: str
    heard_s: float
    """The time since its last heartbeat."""
    clock_off_s: float
    """The seconds that its host's clock is ahead of the database's; negative when it is behind."""
    up_s: float | None
    """The time since it started."""
    consuming: bool | None
    """Whether a worker takes messages from the broker."""
    standing_in: bool | None
    """Whether a worker does the ticks itself, because none came in time."""
    children: list[PartChild]


class TickDone(Struct, frozen=True, kw_only=True):
    """When a tick was last done, and by which process."""

    name: str
    at: Time | None
    ago_s: float | None
    by: str


class LastVerification(Struct, frozen=True, kw_only=True):
    """The newest verification of a part of the log."""

    kind: str
    at: Time
    ago_s: float
    last_sequence: int
    problem_count: int
    """The problems that still count. They are those of the newest unsound verification."""


class LastSeal(Struct, frozen=True, kw_only=True):
    """The newest seal of the notary, which signs how far the log is."""

    number: int
    at: Time
    ago_s: float
    last_sequence: int
    """The last row of the log that is sealed."""
    unsealed: int
    """The number of rows of the log that are not sealed yet."""


class Parts(Struct, frozen=True, kw_only=True):
    """The last records of the parts of the service about themselves."""

    known: bool
    """False while this process could not read the records yet, or not any more, because the database is away."""
    processes: list[Process]
    ticks: list[TickDone]
    verification: LastVerification | None
    seal: LastSeal | None


@blueprint.get("/parts")
@operation({200: Parts})
def read() -> Response:
    """Read the parts of the service.

    The answer lists the processes with their hosts, clocks and tasks, the ticks, and the last verification. It is what this
    process read some seconds ago at most, so it comes at once whatever hangs.
    """
    facts = service().probe.facts
    if facts is None:
        return wire.answer(Parts(known=False, processes=[], ticks=[], verification=None, seal=None))
    return wire.answer(
        Parts(
            known=True,
            processes=[_process(each) for each in facts.heartbeats],
            ticks=[_tick(each) for each in facts.ticks],
            verification=None if facts.verified is None else _verification(facts.verified),
            seal=None if facts.sealed is None else _seal(facts.sealed),
        )
    )


def _process(one: Heartbeat) -> Process:
    state = one.state
    return Process(
        name=one.name,
        part=one.part,
        host=one.host,
        heard_s=round(one.age_s, 1),
        clock_off_s=round(one.clock_off_s, 3),
        up_s=None if state is None else round(state.up_s, 1),
        consuming=None if state is None else state.consuming,
        standing_in=None if state is None else state.standing_in,
        children=[]
        if state is None
        else [
            PartChild(pid=c.pid, answers=c.answers, task=c.task, queue=c.queue, busy_s=c.busy_s, ended=c.ended)
            for c in state.children
        ],
    )


def _tick(one: Ticked) -> TickDone:
    ago_s = None if one.late_s is None else round(one.late_s, 1)
    return TickDone(name=one.name, at=one.at, ago_s=ago_s, by=one.by)


def _seal(one: Sealed) -> LastSeal:
    return LastSeal(
        number=one.number,
        at=one.at,
        ago_s=round(one.age_s, 1),
        last_sequence=one.last_seq,
        unsealed=one.unsealed,
    )


def _verification(one: Verified) -> LastVerification:
    return LastVerification(
        kind=one.kind,
        at=one.at,
        ago_s=round(one.age_s, 1),
        last_sequence=one.last_seq,
        problem_count=one.problem_count,
    )
