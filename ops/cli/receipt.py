"""``pacioli receipt``: fetch the receipt of a transaction, and check one without the service."""

import os
from pathlib import Path

import click
import msgspec

from core.base.setting_values import public_keys
from core.ledger.rules.model import STATUS_OF_NUMBER
from core.notary.receipt_check import Checked
from core.notary.receipt_check import check as check_receipt
from core.notary.receipts import PartyOf, Receipt
from ops.cli.grouped import DefaultGroup
from ops.cli.service import Where, asks_service, service
from ops.cli.show.text import BAD, GOOD, console, plain, print_json
from ops.server.instance import settings


@click.group(cls=DefaultGroup, default="get", short_help="Prove what was accepted and decided.")
def receipt() -> None:
    """Fetch the receipt of a transaction, or check one. `pacioli receipt ID` is `pacioli receipt get ID`."""


@receipt.command()
@click.argument("transaction_id")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write it to this file.")
@asks_service
def get(transaction_id: str, output: Path | None, where: Where, as_json: bool) -> None:
    """Fetch the receipt of a transaction: its row, its outcome, and proofs up to what the notary has signed.

    A proof is missing while the notary has not signed yet, and `note` says so.

    \b
    Examples:
      pacioli receipt get txn_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11
      pacioli receipt get txn_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11 -o paid.json
    """
    with service(where) as client:
        found = client.receipts.get(transaction_id)
    if output is None:
        print_json(found)
        return
    output.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    if note := found.get("note"):
        click.echo(f"{output} is not complete: {note}", err=True)


@receipt.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--public-key",
    "key",
    help="The public key of the notary, as `pacioli notary key` prints it, or a file with it. "
    "[env: PACIOLI_NOTARY_PUBLIC_KEY]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON with exact integers, for programs.")
def check(file: Path, key: str | None, as_json: bool) -> None:
    """Check the receipt in FILE with the public key of the notary. No service, database or network is needed.

    The exit status is 1 if anything is wrong, or if what was accepted is not proved.

    \b
    Examples:
      pacioli receipt check paid.json --public-key 3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29
      pacioli receipt check paid.json --public-key notary.pub --json
    """
    keys = _keys(key)
    try:
        given = msgspec.json.decode(file.read_bytes(), type=Receipt)
    except msgspec.MsgspecError as error:
        raise click.ClickException(f"{file} is no receipt: {error}") from None
    found = check_receipt(given, keys)
    if as_json:
        print_json(found)
    else:
        _print(found)
    if not found.ok:
        raise click.exceptions.Exit(1)


def _keys(given: str | None) -> frozenset[str]:
    if given is None:
        if known := settings().notary_public_key:
            return known
        raise click.UsageError(
            "give the public key of the notary with --public-key: nothing in a receipt can be believed without it"
        )
    text = Path(given).read_text().strip() if os.path.exists(given) else given
    try:
        return public_keys(text)
    except ValueError as error:
        raise click.BadParameter(f"{given} {error}", param_hint="--public-key") from None


def _print(found: Checked) -> None:
    out = console()
    for problem in found.problems:
        out.print(plain(f"wrong: {problem}"), style=BAD)
    if found.accepted:
        row = found.accepted
        out.print(f"{found.transaction_id} is proved", style=GOOD if found.ok else BAD)
        money = f"{row['amount']} minor units of {row['currency']}, of which {row['precision']} are one"
        out.print(
            plain(
                f"accepted at {row['accepted_at']} as row {row['seq']} of ledger {found.ledger}; sealed {found.accepted_by}"
            )
        )
        out.print(
            plain(f"from {_name(found.source)} to {_name(found.destination)}, {money}; reference {row['reference']}")
        )
    else:
        out.print(plain(f"{found.transaction_id} is not proved"), style=BAD)
    if found.decided:
        status = _STATUSES.get(found.decided["status"], found.decided["status"])
        out.print(
            plain(
                f"decided at {found.decided['decided_at']}: {status}, {found.decided['amount']}; sealed {found.decided_by}"
            )
        )
    if found.note:
        out.print(plain(f"still to come: {found.note}"))


def _name(party: PartyOf | None) -> str:
    return "several" if party is None else f"{party.indicator or party.balance_id} ({party.balance_id})"


_STATUSES = {str(number): str(status) for number, status in STATUS_OF_NUMBER.items()}
