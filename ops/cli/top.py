"""``pacioli top``: a live page of the service in the terminal."""

import os
import select
import sys
import termios
import time
import tty
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any

import click
from msgspec.structs import asdict
from pacioli_client import Client
from pacioli_client.answers.funding import Run
from pacioli_client.answers.service import Queue
from rich.live import Live

from ops.cli.service import Where, asks_service, service
from ops.cli.show.text import console, print_json
from ops.cli.show.top import Page, Seen
from ops.cli.watch import ENDED
from ops.server.instance import Unavailable

EVERY_S = 1.0
OVER_S = 5.0
"""Rates are those of so many seconds."""
JOBS_EVERY_S = 5.0
JOBS = 8
"""The runs of so many jobs are looked at."""


@click.command()
@click.option("--once", is_flag=True, help="Print one page and end.")
@asks_service
def top(where: Where, as_json: bool, once: bool) -> None:
    """Watch the service: health, rates, queues, workers, funding runs, ticks.

    The page is drawn anew each second. Press q or Ctrl-C to end. While the service is away, the page says so and tries again.
    With --once or --json it looks twice within a second, prints what it saw, and exits with 1 if the service is DOWN.

    \b
    Examples:
      pacioli top
      pacioli top --once
      pacioli top --json
    """
    if once or as_json or not sys.stdout.isatty():
        _print_once(where, as_json=as_json)
        return
    with suppress(KeyboardInterrupt):
        _watch(where)


def _watch(where: Where) -> None:
    watch = Watch(where)
    seen: Seen | None = None
    with _keys() as quits, Live(console=console(), screen=True, auto_refresh=False) as live:
        while True:
            trouble = None
            try:
                seen = watch.look()
            except click.ClickException as error:
                trouble = f"{error.message} (trying again)"
            live.update(Page(seen, trouble=trouble), refresh=True)
            if quits(EVERY_S):
                return


def _print_once(where: Where, *, as_json: bool) -> None:
    watch = Watch(where)
    watch.look()
    time.sleep(EVERY_S)
    seen = watch.look()
    if as_json:
        print_json(asdict(seen))
    else:
        console().print(Page(seen, whole=True))
    if seen.health.status == "DOWN":
        raise click.exceptions.Exit(1)


class Watch:
    """Looks at a service again and again, and remembers enough to tell rates."""

    def __init__(self, where: Where, clock: Callable[[], float] = time.monotonic) -> None:
        self._where = where
        self._clock = clock
        self._before: deque[tuple[float, list[Queue]]] = deque()
        self._jobs: list[str] = []
        self._jobs_at: float | None = None

    def look(self) -> Seen:
        """Ask the service for all that the page shows.

        Raises:
            click.ClickException: it does not answer, or cannot. The next call connects anew.
        """
        try:
            with service(self._where) as client:
                return self._look(client)
        except click.exceptions.UsageError as error:
            raise Unavailable(error.message) from None

    def _look(self, client: Client) -> Seen:
        health = client.health()
        queues, runs = [], []
        parts = client.parts()
        if health.status != "DOWN":
            queues, runs = client.queues(), self._runs(client)
        now = self._clock()
        self._before.append((now, queues))
        while len(self._before) > 2 and now - self._before[1][0] >= OVER_S:
            self._before.popleft()
        since_s = now - self._before[0][0]
        then = {queue.number: queue for queue in self._before[0][1]}
        pairs = [(queue, then[queue.number]) for queue in queues if queue.number in then] if since_s else []
        rates = {queue.number: max(0, queue.decided - old.decided) / since_s for queue, old in pairs}
        accepted = sum(queue.decided + queue.depth - old.decided - old.depth for queue, old in pairs)
        return Seen(
            url=client.url,
            health=health,
            queues=queues,
            parts=parts,
            runs=runs,
            accepted_per_s=max(0, accepted) / since_s if pairs else None,
            decided_per_s=sum(rates.values()) if pairs else None,
            rates=rates,
        )

    def _runs(self, client: Client) -> list[Run]:
        """Read the runs that go on, of the newest jobs."""
        if self._jobs_at is None or self._clock() - self._jobs_at >= JOBS_EVERY_S:
            self._jobs_at = self._clock()
            active = islice(client.funding.list(status="ACTIVE", limit=JOBS), JOBS)
            newest = islice(client.funding.list(limit=JOBS), JOBS)
            self._jobs = list(dict.fromkeys(job.job_id for job in (*active, *newest)))[: 2 * JOBS]
        last = [run for job in self._jobs for run in islice(client.funding.runs(job, limit=1), 1)]
        return [client.funding.read_run(run.job_id, run.run_id) for run in last if run.status not in ENDED]


@contextmanager
def _keys() -> Iterator[Callable[[float], bool]]:
    """Read keys without a newline. The value waits for some seconds, and tells whether q was pressed."""
    if not sys.stdin.isatty():
        yield _sleep
        return
    stdin = sys.stdin.fileno()
    before: list[Any] = termios.tcgetattr(stdin)

    def quits(seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while select.select([stdin], [], [], max(0.0, deadline - time.monotonic()))[0]:
            if os.read(stdin, 1) in (b"q", b"Q", b""):
                return True
        return False

    try:
        tty.setcbreak(stdin)
        yield quits
    finally:
        termios.tcsetattr(stdin, termios.TCSADRAIN, before)


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False
