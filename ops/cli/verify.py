"""``pacioli verify``: recomputes the ledger from its database, and writes a checkpoint when it is sound."""

import contextlib
import os
import time
from pathlib import Path

import click
import msgspec
from pacioli_client.answers.service import Verification

from core.base.answers import fields_of
from core.flows import rollups
from core.verification import checkpoints, results
from core.verification.answers import verification_of
from core.verification.verify import Effort, verify_all, verify_since_checkpoint
from ops.cli.show import bars
from ops.cli.show.text import console, count, print_json
from ops.cli.show.verification import print_report, print_results
from ops.numbers import Whole
from ops.server.instance import As, chain_key_of, reads_ledger
from ops.server.opened import database, known_of


@click.command()
@click.option("--since-checkpoint", is_flag=True, help="Go on from the last checkpoint. Quick; decides nothing anew.")
@click.option(
    "--against",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Compare it with seals that were published: lines of the notary's file, or of a syslog.",
)
@click.option(
    "--jobs",
    type=Whole(1, 256),
    help="Verify the whole ledger in so many processes. The default is one for each core.",
)
@click.option(
    "--rebuild-flows",
    is_flag=True,
    help="Derive the sums that `pacioli flows` shows anew from the log, and verify nothing.",
)
@click.option("--last", is_flag=True, help="Show the results of the last verifications. Verifies nothing.")
@reads_ledger
def verify(
    since_checkpoint: bool,
    against: Path | None,
    jobs: int | None,
    rebuild_flows: bool,
    last: bool,
    data: Path,
    as_json: bool,
) -> None:
    """Recompute the whole ledger from its history, and report what does not follow from it. Repairs nothing.

    The log is decided once more, one transaction after the other, and every outcome, balance, hold and statement is
    compared with it, and so is the hash chain. It reads one snapshot of the database, so nothing needs to be stopped. The exit
    status is 1 if anything is wrong.

    If nothing is, a checkpoint is written, which says what the hashes were, and signed with PACIOLI_CHAIN_KEY or the key
    in the data folder. With --since-checkpoint it reads only what came after the last one.

    The seals of the notary are checked by PACIOLI_NOTARY_PUBLIC_KEY, or the key in the data folder. Seals that were published,
    which --against reads, show also what was removed together with its seals.

    It uses all cores. One that is stopped or killed goes on where it stood when the command is given again, for it keeps how far
    it has come in the data folder, or else in the user's config folder.

    A worker verifies a slice of the history each minute, and what is new each hour. --last shows what these found.

    \b
    Examples:
      pacioli verify
      pacioli verify --since-checkpoint
      pacioli verify --against seals.jsonl
      pacioli verify --jobs 1
      pacioli verify --rebuild-flows
      pacioli verify --last
      pacioli verify --json | jq .problems[0]
    """
    if last:
        _show_last(data, as_json=as_json)
        return
    if rebuild_flows:
        _rebuild_flows(data, as_json=as_json)
        return
    effort = Effort(jobs or _cores(), _progress_file(data))
    found = _verify(data, against, None if since_checkpoint else effort)
    if as_json:
        print_json(found)
    else:
        print_report(console(), found)
    if not found.ok:
        raise click.exceptions.Exit(1)


def _rebuild_flows(data: Path, *, as_json: bool) -> None:
    with database(data) as engine:
        rows = rollups.rebuild(engine)
    if as_json:
        print_json({"transactions": rows})
    else:
        console().print(f"the flows of {count(rows, 'transaction')} are derived anew")


SHOWN_LAST = 10
"""So many results are shown, and the newest of each kind beside them."""


def _show_last(data: Path, *, as_json: bool) -> None:
    with database(data) as engine:
        found = results.last(engine, SHOWN_LAST)
    if as_json:
        print_json(found)
    else:
        print_results(console(), found)
    if results.unsound(found):
        raise click.exceptions.Exit(1)


def _cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _progress_file(data: Path) -> Path:
    """Return the file that keeps how far a verification has come."""
    folder = data
    if not data.is_dir():
        folder = Path(click.get_app_dir("pacioli"))
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / "verify.progress"


def _verify(data: Path, against: Path | None, effort: Effort | None) -> Verification:
    """Verify the whole ledger, or what is new since the checkpoint when there is no ``effort``."""
    known = known_of(data, against)
    key, began = chain_key_of(data), time.monotonic()
    kind = results.Kind.CHECKPOINT if effort is None else results.Kind.FULL
    with database(data) as engine, bars.verifying() as progress:
        if effort is None:
            report = verify_since_checkpoint(engine, key=key, known=known, progress=progress)
        else:
            report = verify_all(engine, key=key, known=known, progress=progress, effort=effort)
        results.record(engine, kind, report, time.monotonic() - began, asked=True)
    if report.ok:
        with database(data, As.NOTARY) as engine:
            report.checkpoint = checkpoints.write(engine, report.reached, key) or report.checkpoint
    note = None if report.went_on_after is None else _WENT_ON.format(report.went_on_after)
    return msgspec.convert(fields_of(verification_of(report, note)), Verification, from_attributes=True)


_WENT_ON = "went on after sequence {}, up to which a verification that was stopped had found it so"
