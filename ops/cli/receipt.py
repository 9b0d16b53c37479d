"""``pacioli receipt``: fetch the receipt of a transaction or a statement, and check one without the service."""

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from core.base.setting_values import public_keys
from core.ledger.rules.model import STATUS_OF_NUMBER
from core.notary import attestations
from core.notary.attestations import Attestation
from core.notary.receipt_check import Checked
from core.notary.receipt_check import check as check_receipt
from core.notary.receipts import PartyOf, Receipt
from core.notary.statement_check import CheckedStatement, check_statement
from core.notary.statement_receipts import MAX_ENTRIES, StatementReceipt
from ops.cli.dates import WHEN
from ops.cli.grouped import DefaultGroup
from ops.cli.naming import balance_named
from ops.cli.service import Where, asks_service, service
from ops.cli.show.text import BAD, GOOD, console, plain, print_json
from ops.numbers import Whole
from ops.server.instance import settings


@click.group(cls=DefaultGroup, default="get")
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
    _write(found, output)


@receipt.command()
@click.argument("name")
@click.option("--currency", help="The currency of an @Name that has several.")
@click.option("--from", "since", type=WHEN, help="The start, such as 2026-05-01. The default is the first entry.")
@click.option("--to", "until", type=WHEN, help="The time before which the entries are. The default is now.")
@click.option("--after", type=Whole(min=0), help="The version after which it begins, as the note of another says.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write it to this file.")
@asks_service
def statement(
    name: str,
    currency: str | None,
    since: datetime | None,
    until: datetime | None,
    after: int | None,
    output: Path | None,
    where: Where,
    as_json: bool,
) -> None:
    """Fetch the receipt of the statement of the balance NAME: each entry with its proofs, up to 500 at a time.

    \b
    Examples:
      pacioli receipt statement @Revenue --from 2026-05-01 --to 2026-06-01 -o may.json
      pacioli receipt statement bln_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11 --after 501
    """
    with service(where) as client:
        row = balance_named(client, name, currency)
        found = client.receipts.statement(row.balance_id, since=since, until=until, after=after, limit=MAX_ENTRIES)
    _write(found, output)


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

    FILE has the receipt of a transaction or of a statement. It may also have the notary's statement of how far the ledger was
    verified, as `pacioli verify --json` has it in `attested`.

    The exit status is 1 if anything is wrong, or if what was accepted is not proved.

    \b
    Examples:
      pacioli receipt check paid.json --public-key 3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29
      pacioli receipt check paid.json --public-key notary.pub --json
    """
    keys = _keys(key)
    text = file.read_bytes()
    if (attestation := _attestation(text)) is not None:
        _check_attestation(attestation, keys, as_json=as_json)
        return
    if (of_statement := _statement(text)) is not None:
        statement = check_statement(of_statement, keys)
        if as_json:
            print_json(statement)
        else:
            _print_statement(statement)
        if not statement.ok:
            raise click.exceptions.Exit(1)
        return
    try:
        given = msgspec.json.decode(text, type=Receipt)
    except msgspec.MsgspecError as error:
        raise click.ClickException(f"{file} is no receipt: {error}") from None
    found = check_receipt(given, keys)
    if as_json:
        print_json(found)
    else:
        _print(found)
    if not found.ok:
        raise click.exceptions.Exit(1)


def _write(found: dict[str, Any], output: Path | None) -> None:
    if output is None:
        print_json(found)
        return
    output.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    if note := found.get("note"):
        click.echo(f"{output} is not complete: {note}", err=True)


def _statement(text: bytes) -> StatementReceipt | None:
    """Read the receipt of a statement; None for another document."""
    try:
        return msgspec.json.decode(text, type=StatementReceipt)
    except msgspec.MsgspecError:
        return None


def _print_statement(found: CheckedStatement) -> None:
    out = console()
    for problem in found.problems:
        out.print(plain(f"wrong: {problem}"), style=BAD)
    told = "is proved, and no entry is left out" if found.ok else "is not proved"
    out.print(plain(f"the statement of {_name(found.balance)} {told}"), style=GOOD if found.ok else BAD)
    if found.entries:
        first, last = found.entries[0], found.entries[-1]
        out.print(
            plain(f"{len(found.entries)} entries, versions {first.version} to {last.version}; sealed {found.sealed_at}")
        )
    sums = (found.opening_balance, found.debits, found.credits, found.closing_balance)
    out.print(
        plain(
            "opening {}, debits {}, credits {}, closing {}, in minor units of {}".format(*sums, found.balance.currency)
        )
    )
    if found.note:
        out.print(plain(f"still to come: {found.note}"))


class _Attested(msgspec.Struct):
    attested: Attestation


def _attestation(text: bytes) -> Attestation | None:
    """Read a statement of how far the ledger was verified, by itself, or in the answer of a verification."""
    for read in (
        lambda: msgspec.json.decode(text, type=_Attested).attested,
        lambda: msgspec.json.decode(text, type=Attestation),
    ):
        try:
            return read()
        except msgspec.MsgspecError:
            continue
    return None


def _check_attestation(attestation: Attestation, keys: frozenset[str], *, as_json: bool) -> None:
    wrong, statement = attestations.problem(attestation, keys), attestations.read(attestation)
    if as_json:
        print_json({"ok": wrong is None, "problem": wrong, "statement": statement if wrong is None else None})
    elif wrong is not None or statement is None:
        console().print(plain(f"wrong: {wrong}"), style=BAD)
    else:
        text = (
            f"ledger {statement.ledger} was verified up to sequence {statement.sequence:,} at {statement.verified_at}"
        )
        console().print(plain(text), style=GOOD)
        console().print(plain(f"signed at {statement.at}; the digest of that row is {statement.digest}"))
    if wrong is not None:
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
