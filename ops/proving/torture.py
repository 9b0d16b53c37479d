"""``pacioli torture``: clients post and read while every part is hit by every fault. Then every promise is checked.

What was acknowledged must be there afterwards, final, once. ``ops/proving/chaos`` holds the faults, the clients and the checks.
"""

import dataclasses
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import click
import httpx
import msgspec
from msgspec import Struct, field
from pacioli_client import Client
from rich.console import Console
from rich.table import Table

from core.base.db import LONG_S, connect
from core.verification.verify import verify_all
from ops.numbers import Whole
from ops.proving.chaos import checks, repertoire
from ops.proving.chaos.arena import Arena, arena
from ops.proving.chaos.clients import Poster
from ops.proving.chaos.echoes import Echoes
from ops.proving.chaos.fault import NOT_THERE, Blow, Fault
from ops.proving.chaos.readers import Reader
from ops.proving.chaos.receiver import Receiver
from ops.proving.chaos.stopwatch import Stopwatch, Struck, Suffered, suffered
from ops.proving.ending import watch_over

POSTERS, READERS = 8, 4
"""So many that requests meet in one commit, and in one read."""

READ_BOUND_S = 20.0
"""No read may wait longer for its answer or its error.

A web process gives a request 10 s of the database, after at most 5 s for a connection. One that comes while no web process
is there waits for the next one before that.
"""

ACCEPTED_AGAIN_S = 60.0
"""A POST must be accepted so long after a blow is over."""

LONG = (5.0, 10.0)
"""The seconds that a fault lasts, if it lasts."""

Say = Callable[[str], None]


class Result(Struct, kw_only=True):
    """The counts of a torture, and the faults that it found."""

    seed: int
    faults: dict[str, Suffered] = {}
    acknowledged: int = 0
    compared: int = 0
    """Answers that were compared with their request."""
    delivered: int = 0
    """Events that the receiver of the webhook got."""
    unanswered: int = 0
    """Requests that got no answer. Each was sent again, as those that got 503."""
    unavailable: int = 0
    """Answers 503."""
    reads: int = 0
    longest_read_s: float = 0.0
    longest_without_201_s: float = 0.0
    runs: int = 0
    """The number of runs of the funding job."""
    statuses: dict[str, int] = {}
    wrong: list[str] = field(default_factory=list)


@click.command()
@click.option("--seconds", type=Whole(min=1), default=60, show_default=True, help="How long faults follow each other.")
@click.option(
    "--seed", type=Whole(0), help="The same seed repeats the random choices. [default: a new one, which is printed]"
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def torture(seconds: int, seed: int | None, as_json: bool) -> None:
    """Hit every part of a service with every fault, while clients post and read.

    Web, worker, beat, Postgres and Redis are killed, frozen and kept dead; the network to both cuts, stalls and slows; Postgres
    is read-only or full; Redis is emptied, out of memory or full of junk. Each fault comes once before any comes again; all of
    them once take some six minutes. The command starts a service of its own in a temporary folder. The exit status is 1 if an
    acknowledged transaction is lost, is there twice or is not final, if an answer is not that of its request or the ledger does
    not bear it out, if a webhook misses an event, if a read waited too long, or if the service does not recover.

    \b
    Examples:
      pacioli torture
      pacioli torture --seconds 600 --seed 7 --json
    """
    seed = random.randrange(2**32) if seed is None else seed
    console = Console(stderr=True)
    console.print(f"seed {seed}")
    watch_over(lambda text: console.print(f"the torture with seed {seed}: {text}", highlight=False))
    with tempfile.TemporaryDirectory(prefix="pacioli-torture-") as folder, arena(Path(folder)) as ours:
        faults = repertoire.shuffled(random.Random(seed), seconds)
        result = run(ours, faults, seed=seed, say=lambda text: console.print(text, highlight=False))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(result), indent=2).decode())
    else:
        _show(result, Console())
    raise SystemExit(1 if result.wrong else 0)


def run(
    arena: Arena, faults: Iterable[Fault], *, seed: int, for_s: tuple[float, float] = LONG, say: Say = lambda text: None
) -> Result:
    """Hit a running service with faults, one after the other, and check what became of everything it acknowledged."""
    result = Result(seed=seed)
    stopwatch, echoes = Stopwatch(), Echoes()
    striker = _Striker(arena, random.Random(seed), for_s, stopwatch, say)
    stop = threading.Event()
    quiet = Client(arena.url, arena.service.key, transport=echoes.transport(httpx.HTTPTransport()))
    receiver = Receiver(random.Random(seed))
    quiet.webhooks.create(receiver.url, events=["transaction.*"])
    job_id = checks.create_job(quiet)
    clients = [
        Client(arena.url, arena.service.key, transport=stopwatch.transport(echoes.transport(httpx.HTTPTransport())))
        for _ in range(POSTERS + READERS)
    ]
    posters = [Poster(client, random.Random(seed + n), stop, job_id) for n, client in enumerate(clients[:POSTERS])]
    readers = [Reader(client, random.Random(seed - n), stop) for n, client in enumerate(clients[POSTERS:], 1)]
    users: list[Poster | Reader] = [*posters, *readers]
    with receiver:
        for user in users:
            user.start()
        try:
            for fault in faults:
                striker.strike(fault)
        finally:
            stop.set()
        last_blow_at = time.monotonic()
        for user in users:
            user.join()
            result.wrong += user.wrong
        result.wrong += striker.wrong
        _measure(result, stopwatch, striker.blows, last_blow_at)
        result.acknowledged = sum(len(poster.acknowledged) + len(poster.children) for poster in posters)
        say(f"{result.acknowledged} acknowledged; waiting until all are final")
        result.wrong += checks.await_final(quiet, posters, job_id)
        result.wrong += checks.await_told(quiet, receiver)
        result.delivered = len(receiver.ids)
    result.wrong += checks.await_up(quiet)
    result.statuses, wrong = checks.check_log(quiet, posters, echoes)
    result.compared = echoes.answers
    result.wrong += echoes.wrong
    result.runs, of_runs = checks.check_runs(quiet, posters, job_id)
    engine = connect(arena.postgres.url, within_s=LONG_S)
    report = verify_all(engine)  # Which also looks at each row of a run.
    engine.dispose()
    result.wrong += wrong + of_runs + [str(problem) for problem in report.problems]
    for client in (quiet, *clients):
        client.close()
    return result


@dataclass
class _Striker:
    """Strikes one blow after the other."""

    arena: Arena
    dice: random.Random
    for_s: tuple[float, float]
    stopwatch: Stopwatch
    say: Say
    blows: list[Struck] = dataclasses.field(default_factory=list)
    wrong: list[str] = dataclasses.field(default_factory=list)

    def strike(self, fault: Fault) -> None:
        """Strike, and mostly wait until a POST is accepted again. Sometimes the next blow falls on top of this one."""
        self.say(fault.name)
        blow = Blow(self.arena, self.dice, self.dice.uniform(*self.for_s))
        began_at = time.monotonic()
        missed = False
        try:
            fault.strike(blow)
        except NOT_THERE as error:
            missed = True
            self.say(f"  missed: {error!r}")
        self.blows.append(Struck(fault.name, began_at, missed))
        self.wrong += blow.wrong
        if self.dice.random() < 0.7:
            self._await_accepted(fault)
        time.sleep(self.dice.uniform(0.2, 0.8))

    def _await_accepted(self, fault: Fault) -> None:
        count, deadline = len(self.stopwatch.accepted_at), time.monotonic() + ACCEPTED_AGAIN_S
        while len(self.stopwatch.accepted_at) < count + POSTERS:
            if time.monotonic() > deadline:
                self.wrong.append(f"no 201 for {ACCEPTED_AGAIN_S:g} s after the blow: {fault.name}")
                return
            time.sleep(0.02)


def _measure(result: Result, stopwatch: Stopwatch, blows: list[Struck], ended_at: float) -> None:
    result.faults = suffered(stopwatch, blows, ended_at)
    result.unanswered, result.unavailable = stopwatch.unanswered, stopwatch.unavailable
    result.reads = len(stopwatch.reads)
    result.longest_read_s = round(stopwatch.longest_read_s, 2)
    result.longest_without_201_s = round(stopwatch.longest_without_201_s, 2)
    result.wrong += stopwatch.wrong
    if result.longest_read_s > READ_BOUND_S:
        result.wrong.append(f"a read waited for {result.longest_read_s:g} s")


def _show(result: Result, console: Console) -> None:
    table = Table("fault", title="pacioli torture")
    for heading in ("blows", "missed", "longest without a 201", "longest read"):
        table.add_column(heading, justify="right")
    for name, each in sorted(result.faults.items()):
        times = (f"{each.longest_without_201_s:.1f} s", f"{each.longest_read_s:.1f} s")
        table.add_row(name, str(each.blows), str(each.missed or ""), *times)
    console.print(table)
    rest = Table(show_header=False)
    for name in Result.__struct_fields__:
        value = getattr(result, name)
        if name != "faults":
            shown = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
            rest.add_row(name.replace("_", " "), shown)
    console.print(rest)
