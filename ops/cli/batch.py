"""``pacioli batch``: many transactions of a file, accepted together."""

import csv
import io
from collections.abc import Iterator
from decimal import Decimal
from typing import BinaryIO

import click
import msgspec
from pacioli_client import NewBatch, NewTransaction
from pacioli_client.answers.transactions import BatchAccepted

from core.base.money import MAX_PRECISION
from core.base.number_texts import has_odd_number
from ops.cli.amounts import POSITIVE_AMOUNT
from ops.cli.service import Where, asks_service, service
from ops.cli.show import books
from ops.cli.show.text import console, print_json
from ops.numbers import Whole

MAX_ROWS = 10_000
WAIT_S = 60.0

COLUMNS = ("from", "to", "amount", "currency", "reference", "description")

_json = msgspec.json.Decoder(list[NewTransaction], float_hook=Decimal)
_whole = msgspec.json.Decoder(NewBatch, float_hook=Decimal)


@click.command()
@click.argument("file", type=click.File("rb", lazy=True))
@click.option(
    "--precision",
    type=Whole(1, MAX_PRECISION),
    help="Minor units in a major unit, for a CSV in a new currency.",
)
@click.option("--allow-overdraft", is_flag=True, help="Who pays may go below zero, for a CSV.")
@click.option("--atomic", is_flag=True, help="Apply all, or none.")
@click.option("--inflight", is_flag=True, help="Hold the money, to be committed or voided later.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the decisions.")
@asks_service
def batch(
    file: BinaryIO,
    precision: int | None,
    allow_overdraft: bool,
    atomic: bool,
    inflight: bool,
    no_wait: bool,
    where: Where,
    as_json: bool,
) -> None:
    """Post the transactions in FILE, up to 10,000. All are accepted, or none; - is standard input.

    FILE is a CSV with the columns from, to, amount, currency, reference and description, of which the last two may be
    missing. Or it is JSON: a list of transactions, or the body of POST /transactions/bulk. To pay many from one pool, with a
    file that may have mistakes, see `pacioli fund`.

    \b
    Examples:
      pacioli batch payments.csv --atomic
      pacioli batch payments.json --no-wait
    """
    content = file.read()
    begins_as_json = content.lstrip()[:1] in (b"[", b"{")
    asked = _of_json(content) if begins_as_json else NewBatch(transactions=_of_csv(content, precision, allow_overdraft))
    if not 1 <= len(asked.transactions) <= MAX_ROWS:
        raise click.UsageError(
            f"the file has {len(asked.transactions):,} transactions, and a batch has 1 to {MAX_ROWS:,}"
        )
    if atomic or inflight:
        asked = msgspec.structs.replace(
            asked, atomic=True if atomic else asked.atomic, inflight=True if inflight else asked.inflight
        )
    with service(where) as client:
        accepted = client.transactions.create_batch(asked)
        if accepted.batch_id is None:
            _print_repeated(accepted, as_json)
            return
        found = client.transactions.wait_batch(accepted.batch_id, timeout_s=0 if no_wait else WAIT_S)
    if as_json:
        print_json(found)
    else:
        books.print_batch(console(), found)
    if found.counts.get("REJECTED"):
        raise click.exceptions.Exit(1)


def _print_repeated(accepted: BatchAccepted, as_json: bool) -> None:
    if as_json:
        print_json(accepted)
    else:
        click.echo(f"all {accepted.transaction_count:,} transactions were accepted before, and not in one batch")


def _of_json(content: bytes) -> NewBatch:
    try:
        is_whole = content.lstrip().startswith(b"{")
        batch = _whole.decode(content) if is_whole else NewBatch(transactions=_json.decode(content))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise click.UsageError(f"the file is not a list of transactions: {error}") from None
    if has_odd_number(content, NewBatch):
        # Read as it is, "1_0" would leave here as 10.
        raise click.UsageError("the file has a number in quotes that is not written as one, such as 12.50")
    return batch


def _of_csv(content: bytes, precision: int | None, allow_overdraft: bool) -> list[NewTransaction]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise click.UsageError("the file is not text in UTF-8: save it as CSV UTF-8") from None
    rows = csv.DictReader(io.StringIO(text), strict=True)
    names = rows.fieldnames or []
    if missing := [name for name in COLUMNS[:4] if name not in names]:
        raise click.UsageError(f"the first line has no column {missing[0]}: it must have {', '.join(COLUMNS[:4])}")
    if unknown := [name for name in names if name not in COLUMNS]:
        raise click.UsageError(f"there is no column {unknown[0]!r}: there are {', '.join(COLUMNS)}")
    try:
        return list(_transactions(rows, precision, allow_overdraft))
    except csv.Error as error:
        raise click.UsageError(f"line {rows.line_num}: {error}") from None


def _transactions(
    rows: "csv.DictReader[str]", precision: int | None, allow_overdraft: bool
) -> Iterator[NewTransaction]:
    for row in rows:
        if None in row or None in row.values():
            raise click.UsageError(f"line {rows.line_num}: it has not as many columns as the first line")
        try:
            amount = POSITIVE_AMOUNT.convert(row["amount"], None, None)
        except click.BadParameter as error:
            raise click.UsageError(f"line {rows.line_num}: {error.message}") from None
        yield NewTransaction(
            source=row["from"],
            destination=row["to"],
            amount=amount,
            currency=row["currency"],
            precision=precision,
            reference=row.get("reference") or None,
            description=row.get("description") or "posted from a file",
            allow_overdraft=allow_overdraft or None,
        )
