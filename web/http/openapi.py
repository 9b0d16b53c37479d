"""``/openapi.json``, made from the routes, their docstrings and the structs of the requests. ``/docs`` shows it.

``_OPERATIONS`` adds what no route says: the body, the parameters, the answers. A route without an entry is listed all the
same, with its docstring.
"""

import inspect
import re
import types
from decimal import Decimal
from functools import cache, reduce
from http import HTTPStatus
from operator import or_
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

import msgspec
from flask import Blueprint, Response, current_app
from msgspec import Meta, Raw, Struct
from werkzeug.routing import Rule

from core.base.money import MAX_DIGITS
from core.funding import views as funding_views
from core.funding.requests import FundingRequest, FundingRule, Recipient, RunRequest
from core.funding.store import ROW_STATUSES
from core.ledger.explain import WIRE_NAMES
from core.ledger.intake import MAX_BULK
from core.ledger.rules.model import Status
from core.ledger.rules.requests import (
    BalanceRequest,
    BulkCommitRequest,
    BulkRequest,
    BulkVoidRequest,
    IdentityLinkRequest,
    LedgerRequest,
    MetaDataRequest,
    RefundRequest,
    SettleRequest,
    TransactionRequest,
)
from core.lists.requests import FilterClause, FilterRequest
from web.funding import MULTIPART
from web.http import parameters, wire
from web.http.errors import STATUS
from web.service import service

blueprint = Blueprint("openapi", __name__)

Json = dict[str, Any]


class _Operation(NamedTuple):
    """What the route itself does not say. ``answers`` has a schema for each good status."""

    answers: dict[int, str]
    errors: tuple[int, ...] = ()
    """Beside 400, 500 and 503, and what any body may get."""
    body: type[Struct] | None = None
    media: str = "application/json"
    """What else it answers, on demand, or instead of JSON where no schema is named."""
    form: Json | None = None
    """The parts of a multipart body that it takes as well."""


_UPLOAD: Json = {
    "type": "object",
    "required": ["job", "recipients"],
    "additionalProperties": False,
    "properties": {
        "job": {
            "type": "string",
            "contentMediaType": "application/json",
            "description": "FundingRequest without recipients or rule.",
        },
        "recipients": {
            "type": "string",
            "format": "binary",
            "description": "A CSV file in UTF-8 with the header destination,amount,description, or precise_amount.",
        },
    },
}

_OPERATIONS = {
    "transactions.create": _Operation({201: "Transaction", 200: "Transaction|Preview"}, (404, 409), TransactionRequest),
    "transactions.create_bulk": _Operation({201: "Batch", 202: "Batch", 200: "Batch|Preview"}, (404, 409), BulkRequest),
    "transactions.read": _Operation({200: "Transaction|Batch"}, (404,)),
    "transactions.read_lineage": _Operation({200: "Lineage"}, (404,)),
    "transactions.cancel": _Operation({200: "Transaction"}, (404, 409)),
    "transactions.read_reference": _Operation({200: "Transaction"}, (404,)),
    "transactions.read_page": _Operation({200: "[Transaction]|TransactionPage"}),
    "transactions.read_filtered": _Operation({200: "[Transaction]|TransactionPage"}, (), FilterRequest),
    "settlements.settle": _Operation({200: "Transaction|Batch|Preview"}, (404, 409), SettleRequest),
    "settlements.commit_bulk": _Operation({200: "Settlements|Preview"}, (404, 409), BulkCommitRequest),
    "settlements.void_bulk": _Operation({200: "Settlements|Preview"}, (404, 409), BulkVoidRequest),
    "settlements.refund": _Operation({201: "Transaction", 200: "Transaction|Preview"}, (404, 409), RefundRequest),
    "funding.create": _Operation(
        {201: "NewFundingJob", 200: "NewFundingJob|FundingRehearsal"}, (404, 409), FundingRequest, form=_UPLOAD
    ),
    "funding.read_page": _Operation({200: "[FundingJob]"}, ()),
    "funding.read": _Operation({200: "FundingJobRead"}, (404,)),
    "funding.read_reference": _Operation({200: "FundingJobRead"}, (404,)),
    "funding.pause": _Operation({200: "FundingJob"}, (404, 409)),
    "funding.resume": _Operation({200: "FundingJob"}, (404, 409)),
    "funding.cancel": _Operation({200: "FundingJob"}, (404,)),
    "funding.run": _Operation({201: "FundingRun", 200: "FundingRun"}, (404, 409), RunRequest),
    "funding.read_runs": _Operation({200: "[FundingRun]"}, (404,)),
    "funding.read_run": _Operation({200: "FundingRunRead"}, (404,)),
    "funding.read_rows": _Operation({200: "[FundingRow]"}, (404,), media="text/csv"),
    "funding.retry": _Operation({201: "FundingRun", 200: "FundingRun"}, (404, 409)),
    "balances.create": _Operation({201: "Balance"}, (409,), BalanceRequest),
    "balances.read": _Operation({200: "Balance"}, (404,)),
    "balances.read_indicator": _Operation({200: "Balance"}, (404,)),
    "balances.link_identity": _Operation({}, (404,), IdentityLinkRequest),
    "balances.read_lineage": _Operation({}, (404,)),
    "balances.read_page": _Operation({200: "[Balance]|BalancePage"}),
    "balances.read_filtered": _Operation({200: "[Balance]|BalancePage"}, (), FilterRequest),
    "balances.read_entries": _Operation({200: "[Entry]"}, (404,), media="text/csv"),
    "history.read_at": _Operation({200: "BalanceAt"}, (404,)),
    "history.take": _Operation({200: "Message"}, ()),
    "ledgers.create": _Operation({201: "Ledger"}, (), LedgerRequest),
    "ledgers.rename": _Operation({200: "Ledger"}, (404,), LedgerRequest),
    "ledgers.read": _Operation({200: "Ledger"}, (404,)),
    "ledgers.read_page": _Operation({200: "[Ledger]|LedgerPage"}),
    "ledgers.read_filtered": _Operation({200: "[Ledger]|LedgerPage"}, (), FilterRequest),
    "metadata.add": _Operation({200: "Added"}, (404,), MetaDataRequest),
    "queues.read_all": _Operation({200: "[Queue]"}),
    "queues.health": _Operation({200: "Health", 503: "Health"}),
    "queues.recover": _Operation({200: "Recovery"}),
    "verification.verify": _Operation({200: "Verification"}),
    "docs.index": _Operation({200: "str"}),
    "openapi.document": _Operation({200: "object"}),
    "docs.page": _Operation({200: ""}, media="text/html"),
    "docs.start": _Operation({200: ""}, media="text/javascript"),
    "docs.viewer": _Operation({200: ""}, media="text/javascript"),
}

_RUNS_LEFT = ("int?", "Whole runs that it still carries; null when there is no limit.")
_FUNDING_JOB: Json = {
    "job_id": "str",
    "reference": "str",
    "name": "str",
    "status": (list(funding_views.JOB_STATUSES), "FINISHED: nothing is to come by itself, and nothing is under way."),
    "source": ("str", "Balance id of the pool."),
    "indicator": ("str", "Its @Name, if it has one."),
    "currency": "str",
    "precision": "int",
    "description": "str",
    "allow_overdraft": "bool",
    "overdraft_limit": ("num?", "Major units."),
    "until_limit": "bool",
    "allow_duplicates": "bool",
    "atomic": "bool",
    "inflight": "bool",
    "inflight_commit_date": "time?",
    "inflight_commit_after_s": "int?",
    "rows": ("int?", "Of its list."),
    "amount": ("num?", "Of its list, in major units."),
    "precise_amount": "int?",
    "rule": "KeptRule?",
    "at": "time?",
    "cron": "str?",
    "timezone": "str",
    "ends_at": "time?",
    "count": "int?",
    "missed": ["skip", "once", "all"],
    "next_run_at": "time?",
    "runs_made": ("int", "By its schedule."),
    "skipped": ("int", "Times that came and were left out, as missed says or while it was paused."),
    "created_at": "time",
}
_FUNDING_RUN: Json = {
    "run_id": ("str", "Also the parent_transaction of each of its transactions."),
    "job_id": "str",
    "status": list(funding_views.RUN_STATUSES),
    "due_at": "time",
    "occurrence": ("str", "What it is called in its job, and in the references of its transactions."),
    "retry_of": "str",
    "retried_by": "str",
    "rows_total": ("int?", "null until it starts, as are the other totals."),
    "rows_accepted": "int",
    "amount_total": ("num?", "Major units."),
    "precise_amount_total": "int?",
    "amount_accepted": "num",
    "precise_amount_accepted": "int",
    "limit_reached": ("bool", "Rows were left out, for the money did not go so far."),
    "refusal": ("Refusal?", "Why nothing of it was posted."),
    "created_at": "time",
    "started_at": "time?",
    "ended_at": "time?",
}
_SCHEMAS: dict[str, dict[str, Any]] = {
    "Transaction": {
        "transaction_id": "str",
        "status": (list(Status), "QUEUED until it is decided. An INFLIGHT hold becomes APPLIED or VOID."),
        "precise_amount": ("int", "Minor units, of any size."),
        "amount": ("num", "Major units."),
        "amount_string": ("str", "The same, for clients whose numbers are floats."),
        "precision": ("int", "Minor units in a major unit."),
        "overdraft_limit": "num?",
        "parent_transaction": ("str", "The hold or batch that it belongs to; empty for none."),
        "source": ("str", "Balance id. The answer to a fresh submission has it as it was sent."),
        "destination": "str",
        "reference": "str",
        "currency": "str",
        "description": "str",
        "hash": ("str", "SHA-256 over what was accepted, and over the hash of the transaction accepted before it."),
        "allow_overdraft": "bool",
        "inflight": "bool",
        "skip_queue": "bool",
        "atomic": "bool",
        "created_at": "time",
        "effective_date": "time",
        "scheduled_for": "time",
        "inflight_expiry_date": "time",
        "inflight_commit_date": "time",
        "meta_data?": "object",
        "sequence": ("int", "Place in the order of acceptance, which outcomes follow."),
        "timeline": "[Step]",
        "queue?": ("Line", "While it is QUEUED: where it stands."),
        "rejection?": ("Rejection", "When it is REJECTED: the sum that did not work out."),
        "inflight_amounts?": ("Settled", "Of a decided hold."),
        "queued?": ("bool", "Of a settlement: it is in line."),
        "child_transaction?": ("str", "Of a settlement: its own id."),
    },
    "Step": {"status": list(Status), "at": "time"},
    "Line": {"number": "int", "position": "int", "ahead": "int", "oldest_age_s": "num", "waiting_for": "str"},
    "Rejection": {
        "reason": sorted(set(WIRE_NAMES.values())),
        "message": "str",
        "available": ("int?", "Minor units, as are the others. Of a settlement: what is left of the hold."),
        "requested": "int?",
        "held": "int?",
        "overdraft_limit": "int?",
        "short_by": "int?",
    },
    "Settled": {"committed": "int", "voided": "int", "remaining": "int"},
    "Batch": {
        "batch_id": "str",
        "status": "str",
        "transaction_count": "int",
        "message?": "str",
        "counts?": ("object", "Of a batch that is read: its transactions by status."),
        "decided?": "int",
        "progress?": ("num", "From 0 to 1."),
        "rate?": ("num", "Transactions decided a second."),
        "created_at?": "time",
        "decided_at?": "time?",
    },
    "Preview": {
        "dry_run": "bool",
        "would_apply": "bool",
        "rejection?": ("object", "Why it would not: code, reason, message."),
        "operation?": (["commit", "void"], "Of a hold."),
        "status?": (list(Status), "That it would get."),
        "reference?": "str",
        "currency?": "str",
        "amount?": "num",
        "precise_amount?": "str",
        "precision?": "int",
        "balances?": ("[object]", "Each as it is (current_) and as it would be (resulting_): minor units, as strings."),
        "legs?": "[object]",
        "results?": ("[object]", "Of a bulk: a preview of each."),
        "first_failure?": ("object", "Of a bulk: index, reference and rejection of the first that would fail."),
        "cumulative?": "bool",
        "atomic?": "bool",
        "notes?": "[str]",
    },
    "Lineage": {"transaction_id": "str", "shadow_transactions": "[object]"},
    "Settlements": {
        "succeeded": "int",
        "failed": "int",
        "results": ("[object]", "In the order asked: transaction_id, status, code, message."),
    },
    "Balance": {
        "balance_id": "str",
        "ledger_id": "str",
        "indicator": ("str", "The @Name of an internal balance; empty for others."),
        "currency": "str",
        "balance": ("int", "credit_balance - debit_balance, in minor units of any size."),
        "credit_balance": "int",
        "debit_balance": "int",
        "inflight_balance": "int",
        "inflight_credit_balance": "int",
        "inflight_debit_balance": "int",
        "available_balance": (
            "int",
            "What may be spent: balance - inflight_debit_balance, less what is queued if asked.",
        ),
        "queued_credit_balance?": "int",
        "queued_debit_balance?": "int",
        "version": ("int", "Goes up with each posting that touches the balance."),
        "identity_id": "str",
        "created_at": "time",
        "inflight_expires_at": "time",
        "meta_data": "object?",
        "track_fund_lineage": "bool",
        "allocation_strategy": "str",
        "funding?": ("PoolWatch", "When a funding job will draw on it: the next one."),
    },
    "PoolWatch": {
        "job_id": "str",
        "next_run_at": "time",
        "balance_after_next_run": ("int?", "Minor units. null when that takes too long to find out."),
        "runs_left": _RUNS_LEFT,
    },
    "FundingJob": _FUNDING_JOB,
    "NewFundingJob": {**_FUNDING_JOB, "run": ("FundingRun?", "Of a job that runs now."), "next_runs": "[time]"},
    "FundingJobRead": {
        **_FUNDING_JOB,
        "last_run": "FundingRun?",
        "pool": ("Forecast?", "null when it is cancelled, or that takes too long to find out."),
        "next_runs": ("[time]", "At most ten."),
    },
    "KeptRule": {
        "filters": "[FilterClause]",
        "logical_operator": ["and", "or"],
        "precise_amount": ("int?", "Minor units, for each."),
        "precise_top_up_to": ("int?", "Minor units: what each should have then."),
    },
    "Forecast": {
        "balance": ("int", "Of the pool now, in minor units, as are the others."),
        "next_run_rows": "int",
        "next_run_precise_amount": "int",
        "balance_after_next_run": "int",
        "runs_left": _RUNS_LEFT,
        "amount_after_next_run": ("num", "Major units."),
    },
    "FundingRun": _FUNDING_RUN,
    "FundingRunRead": {
        **_FUNDING_RUN,
        "rows_applied": ("int", "Moved money, or hold it."),
        "rows_rejected": "int",
        "rejected_by_reason": ("object", "How many rows, by reason."),
        "rows_queued": ("int", "Accepted and not decided yet."),
        "rows_unposted": ("int?", "Not accepted, or not yet."),
        "amount_applied": ("num", "Major units."),
        "precise_amount_applied": "int",
        "progress": ("num?", "Decided rows, from 0 to 1."),
        "rate_per_s": ("num", "Rows accepted a second."),
        "left_s": ("num?", "Seconds until the rest is accepted, at that rate."),
    },
    "Refusal": {
        "reason": ["LIMIT", "TOO_MANY_ROWS"],
        "message": "str",
        "requested?": ("int", "Minor units, as are the others."),
        "available?": "int",
        "short_by?": "int",
        "first_row?": ("int", "The first row that is too much."),
    },
    "FundingRow": {
        "row": ("int", "The line of a CSV, whose header is line 1; else the place in the list, from 1."),
        "destination": "str",
        "amount": ("num", "Major units."),
        "precise_amount": "int",
        "currency": "str",
        "description": "str",
        "status": list(ROW_STATUSES),
        "transaction_id": ("str", "Empty while it is not posted."),
        "reference": "str",
        "rejection": ("Rejection?", "When it is REJECTED."),
        "first_transaction_id": ("str", "In a retry: the transaction that was rejected."),
    },
    "FundingRehearsal": {
        "dry_run": "bool",
        "would_run": "bool",
        "refusal": "Refusal?",
        "name": "str",
        "currency": "str",
        "precision": "int",
        "rows_total": "int",
        "amount_total": "num",
        "precise_amount_total": "int",
        "rows_applied": "int",
        "amount_applied": "num",
        "precise_amount_applied": "int",
        "rows_rejected": "int",
        "rejected_by_reason": "object",
        "rows_beyond_limit": ("int", "With until_limit: would not be posted."),
        "rejected": ("[object]", "The first hundred: row, destination, precise_amount, reason, message."),
        "new_balances": ("int", "@Names that have no balance yet, and would get one."),
        "new_names": ("[str]", "The first hundred of them, by the alphabet. One that is mistyped is among them."),
        "first_failure": "object?",
        "pool": ("object", "balance and balance_after in minor units, amount_after in major units."),
        "next_runs": "[time]",
    },
    "Entry": {
        "version": ("int", "Of the balance after the entry. The page after begins beyond it."),
        "at": "time",
        "effective_date": ("time", "From when it counts in the balance at a time."),
        "direction": ["debit", "credit"],
        "amount": "num",
        "precise_amount": "int",
        "precise_balance_after": "int",
        "currency": "str",
        "counterparty": "str",
        "transaction_id": "str",
        "parent_transaction": "str",
        "reference": "str",
        "description": "str",
        "sequence": "int",
    },
    "BalanceAt": {"balance": "SumsAt", "timestamp": "time", "from_source": "bool"},
    "SumsAt": {
        "balance": ("int", "Minor units, as are the others."),
        "debit_balance": "int",
        "credit_balance": "int",
        "currency": "str",
        "balance_id": "str",
    },
    "Message": {"message": "str"},
    "Ledger": {"ledger_id": "str", "name": "str", "created_at": "time", "meta_data": "object?"},
    "TransactionPage": {"data": "[Transaction]", "total_count": "int"},
    "BalancePage": {"data": "[Balance]", "total_count": "int"},
    "LedgerPage": {"data": "[Ledger]", "total_count": "int"},
    "Added": {"meta_data": "object", "metadata": ("object", "The same once more, for clients that look for it here.")},
    "Queue": {
        "number": "int",
        "depth": ("int", "Transactions that wait in it."),
        "oldest_age_s": "num?",
        "cursor": ("int", "Everything in it up to this sequence is decided."),
        "last_drained_at": "time?",
        "rate_per_s": "num",
        "decided": "int",
    },
    "Recovery": {
        "recovered": ("int", "Transactions that waited for so long, and are decided now."),
        "threshold": ("str", "As Go prints it: 5m0s."),
    },
    "Health": {"status": ["UP", "DOWN"], "checks": "object", "reason?": "str"},
    "Verification": {
        "ok": "bool",
        "from_sequence": "int",
        "to_sequence": ("int", "How far the log was read."),
        "complete": ("bool", "Whether that is its end."),
        "transactions": ("int", "Read, as are the other counts."),
        "undecided": "int",
        "rejected": "int",
        "balances": "int",
        "holds": ("int?", "null, for holds are only looked at by a full run."),
        "currencies": "int",
        "problem_count": "int",
        "problems": ("[object]", "The first hundred: table, key, what, expected, found."),
        "checkpoint": ("object?", "That it went on from: id, sequence, at."),
        "signed": ("bool", "Whether that has a signature, which was checked."),
        "note?": ("str", "How to go on, if it is not complete."),
    },
    "Error": {
        "error": "str",
        "errors?": ("str|[object]", "The same once more, where Blnk has it."),
        "error_detail": "ErrorDetail",
        "batch_id?": "str",
    },
    "ErrorDetail": {"code": sorted(STATUS), "message": "str", "details?": {}},
}
"""Types by their short names. A key with ``?`` may be missing, a type with ``?`` may be null, ``[X]`` is a list of X.

A list says the texts to choose from, a pair a type and its description.
"""

_TYPES: dict[str, Json] = {
    "int": {"type": "integer"},
    "num": {"type": "number"},
    "str": {"type": "string"},
    "bool": {"type": "boolean"},
    "time": {"type": "string", "format": "date-time"},
    "object": {"type": "object"},
}

_REQUIRED: dict[type[Struct], set[str]] = {
    TransactionRequest: {"reference", "description"},
    BulkRequest: {"transactions"},
    SettleRequest: {"status"},
    BulkCommitRequest: {"transactions"},
    BulkVoidRequest: {"transaction_ids"},
    RefundRequest: set(),
    IdentityLinkRequest: {"identity_id"},
    LedgerRequest: {"name"},
    BalanceRequest: {"ledger_id", "currency"},
    FilterClause: set(),
    FilterRequest: set(),
    MetaDataRequest: {"meta_data"},
    FundingRequest: {"name", "source"},
    Recipient: {"destination"},
    FundingRule: set(),
    RunRequest: set(),
}
"""The structs have all fields optional, so that one answer can name everything that is missing."""

_ONE_OF_TWO = (("amount", "precise_amount"), ("source", "sources"), ("destination", "destinations"))

_FUNDING: Json = {
    "precise_amount": 12000023,
    "precision": 100,
    "currency": "USD",
    "reference": "ref_123abc",
    "source": "@FundingPool",
    "destination": "@Customer",
    "description": "Creating a starting balance",
    "allow_overdraft": True,
}
_EXAMPLES: dict[type[Struct], Json] = {
    TransactionRequest: _FUNDING,
    BulkRequest: {"atomic": True, "transactions": [_FUNDING, {**_FUNDING, "reference": "ref_124abc"}]},
    SettleRequest: {"status": "commit", "precise_amount": 5000},
    BulkCommitRequest: {"transactions": [{"transaction_id": "txn_0190...", "precise_amount": 5000}]},
    BulkVoidRequest: {"transaction_ids": ["txn_0190..."]},
    RefundRequest: {"precise_amount": 5000, "description": "Half of it back"},
    IdentityLinkRequest: {"identity_id": "idt_0190..."},
    LedgerRequest: {"name": "Customers", "meta_data": {"region": "EU"}},
    BalanceRequest: {"ledger_id": "general_ledger_id", "currency": "USD"},
    FilterRequest: {"filters": [{"field": "created_at", "operator": "gte", "value": "2026-04-22"}], "limit": 50},
    MetaDataRequest: {"meta_data": {"order": "A-17"}},
    FundingRequest: {
        "name": "Wallets",
        "reference": "wallets-2026",
        "source": "@FundingPool",
        "currency": "USD",
        "precision": 100,
        "allow_overdraft": True,
        "recipients": [{"destination": "@Customer", "amount": 25}],
        "cron": "0 8 * * *",
        "timezone": "Europe/Berlin",
    },
    RunRequest: {"reference": "once more"},
}


@blueprint.get("/openapi.json")
def document() -> Response:
    """This document, in OpenAPI 3.1."""
    return wire.answer(_document())


# The document


def _document() -> Json:
    paths: dict[str, Json] = {}
    for rule in current_app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            paths.setdefault(path, {})[method.lower()] = _operation(rule)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Pacioli", "version": "0.1.0", "description": _INTRODUCTION},
        "security": [{"key": []}] if service().secret_key else [],
        "paths": paths,
        "components": {
            "schemas": _request_schemas() | {name: _shape(fields) for name, fields in _SCHEMAS.items()},
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-Blnk-Key"}},
        },
    }


def _operation(rule: Rule) -> Json:
    from web.app import OPEN_PATHS

    known = _OPERATIONS.get(rule.endpoint, _Operation({200: ""}))
    summary, _, description = (inspect.getdoc(current_app.view_functions[rule.endpoint]) or "").partition("\n")
    described = parameters.of_view(current_app.view_functions[rule.endpoint]).described
    errors = {400, 500, 503, *known.errors} | ({413, 415} if known.body else set())
    if service().secret_key and rule.rule not in OPEN_PATHS:
        errors.add(401)
    paged = any(each.name == "after" for each in described)
    operation: Json = {
        "operationId": rule.endpoint,
        "tags": [rule.endpoint.partition(".")[0]],
        "summary": summary.replace("``", "").rstrip("."),
        "description": description.replace("``", "`").strip(),
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": _TYPES["str"]} for name in rule.arguments),
            *(
                {
                    "name": each.name,
                    "in": "query",
                    "description": each.description,
                    "schema": {"type": "array", "items": each.schema} if each.repeats else each.schema,
                    "example": [each.example] if each.repeats else each.example,
                }
                for each in described
            ),
        ],
        "responses": {str(status): _error(status) for status in errors}
        | {str(status): _answer(status, schema, known, paged) for status, schema in known.answers.items()},
    }
    if known.body is not None:
        reference = {"$ref": f"#/components/schemas/{known.body.__name__}"}
        content: Json = {"application/json": {"schema": reference, "example": _EXAMPLES[known.body]}}
        if known.form is not None:
            encoding = {"job": {"contentType": "application/json"}, "recipients": {"contentType": "text/csv"}}
            content[MULTIPART] = {"schema": known.form, "encoding": encoding}
        operation["requestBody"] = {"required": bool(_REQUIRED[known.body]), "content": content}
    if rule.rule in OPEN_PATHS:
        operation["security"] = []
    return operation


def _answer(status: int, schema: str, known: _Operation, paged: bool) -> Json:
    content: Json = {"application/json": {"schema": _schema(schema)}} if schema else {}
    headers = dict(_REQUEST_ID)
    if known.media != "application/json":
        content[known.media] = {"schema": _TYPES["str"]}
    if schema.startswith("[") and paged:
        headers["Link"] = {"description": 'The next page, as rel="next", if there may be one.', "schema": _TYPES["str"]}
    if status == 200 and 201 in known.answers:
        text = "true: this is the answer to an earlier request with the same reference."
        headers["Idempotent-Replayed"] = {"description": text, "schema": _TYPES["str"]}
    return {"description": HTTPStatus(status).phrase, "headers": headers, "content": content}


def _error(status: int) -> Json:
    content: Json = {"application/json": {"schema": _schema("Error")}}
    if status == 404:
        content["text/plain"] = {"schema": _TYPES["str"]}  # What names no route, as an id with a slash in it.
    return {"description": HTTPStatus(status).phrase, "headers": _REQUEST_ID, "content": content}


def _schema(kind: Any) -> Json:
    """The JSON Schema of a short name."""
    if isinstance(kind, tuple):
        kind, text = kind
        return {**_schema(kind), "description": text}
    if isinstance(kind, list):
        return {"type": "string", "enum": kind}
    if isinstance(kind, dict):
        return kind
    if "|" in kind:
        return {"anyOf": [_schema(each) for each in kind.split("|")]}
    if kind.startswith("["):
        return {"type": "array", "items": _schema(kind[1:-1])}
    if kind.endswith("?"):
        schema = _schema(kind[:-1])
        if "$ref" in schema:
            return {"anyOf": [schema, {"type": "null"}]}
        return {**schema, "type": [schema["type"], "null"]}
    return _TYPES.get(kind) or {"$ref": f"#/components/schemas/{kind}"}


def _shape(fields: Json) -> Json:
    return {
        "type": "object",
        "required": [name for name in fields if not name.endswith("?")],
        "properties": {name.removesuffix("?"): _schema(kind) for name, kind in fields.items()},
    }


@cache
def _request_schemas() -> Json:
    _, schemas = msgspec.json.schema_components(
        [_described(kind) for kind in _REQUIRED], ref_template="#/components/schemas/{name}"
    )
    schemas["TransactionRequest"]["allOf"] = [
        {"anyOf": [{"required": [name]} for name in names]} for names in _ONE_OF_TWO
    ]
    schemas["FundingRequest"]["properties"]["recipients"] |= {"minItems": 1}
    schemas["BulkRequest"]["properties"]["transactions"] |= {"minItems": 1, "maxItems": MAX_BULK}
    for schema in schemas.values():
        schema["description"] = schema.get("description", "").replace("``", "")
        for field in schema["properties"].values():
            field.pop("default", None)  # Always null, which says nothing.
            for option in field.get("anyOf", ()):
                if "description" in option:
                    field["description"] = option.pop("description")
    return schemas


@cache
def _described(kind: type[Struct]) -> type[Struct]:
    """The struct as it is on the wire: Decimal and Raw told as what JSON has for them, and what is required as required."""
    fields: list[Any] = []
    for field in msgspec.structs.fields(kind):
        required = field.required or field.encode_name in _REQUIRED.get(kind, ())
        annotation = _on_the_wire(field.type)
        fields.append((field.encode_name, annotation) if required else (field.encode_name, annotation | None, None))
    return msgspec.defstruct(
        kind.__name__,
        fields,
        kw_only=True,
        forbid_unknown_fields=kind.__struct_config__.forbid_unknown_fields,
        namespace={"__doc__": kind.__doc__},
    )


def _on_the_wire(annotation: Any) -> Any:
    """An annotation without None, and with ``_described`` structs."""
    if annotation is Decimal:
        return Annotated[float, Meta(ge=0)] | Annotated[str, Meta(pattern=_DECIMAL)]
    if annotation is Raw:
        return dict[str, Any]
    if isinstance(annotation, type) and issubclass(annotation, Struct):
        return _described(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return Annotated[_on_the_wire(arguments[0]), *arguments[1:]]
    if origin in (Union, types.UnionType):
        return reduce(or_, (_on_the_wire(argument) for argument in arguments if argument is not types.NoneType))
    return types.GenericAlias(list, (_on_the_wire(arguments[0]),)) if origin is list else annotation


_INTRODUCTION = (
    "A double-entry ledger. Post transactions between balances, get an id at once, read it until its status is final, or "
    "wait with it. Amounts are minor units, integers of any size; what is called amount is in major units and exact too. "
    "Every error is {error, error_detail: {code, message, details}}, and every answer has an X-Request-Id."
)

_DECIMAL = rf"^[0-9]{{1,{MAX_DIGITS}}}(\.[0-9]{{1,{MAX_DIGITS}}})?$"
_REQUEST_ID: Json = {
    "X-Request-Id": {"description": "Yours, if you sent one, or a new one.", "schema": _TYPES["str"], "required": True}
}
