"""``/ledgers``: groups of balances."""

from flask import Blueprint, Response

from core.base.db import begin, reading
from core.ledger import ledgers
from core.ledger.ledgers import Ledger, LedgerPage, ledger_of
from core.ledger.rules.requests import LedgerRequest
from core.ledger.store.ledger_list import LEDGERS, find_ledgers
from core.lists.requests import FilterRequest
from web.http import pages as lists
from web.http import parameters, retries, wire
from web.http.operations import operation
from web.service import service

blueprint = Blueprint("ledgers", __name__)


@blueprint.post("/ledgers")
@operation({201: Ledger}, 409, body=LedgerRequest)
@retries.once
def create() -> Response:
    """Create a ledger.

    A ledger is a group of balances.
    """
    asked = wire.body(LedgerRequest)
    with begin(service().engine) as conn:
        return retries.keep_in(conn, wire.answer(ledgers.create(conn, asked), 201))


@blueprint.put("/ledgers/<ledger_id>")
@operation({200: Ledger}, 404, body=LedgerRequest)
def rename(ledger_id: str) -> Response:
    """Rename a ledger.

    Nothing but the name changes.
    """
    asked = wire.body(LedgerRequest)
    with begin(service().engine) as conn:
        renamed = ledgers.rename(conn, ledger_id, asked)
    return wire.answer(renamed)


@blueprint.get("/ledgers/<ledger_id>")
@operation({200: Ledger}, 404)
def read(ledger_id: str) -> Response:
    """Read a ledger."""
    with reading(service().engine) as conn:
        found = ledgers.read(conn, ledger_id)
    return wire.answer(found)


@blueprint.get("/ledgers")
@operation({200: list[Ledger] | LedgerPage})
@parameters.takes(*parameters.page_of(LEDGERS, example="general_ledger_id"), resource=LEDGERS)
def read_page() -> Response:
    """List ledgers.

    The newest ledger comes first. Each ``field_operator=value`` is a filter, such as ``name_ilike=cust%``.
    """
    listing = lists.in_query(parameters.of_view(read_page), default=10, what="Invalid")
    return lists.answer(listing, find_ledgers, ledger_of, lambda row: row.ledger_id, LedgerPage)


@blueprint.post("/ledgers/filter")
@operation({200: list[Ledger] | LedgerPage}, body=FilterRequest, filters=LEDGERS)
@parameters.takes(parameters.after("general_ledger_id"))
def read_filtered() -> Response:
    """Filter ledgers.

    The answer is a page of the ledgers that match.
    """
    return lists.answer(lists.in_body(LEDGERS), find_ledgers, ledger_of, lambda row: row.ledger_id, LedgerPage)
