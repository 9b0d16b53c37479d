"""``/audit``: who has changed what outside the log of transactions."""

from flask import Blueprint, Response

from core.journal.answers import AuditEntry, AuditPage, entry_of
from core.journal.audit_list import AUDIT, find_audit
from core.lists.requests import FilterRequest
from web.http import operations, parameters
from web.http import pages as lists
from web.http.operations import operation

blueprint = Blueprint("audit", __name__)


@blueprint.get("/audit")
@operation({200: list[AuditEntry] | AuditPage}, media=operations.CSV)
@parameters.takes(*parameters.page_of(AUDIT, example="5"), resource=AUDIT)
def read_page() -> Response:
    """List the audit log.

    The newest row comes first. Each ``field_operator=value`` is a filter, such as ``subject_eq=general_ledger_id`` or
    ``action_like=key.%``. The answer is JSON, or CSV for ``Accept: text/csv``. A transaction is no row of this list, because
    the log of transactions says itself who posted it.
    """
    listing = lists.in_query(parameters.of_view(read_page), default=20, what="invalid")
    return lists.answer(listing, find_audit, entry_of, lambda row: row.id, AuditPage, AuditEntry)


@blueprint.post("/audit/filter")
@operation({200: list[AuditEntry] | AuditPage}, body=FilterRequest, filters=AUDIT)
@parameters.takes(parameters.after("5"))
def read_filtered() -> Response:
    """Filter the audit log.

    The answer is a page of the rows that match.
    """
    return lists.answer(lists.in_body(AUDIT), find_audit, entry_of, lambda row: row.id, AuditPage)
