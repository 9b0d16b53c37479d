"""``pacioli verify``: recomputes the ledger from its database, and writes a checkpoint when it is sound."""

from collections.abc import Callable
from pathlib import Path

import click
import msgspec
from pacioli_client.answers.service import Verification

from core.base.answers import fields_of
from core.verification import checkpoints
from core.verification.answers import verification_of
from core.verification.report import Report
from core.verification.verify import verify_all, verify_since_checkpoint
from ops.cli.show import bars
from ops.cli.show.text import console, print_json
from ops.cli.show.verification import print_report
from ops.server.instance import chain_key_of, database, reads_ledger


@click.command(short_help="Recompute the whole ledger from its history.")
@click.option("--since-checkpoint", is_flag=True, help="Go on from the last checkpoint. Quick; decides nothing anew.")
@reads_ledger
def verify(since_checkpoint: bool, data: Path, as_json: bool) -> None:
    """Recompute the whole ledger from its history, and report what does not follow from it. Repairs nothing.

    The log is decided once more, one transaction after the other, and every outcome, balance, hold and statement is
    compared with it, and so is the hash chain. It reads one snapshot of the database, so nothing needs to be stopped. The exit
    status is 1 if anything is wrong.

    If nothing is, a checkpoint is written, which says what the hashes were, and signed with PACIOLI_CHAIN_KEY or the key
    in the data folder. With --since-checkpoint it reads only what came after the last one.

    \b
    Examples:
      pacioli verify
      pacioli verify --since-checkpoint
      pacioli verify --json | jq .problems[0]
    """
    found = _verify(data, verify_since_checkpoint if since_checkpoint else verify_all)
    if as_json:
        print_json(found)
    else:
        print_report(console(), found)
    if not found.ok:
        raise click.exceptions.Exit(1)


def _verify(data: Path, run: Callable[..., Report]) -> Verification:
    key = chain_key_of(data)
    with database(data) as engine, bars.verifying() as progress:
        report = run(engine, key=key, progress=progress)
        if report.ok:
            report.checkpoint = checkpoints.write(engine, report.reached, key) or report.checkpoint
    return msgspec.convert(fields_of(verification_of(report)), Verification, from_attributes=True)
