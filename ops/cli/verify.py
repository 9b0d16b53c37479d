"""``pacioli verify``: recomputes the ledger from its database, and writes a checkpoint when it is sound."""

import time
from pathlib import Path

import click
import msgspec
from pacioli_client.answers.service import Verification

from core.base.answers import fields_of
from core.verification import checkpoints, results
from core.verification.answers import verification_of
from core.verification.verify import verify_all, verify_since_checkpoint
from ops.cli.show import bars
from ops.cli.show.text import console, print_json
from ops.cli.show.verification import print_report, print_results
from ops.server.instance import As, chain_key_of, database, known_of, reads_ledger


@click.command(short_help="Recompute the whole ledger from its history.")
@click.option("--since-checkpoint", is_flag=True, help="Go on from the last checkpoint. Quick; decides nothing anew.")
@click.option(
    "--against",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Compare it with seals that were published: lines of the notary's file, or of a syslog.",
)
@click.option("--last", is_flag=True, help="Show the results of the last verifications. Verifies nothing.")
@reads_ledger
def verify(since_checkpoint: bool, against: Path | None, last: bool, data: Path, as_json: bool) -> None:
    """Recompute the whole ledger from its history, and report what does not follow from it. Repairs nothing.

    The log is decided once more, one transaction after the other, and every outcome, balance, hold and statement is
    compared with it, and so is the hash chain. It reads one snapshot of the database, so nothing needs to be stopped. The exit
    status is 1 if anything is wrong.

    If nothing is, a checkpoint is written, which says what the hashes were, and signed with PACIOLI_CHAIN_KEY or the key
    in the data folder. With --since-checkpoint it reads only what came after the last one.

    The seals of the notary are checked by PACIOLI_NOTARY_PUBLIC_KEY, or the key in the data folder. Seals that were published,
    which --against reads, show also what was removed together with its seals.

    A worker verifies a slice of the history each minute, and what is new each hour. --last shows what these found.

    \b
    Examples:
      pacioli verify
      pacioli verify --since-checkpoint
      pacioli verify --against seals.jsonl
      pacioli verify --last
      pacioli verify --json | jq .problems[0]
    """
    if last:
        _show_last(data, as_json=as_json)
        return
    found = _verify(data, results.Kind.CHECKPOINT if since_checkpoint else results.Kind.FULL, against)
    if as_json:
        print_json(found)
    else:
        print_report(console(), found)
    if not found.ok:
        raise click.exceptions.Exit(1)


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


def _verify(data: Path, kind: results.Kind, against: Path | None) -> Verification:
    known = known_of(data, against)
    key, began = chain_key_of(data), time.monotonic()
    run = verify_all if kind is results.Kind.FULL else verify_since_checkpoint
    with database(data) as engine, bars.verifying() as progress:
        report = run(engine, key=key, known=known, progress=progress)
        results.record(engine, kind, report, time.monotonic() - began, asked=True)
    if report.ok:
        with database(data, As.NOTARY) as engine:
            report.checkpoint = checkpoints.write(engine, report.reached, key) or report.checkpoint
    return msgspec.convert(fields_of(verification_of(report)), Verification, from_attributes=True)
