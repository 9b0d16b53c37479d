"""``/balances``: create, read, statement."""

from typing import Any

import msgspec
from flask import Blueprint, Response, request
from sqlalchemy import Connection

from core.base.db import begin, reading
from core.base.errors import InvalidRequest, NotFound
from core.base.ids import new_key
from core.base.metadata import meta_data_problems, meta_data_text
from core.base.money import to_text
from core.funding import store as funding_store
from core.ledger import history
from core.ledger.rules.model import GENERAL_LEDGER
from core.ledger.rules.requests import BalanceRequest, IdentityLinkRequest
from core.ledger.rules.validation import ZERO_TIME, indicator_problems
from core.ledger.store import balances as balance_store
from core.ledger.store import ledgers as ledger_store
from core.ledger.store.balance_list import BALANCES, find_balances
from core.ledger.store.balances import BalanceRow, Entry
from web.funding import pool_watch
from web.http import pages as lists
from web.http import wire
from web.service import service

blueprint = Blueprint("balances", __name__)

_ENTRY_COLUMNS = (
    "version", "at", "effective_date", "direction", "amount", "precise_amount", "precise_balance_after", "currency",
    "counterparty", "transaction_id", "parent_transaction", "reference", "description", "sequence",
)  # fmt: skip


@blueprint.post("/balances")
def create() -> Response:
    """A new balance in a ledger, or an internal one under its ``@Name``."""
    asked = wire.body(BalanceRequest)
    indicator = asked.indicator.strip() if asked.indicator else None
    if problems := _problems_of(asked, indicator):
        raise InvalidRequest(problems, "GEN_VALIDATION_ERROR")
    assert asked.ledger_id is not None and asked.currency is not None
    with begin(service().engine) as conn:
        if ledger_store.find(conn, asked.ledger_id) is None:
            raise InvalidRequest([("", "Invalid ledger ID")], "GEN_BAD_REQUEST", {"ledger_id": asked.ledger_id})
        row = balance_store.create(
            conn,
            key=new_key(),
            ledger_id=asked.ledger_id,
            indicator=indicator,
            currency=asked.currency,
            meta_data=meta_data_text(bytes(asked.meta_data)),
        )
    return wire.answer(_body(row), 201)


@blueprint.get("/balances/<balance_id>")
def read(balance_id: str) -> Response:
    """One balance by its id.

    With ``from_source=true`` its sums and version are recomputed from all that was ever decided.
    """
    with reading(service().engine) as conn:
        row = found(conn, balance_id)
        queued = _queued(conn, row)
        if wire.flag("from_source"):
            row = history.recomputed(conn, row)
        jobs = funding_store.active_jobs_of(conn, row.key, 1)
    return wire.answer(_body(row, queued) | pool_watch(jobs))


@blueprint.get("/balances/indicator/<path:indicator>/currency/<currency>")
def read_indicator(indicator: str, currency: str) -> Response:
    """An internal balance by ``@Name``. Looking does not create it."""
    with reading(service().engine) as conn:
        row = balance_store.find_indicator(conn, indicator, currency)
        if row is None:
            raise NotFound("BAL_NOT_FOUND", f"balance with indicator '{indicator}' not found")
        queued = _queued(conn, row)
        jobs = funding_store.active_jobs_of(conn, row.key, 1)
    return wire.answer(_body(row, queued) | pool_watch(jobs))


@blueprint.get("/balances")
def read_page() -> Response:
    """A page of balances, newest first. Any ``field_operator=value`` is a filter, such as ``currency_eq=USD``."""
    listing = lists.in_query(BALANCES, default=10, what="invalid")
    return lists.answer(listing, find_balances, _body, lambda row: row.balance_id)


@blueprint.post("/balances/filter")
def read_filtered() -> Response:
    """A page of the balances that match."""
    return lists.answer(lists.in_body(BALANCES), find_balances, _body, lambda row: row.balance_id)


@blueprint.put("/balances/<balance_id>/identity")
def link_identity(balance_id: str) -> Response:
    """Link a balance to an identity. There are no identities in this version, so none is found."""
    asked = wire.body(IdentityLinkRequest)
    if not asked.identity_id:
        raise InvalidRequest([("identity_id", "cannot be blank")], "GEN_MALFORMED_REQUEST")
    with reading(service().engine) as conn:
        found(conn, balance_id)
    raise NotFound("IDT_NOT_FOUND", f"Identity with ID '{asked.identity_id}' not found")


@blueprint.get("/balances/<balance_id>/lineage")
def read_lineage(balance_id: str) -> Response:
    """Where a balance's money came from. No balance tracks that in this version, as ``track_fund_lineage`` is refused."""
    with reading(service().engine) as conn:
        found(conn, balance_id)
    text = f"balance {balance_id} does not have fund lineage tracking enabled"
    raise InvalidRequest([("", text)], "GEN_BAD_REQUEST")


@blueprint.get("/balances/<balance_id>/entries")
def read_entries(balance_id: str) -> Response:
    """The statement, oldest first: JSON, or CSV for ``Accept: text/csv``."""
    limit, _ = wire.limit_offset(default=100, largest=10_000, what="invalid")
    after = wire.after_number("version of an entry")
    since, until = wire.time_arg("from"), wire.time_arg("to")
    with reading(service().engine) as conn:
        row = found(conn, balance_id)
        entries = balance_store.entries(conn, row.key, limit=limit, after=after, since=since, until=until)
    response = lists.table([_entry_body(entry) for entry in entries], _ENTRY_COLUMNS)
    return wire.next_link(response, entries[-1].version if len(entries) == limit else None)


def found(conn: Connection, balance_id: str) -> BalanceRow:
    """A balance by its id.

    Raises:
        NotFound: there is none.
    """
    row = balance_store.find(conn, balance_id)
    if row is None:
        raise NotFound("BAL_NOT_FOUND", f"Balance with ID '{balance_id}' not found")
    return row


def _problems_of(asked: BalanceRequest, indicator: str | None) -> list[tuple[str, str]]:
    problems = meta_data_problems(bytes(asked.meta_data)) if asked.meta_data else []
    if not asked.ledger_id:
        problems.append(("ledger_id", "cannot be blank"))
    if asked.currency is None or not asked.currency.strip():
        problems.append(("currency", "cannot be blank"))
    elif len(asked.currency) > 32 or "\x00" in asked.currency:
        problems.append(("currency", "has at most 32 characters, none of them NUL"))
    if "\x00" in (asked.ledger_id or ""):
        problems.append(("ledger_id", "must not contain the NUL character"))
    if indicator is not None:
        if not indicator.startswith("@"):
            problems.append(("indicator", "must start with @"))
        problems += indicator_problems("indicator", indicator)
        if asked.ledger_id != GENERAL_LEDGER:
            problems.append(("indicator", f"an internal balance is in the ledger {GENERAL_LEDGER}"))
    if asked.identity_id:
        problems.append(("identity_id", "identities are not available in this version; leave it out"))
    if asked.track_fund_lineage:
        problems.append(("track_fund_lineage", "is not available in this version; leave it out"))
    if (asked.allocation_strategy or "").strip().upper() not in ("", "FIFO"):
        problems.append(("allocation_strategy", "only FIFO is available in this version"))
    return problems


def _queued(conn: Connection, row: BalanceRow) -> tuple[int, int] | None:
    """Debits and credits not decided yet, if they are asked for."""
    return balance_store.queued_sums(conn, row.key) if request.args.get("with_queued") == "true" else None


def _body(row: BalanceRow, queued: tuple[int, int] | None = None) -> dict[str, Any]:
    """Blnk's balance object, and ``available_balance``. ``queued`` are debits and credits not decided yet."""
    body: dict[str, Any] = {
        "balance": row.balance,
        "version": row.version,
        "inflight_balance": row.inflight_credit_balance - row.inflight_debit_balance,
        "credit_balance": row.credit_balance,
        "inflight_credit_balance": row.inflight_credit_balance,
        "debit_balance": row.debit_balance,
        "inflight_debit_balance": row.inflight_debit_balance,
        "available_balance": row.available,
        "ledger_id": row.ledger_id,
        "identity_id": "",
        "balance_id": row.balance_id,
        "indicator": row.indicator or "",
        "currency": row.currency,
        "created_at": row.created_at,
        "inflight_expires_at": ZERO_TIME,
        "meta_data": msgspec.Raw((row.meta_data or "null").encode()),
        "track_fund_lineage": False,
        "allocation_strategy": "FIFO",
    }
    if queued is not None:
        debits, credits = queued
        body |= {
            "queued_debit_balance": debits,
            "queued_credit_balance": credits,
            "available_balance": row.available - debits,
        }
    return body


def _entry_body(entry: Entry) -> dict[str, Any]:
    return {
        "version": entry.version,
        "at": entry.at,
        "effective_date": entry.effective_date,
        "direction": entry.direction,
        "amount": msgspec.Raw(to_text(entry.amount, entry.precision).encode()),
        "precise_amount": entry.amount,
        "precise_balance_after": entry.balance_after,
        "currency": entry.currency,
        "counterparty": entry.counterparty,
        "transaction_id": entry.transaction_id,
        "parent_transaction": entry.parent or "",
        "reference": entry.reference,
        "description": entry.description,
        "sequence": entry.sequence,
    }
