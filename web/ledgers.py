"""``/ledgers``: groups of balances."""

from typing import Any

import msgspec
from flask import Blueprint, Response

from core.base.db import begin, reading
from core.base.errors import InvalidRequest, NotFound
from core.base.ids import new_id
from core.base.metadata import meta_data_problems, meta_data_text
from core.ledger.rules.requests import LedgerRequest
from core.ledger.store import ledgers as ledger_store
from core.ledger.store.ledger_list import LEDGERS, find_ledgers
from core.ledger.store.ledgers import LedgerRow
from web.http import pages as lists
from web.http import wire
from web.service import service

blueprint = Blueprint("ledgers", __name__)


@blueprint.post("/ledgers")
def create() -> Response:
    """A new ledger, to put balances in."""
    asked, name = _checked()
    with begin(service().engine) as conn:
        row = ledger_store.create(conn, new_id("ldg_"), name, meta_data_text(bytes(asked.meta_data)))
    return wire.answer(_body(row), 201)


@blueprint.put("/ledgers/<ledger_id>")
def rename(ledger_id: str) -> Response:
    """Change the name of a ledger, and nothing else."""
    _, name = _checked()
    with begin(service().engine) as conn:
        row = ledger_store.rename(conn, ledger_id, name)
    return wire.answer(_body(_found(row)))


@blueprint.get("/ledgers/<ledger_id>")
def read(ledger_id: str) -> Response:
    """One ledger by its id."""
    with reading(service().engine) as conn:
        row = ledger_store.find(conn, ledger_id)
    return wire.answer(_body(_found(row)))


@blueprint.get("/ledgers")
def read_page() -> Response:
    """A page of ledgers, newest first. Any ``field_operator=value`` is a filter, such as ``name_ilike=cust%``."""
    listing = lists.in_query(LEDGERS, default=10, what="Invalid")
    return lists.answer(listing, find_ledgers, _body, lambda row: row.ledger_id)


@blueprint.post("/ledgers/filter")
def read_filtered() -> Response:
    """A page of the ledgers that match."""
    return lists.answer(lists.in_body(LEDGERS), find_ledgers, _body, lambda row: row.ledger_id)


def _checked() -> tuple[LedgerRequest, str]:
    asked = wire.body(LedgerRequest)
    problems = meta_data_problems(bytes(asked.meta_data)) if asked.meta_data else []
    name = asked.name
    if name is None or not name.strip():
        problems.append(("name", "cannot be blank"))
    elif "\x00" in name:
        problems.append(("name", "must not contain the NUL character"))
    if problems or name is None:
        raise InvalidRequest(problems, "GEN_VALIDATION_ERROR")
    return asked, name


def _found(row: LedgerRow | None) -> LedgerRow:
    if row is None:
        raise NotFound("LGR_NOT_FOUND", "Ledger not found")
    return row


def _body(row: LedgerRow) -> dict[str, Any]:
    return {
        "ledger_id": row.ledger_id,
        "name": row.name,
        "created_at": row.created_at,
        "meta_data": msgspec.Raw((row.meta_data or "null").encode()),
    }
