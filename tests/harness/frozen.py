"""A process that freezes in the middle of a transaction: ``python -m tests.harness.frozen URL WHERE``.

It prints ``frozen``, stops itself as a paused machine would, and prints what became of its work when it is woken.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from alembic import command
from sqlalchemy import Engine

from core import migrations
from core.base import fence, logs
from core.base.db import connect
from core.base.errors import TransientError
from core.funding import run_store, runs
from core.funding.progress import Progress
from core.ledger import drain, intake, queues
from core.ledger.append import Submission
from core.ledger.directory import Directory
from core.ledger.store import log as log_store
from core.ledger.store import outcomes as outcome_store
from core.ledger.store import queues as queue_store
from core.verification import checkpoint_store, checkpoints
from core.verification.verify import verify_since_checkpoint
from tests.harness.factories import transaction
from web.accept.committer import Committer

ROWS = 1_000
"""The number of rows of the frozen append. They go out in several pieces."""


def freeze(*_: Any, **__: Any) -> None:
    print("frozen", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(0.1)  # Another thread may take the signal, and this one must not go on meanwhile.


def before(module: Any, name: str) -> None:
    """Freeze before a function is called."""
    call = getattr(module, name)
    setattr(module, name, lambda *args, **fields: (freeze(), call(*args, **fields))[1])


def after(module: Any, name: str) -> None:
    """Freeze after a function has returned."""
    call = getattr(module, name)
    setattr(module, name, lambda *args, **fields: (call(*args, **fields), freeze())[0])


def in_the_middle_of_the_copy() -> None:
    copy = log_store.copy_json

    def halfway(lines: Iterable[bytes]) -> Iterator[bytes]:
        for number, line in enumerate(lines):
            if number == ROWS // 2:
                freeze()
            yield line

    log_store.copy_json = lambda conn, table, columns, lines: copy(conn, table, columns, halfway(lines))  # type: ignore[assignment]


def accept(engine: Engine) -> None:
    directory = Directory(engine)
    requests = [transaction(reference=f"frozen-{number}") for number in range(ROWS)]
    drafts = intake.draft_all(requests, directory)
    Committer(engine, lambda queues: None).submit(Submission(drafts))


def write_checkpoint(engine: Engine) -> None:
    report = verify_since_checkpoint(engine, key=None, limit=100)
    checkpoints.write(engine, report.reached, None)


PLACES: dict[str, tuple[Callable[[], None], Callable[[Engine], object]]] = {
    "append after the pipeline": (lambda: before(log_store, "append"), accept),
    "append in the middle of the COPY": (in_the_middle_of_the_copy, accept),
    "append before the commit": (lambda: after(log_store, "append"), accept),
    "drain while it decides": (
        lambda: before(outcome_store, "write"),
        lambda engine: drain.drain(engine, 0, together=500),
    ),
    "drain before the commit": (
        lambda: after(queue_store, "advance"),
        lambda engine: drain.drain(engine, 0, together=500),
    ),
    "funding step": (
        lambda: after(run_store, "lock_next_run"),
        lambda engine: runs.step(engine, datetime.now(UTC), Progress()),
    ),
    "funding append": (
        lambda: after(log_store, "append"),
        lambda engine: runs.advance(engine, for_s=60),
    ),
    "resize": (lambda: before(queue_store, "resize"), lambda engine: queues.resize(engine, 3)),
    "migrate": (lambda: before(command, "upgrade"), migrations.upgrade),
    "checkpoint": (lambda: after(checkpoint_store, "lock"), write_checkpoint),
}


def main(url: str, where: str) -> None:
    logs.configure("json")
    fence.STANDS_STILL_S = 1.0
    engine = connect(url)
    prepare, work = PLACES[where]
    prepare()
    try:
        work(engine)
    except TransientError as error:
        print(f"lost {error.__cause__!r}", flush=True)
    else:
        print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
