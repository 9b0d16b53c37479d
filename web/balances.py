"""``/balances``: create, read, statement."""

from typing import Any

from flask import Blueprint, Response
from msgspec import UNSET, UnsetType
from msgspec.structs import asdict, replace
from sqlalchemy import Connection

from core.base.actors import reach_of_request
from core.base.answers import Done
from core.base.db import begin, reading
from core.base.errors import ErrorCode, InvalidRequest
from core.funding import job_store
from core.funding.answers import FundedBalance
from core.funding.presenter import funded
from core.funding.watching import WholeRow
from core.identities import identities
from core.identities.answers import Identity, identity_of
from core.identities.requests import IdentityLinkRequest
from core.ledger import balances, history, ledgers, limits
from core.ledger.balances import Balance, BalancePage, Entry, balance_of, entry_of
from core.ledger.ledgers import Ledger
from core.ledger.limits import BalanceLimits, LimitsRequest
from core.ledger.reach import seen
from core.ledger.rules.requests import BalanceRequest
from core.ledger.store import balances as balance_store
from core.ledger.store import entries as entry_store
from core.ledger.store.balance_list import BALANCES, find_balances
from core.ledger.store.balances import BalanceRow
from core.lists.requests import FilterRequest
from web.http import operations, parameters, retries, wire
from web.http import pages as lists
from web.http.operations import operation
from web.outcomes import answer_shared
from web.service import Service, service

blueprint = Blueprint("balances", __name__)

_EXAMPLE = "bln_01928ee1-7e5a-7000-8000-000000000000"
_INCLUDE = parameters.one_of(
    "include", ("ledger", "identity"), "What to add to the answer: the ledger, the identity, or both.", repeats=True
)


class WholeBalance(FundedBalance, frozen=True, kw_only=True):
    """A balance with what ``include`` asked for."""

    ledger: Ledger | UnsetType = UNSET
    identity: Identity | UnsetType | None = UNSET
    """The identity that it belongs to, or null."""


@blueprint.post("/balances")
@operation({201: Balance}, 404, 409, body=BalanceRequest)
@retries.once
def create() -> Response:
    """Create a balance.

    The balance belongs to a ledger. An internal balance is created under its ``@Name``.
    """
    asked = wire.body(BalanceRequest)
    with begin(service().engine) as conn:
        owner = identities.named(conn, asked.identity_id) if asked.identity_id else None
        created = balances.create(conn, asked)
        if owner is not None:
            identities.link(conn, created.balance_id, owner.identity_id)
            created = replace(created, identity_id=owner.identity_id)
        return retries.keep_in(conn, wire.answer(created, 201))


@blueprint.get("/balances/<balance_id>")
@operation({200: WholeBalance}, 404)
@parameters.takes(parameters.WITH_QUEUED, parameters.FROM_SOURCE, _INCLUDE)
def read(balance_id: str) -> Response:
    """Read a balance.

    With ``from_source=true`` the sums and the version are recomputed from all decisions. Where they are more than 2,000,
    the sums of each thousand stand for all but the newest.
    """
    ledger = service()
    if _is_plain():
        return _answer_whole(ledger, balance_id)
    with reading(ledger.engine) as conn:
        row = balances.found(conn, balance_id)
        queued = _queued(conn, row)
        if parameters.flag("from_source"):
            row = history.recomputed(conn, row)
        jobs = job_store.active_jobs_of(conn, row.key, 1)
        limited = limits.of_balance(conn, row.key)
        included = _included(conn, row)
    answer = funded(ledger.engine, balance_of(row, queued, limited), jobs)
    if not included:
        return wire.answer(answer)
    values: dict[str, Any] = {**asdict(answer), **included}
    return wire.answer(WholeBalance(**values))


@blueprint.get("/balances/indicator/<path:indicator>/currency/<currency>")
@operation({200: FundedBalance}, 404)
@parameters.takes(parameters.WITH_QUEUED)
def read_indicator(indicator: str, currency: str) -> Response:
    """Read an internal balance by its name.

    The name is an indicator such as ``@World``. Reading does not create the balance.
    """
    ledger, name = service(), (indicator, currency)
    if _is_plain() and (known := ledger.directory.know([name])):
        return _answer_whole(ledger, known[name].balance_id)
    with reading(ledger.engine) as conn:
        row = balances.found_indicator(conn, indicator, currency)
        queued = _queued(conn, row)
        jobs = job_store.active_jobs_of(conn, row.key, 1)
        limited = limits.of_balance(conn, row.key)
    return wire.answer(funded(ledger.engine, balance_of(row, queued, limited), jobs))


def _is_plain() -> bool:
    """Tell whether the request asks for nothing but the balance, by a key that reaches all of them."""
    return not wire.environ().get("QUERY_STRING") and not reach_of_request().bounds_balances


def _answer_whole(ledger: Service, balance_id: str) -> Response:
    """Answer with a balance that is read together with those that other requests ask for."""

    def quick(found: WholeRow | None) -> Response | None:
        return None if found is not None and found.jobs else slow(found)

    def slow(found: WholeRow | None) -> Response:
        row = balances.there(None if found is None else found.balance, balance_id)
        assert found is not None
        return wire.answer(funded(ledger.engine, balance_of(row, None, limits.of_row(found.limits)), found.jobs))

    return answer_shared(ledger.balances, balance_id, quick, slow)


@blueprint.get("/balances")
@operation({200: list[Balance] | BalancePage})
@parameters.takes(*parameters.page_of(BALANCES, example=_EXAMPLE), resource=BALANCES)
def read_page() -> Response:
    """List balances.

    The newest balance comes first. Each ``field_operator=value`` is a filter, such as ``currency_eq=USD``.
    """
    listing = lists.in_query(parameters.of_view(read_page), default=10, what="invalid")
    return lists.answer(listing, find_balances, balance_of, lambda row: row.balance_id, BalancePage)


@blueprint.post("/balances/filter")
@operation({200: list[Balance] | BalancePage}, body=FilterRequest, filters=BALANCES)
@parameters.takes(parameters.after(_EXAMPLE))
def read_filtered() -> Response:
    """Filter balances.

    The answer is a page of the balances that match.
    """
    return lists.answer(lists.in_body(BALANCES), find_balances, balance_of, lambda row: row.balance_id, BalancePage)


@blueprint.put("/balances/<balance_id>/identity")
@operation({200: Done}, 404, body=IdentityLinkRequest)
def link_identity(balance_id: str) -> Response:
    """Link a balance to an identity.

    The balance belongs to the identity from then on. null takes it from the one that has it.
    """
    asked = wire.body(IdentityLinkRequest)
    if asked.identity_id is UNSET or asked.identity_id == "":
        raise InvalidRequest([("identity_id", "cannot be blank")], ErrorCode.GEN_MALFORMED_REQUEST)
    with begin(service().engine) as conn:
        identities.link(conn, balance_id, asked.identity_id)
    return wire.answer(Done("Balance identity updated successfully"))


@blueprint.put("/balances/<balance_id>/limits")
@operation({200: BalanceLimits}, 404, body=LimitsRequest)
def put_limits(balance_id: str) -> Response:
    """Limit or freeze a balance.

    A floor is the least that the available balance may become, whatever a request allows. A frozen balance lets nothing out,
    or nothing in either. Both count for what is accepted from now on. A body of ``{}`` takes all limits away.
    """
    asked = wire.body(LimitsRequest)
    with begin(service().engine) as conn:
        answer = limits.put(conn, balance_id, asked)
    return wire.answer(answer)


@blueprint.get("/balances/<balance_id>/limits")
@operation({200: BalanceLimits}, 404)
def read_limits(balance_id: str) -> Response:
    """Read the limits of a balance.

    The answer has the limits of today, and what was set before.
    """
    with reading(service().engine) as conn:
        return wire.answer(limits.read(conn, balance_id))


@blueprint.get("/balances/<balance_id>/lineage")
@operation({}, 404)
def read_lineage(balance_id: str) -> Response:
    """Read the lineage of a balance.

    No balance tracks where its money came from in this version, because ``track_fund_lineage`` is refused.
    """
    with reading(service().engine) as conn:
        balances.found(conn, balance_id)
    text = f"balance {balance_id} does not have fund lineage tracking enabled"
    raise InvalidRequest([("", text)], ErrorCode.GEN_BAD_REQUEST)


@blueprint.get("/balances/<balance_id>/entries")
@parameters.takes(
    parameters.LIMIT,
    parameters.after("5"),
    parameters.time("from", "The earliest time of an entry."),
    parameters.time("to", "The time before which an entry must be."),
)
@operation({200: list[Entry]}, 404, media=operations.CSV)
def read_entries(balance_id: str) -> Response:
    """List the entries of a balance.

    The entries are the balance's statement, oldest first. The answer is JSON, or CSV for ``Accept: text/csv``.
    """
    limit, _ = parameters.limit_offset(default=100, largest=10_000, what="invalid")
    after = parameters.after_number("version of an entry")
    between = parameters.period()
    with reading(service().engine) as conn:
        row = balances.found(conn, balance_id)
        entries = seen(conn, entry_store.entries(conn, row.key, limit=limit, after=after, between=between))
    return lists.listed(entries, limit, entry_of, lambda entry: entry.version, Entry)


def _included(conn: Connection, row: BalanceRow) -> dict[str, Ledger | Identity | None]:
    """Read what ``include`` asks for, by the name of its field."""
    wanted = parameters.words(_INCLUDE)
    found: dict[str, Ledger | Identity | None] = {}
    if "ledger" in wanted:
        found["ledger"] = ledgers.read(conn, row.ledger_id)
    if "identity" in wanted:
        found["identity"] = identity_of(identities.found(conn, row.identity_id)) if row.identity_id else None
    return found


def _queued(conn: Connection, row: BalanceRow) -> tuple[int, int] | None:
    """Read the debits and credits that are not decided yet, if the request asks for them."""
    return balance_store.queued_sums(conn, row.key) if parameters.flag("with_queued") else None
