"""``/books``, ``/currencies`` and ``/balances/<id>/statement``: what the ledger holds, in the forms that people read."""

import math

from flask import Blueprint, Response, request
from msgspec import structs

from core.base.actors import reach_of_request
from core.base.db import begin, reading, reading_within
from core.base.errors import ErrorCode, InvalidRequest, TooSlow
from core.ledger import balances, books, currencies, statement
from core.ledger.balances import Entry
from core.ledger.books import CurrencyBooks
from core.ledger.currencies import Currency
from core.ledger.rules.requests import CurrencyRequest
from core.ledger.statement import MAX_ENTRIES, Statement
from core.ledger.store.spans import Basis
from web.http import operations, parameters, wire
from web.http import pages as lists
from web.http.operations import operation
from web.service import service

blueprint = Blueprint("books", __name__)

TIMEOUT_S = 8.0


@blueprint.get("/books")
@operation({200: list[CurrencyBooks]})
def read() -> Response:
    """Add up all balances.

    All balances of a currency add up to zero, at any moment. Each ``@Name`` has a line, and the other balances of a ledger
    have one together. The books of more than 20,000 balances are those of some seconds ago, and the header ``Age`` says of how
    many.
    """
    ledger, reach = service(), reach_of_request()

    def add_up() -> list[CurrencyBooks]:
        with reading_within(ledger.engine, TIMEOUT_S) as conn:
            return books.read(conn)

    found, age_s = ledger.books.get((reach.ledgers, reach.indicators), add_up)
    response = wire.answer(found)
    if age_s:
        response.headers["Age"] = str(math.ceil(age_s))
    return response


@blueprint.get("/currencies")
@operation({200: list[Currency]})
def read_currencies() -> Response:
    """List the currencies.

    A currency is in the list as soon as its precision is fixed, by an operator or by its first use.
    """
    with reading(service().engine) as conn:
        found = currencies.read(conn)
    return wire.answer(found)


@blueprint.put("/currencies/<path:currency>")
@operation({200: Currency}, 409, body=CurrencyRequest)
def fix_currency(currency: str) -> Response:
    """Fix the precision of a currency.

    Without this, the first transaction that states a precision fixes it. It never changes.
    """
    asked = wire.body(CurrencyRequest)
    with begin(service().engine) as conn:
        fixed = currencies.fix(conn, currency, asked.precision)
    return wire.answer(fixed)


@blueprint.get("/balances/<balance_id>/statement")
@parameters.takes(
    parameters.time("from", "The start of the period. The default is the first entry."),
    parameters.time("to", "The time before which the entries are. The default is that there is no end."),
    parameters.one_of(
        "basis",
        [each.value for each in Basis],
        "booked (the default) counts an entry when it is decided, effective from its effective date.",
    ),
    parameters.LIMIT,
    parameters.after("5-12"),
)
@operation({200: Statement}, 404, media=operations.CSV)
def read_statement(balance_id: str) -> Response:
    """Read the statement of a balance.

    The statement has the balance at the start of the period, each entry with the balance after it, and the balance at the end.
    All pages show one state of the balance, whatever is posted meanwhile. The answer is JSON, or the entries as CSV for
    ``Accept: text/csv``.
    """
    limit, _ = parameters.limit_offset(default=1_000, largest=MAX_ENTRIES, what="invalid")
    after = statement.cursor_of(request.args.get("after"))
    between = parameters.period()
    basis = _basis()
    try:
        with reading_within(service().engine, TIMEOUT_S) as conn:
            row = balances.found(conn, balance_id)
            found = statement.read(conn, row, basis, between, after=after, limit=limit)
    except TooSlow as error:
        text = f"{error.message}: the balance has too many entries; GET /balances/{balance_id}/entries reads them"
        raise InvalidRequest([("", text)], error.code) from error
    if lists.wants_csv():
        count, response = lists.csv_of(found.entries, Entry)
    else:
        count = len(lists.fitting(found.entries))
        response = wire.answer(structs.replace(found, entries=found.entries[:count]))
    return parameters.next_link(response, statement.next_after(found, row, after, limit, count))


def _basis() -> Basis:
    text = request.args.get("basis", Basis.BOOKED.value)
    if text not in tuple(Basis):
        raise InvalidRequest([("basis", "must be booked or effective")], ErrorCode.GEN_VALIDATION_ERROR)
    return Basis(text)
