"""Makes ``/openapi.json`` from the routes, their declarations, and the structs of requests and answers.

A summary is the first line of a view's docstring, and the description is the rest. ``schemas.py`` describes the fields.
``/docs`` shows the document.
"""

import inspect
import json
import re
from functools import cache
from http import HTTPStatus
from importlib import resources
from typing import Any

from flask import Blueprint, Response, current_app
from msgspec import Struct
from werkzeug.routing import Rule

from core.funding.requests import (
    ApproveRequest,
    FundingRequest,
    RefuseRequest,
    RetryRequest,
    RunRequest,
)
from core.identities.requests import FieldsRequest, IdentityLinkRequest, IdentityRequest
from core.journal.retries import MAX_KEY
from core.keys.requests import KeyRequest, RotateRequest
from core.ledger.limits import LimitsRequest
from core.ledger.rules.requests import (
    BalanceRequest,
    BulkCommitRequest,
    BulkRequest,
    BulkVoidRequest,
    CurrencyRequest,
    LedgerRequest,
    MetaDataRequest,
    RefundRequest,
    SettleRequest,
    TransactionRequest,
)
from core.lists.fields import Resource
from core.lists.requests import FilterRequest
from core.monitors.requests import MonitorRequest
from core.webhooks.requests import HookRequest, ReplayRequest, WebhookRequest, WebhookRotateRequest
from web.http import operations, parameters, retries, wire
from web.http.errors import Error
from web.http.operations import FILES, JSON, MULTIPART, Operation, operation
from web.http.schemas import REFERENCE, REQUIRED, Json, answer_schemas, options_of, request_schemas, schema_of
from web.service import service

blueprint = Blueprint("openapi", __name__)


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
    IdentityRequest: {"identity_type": "individual", "first_name": "Ada", "email_address": "ada@example.com"},
    FieldsRequest: {"fields": ["FirstName", "EmailAddress"]},
    MonitorRequest: {
        "balance_id": "bln_0190...",
        "condition": {"field": "available_balance", "operator": "<", "value": 100.50, "precision": 100},
        "description": "The pool runs low",
    },
    LedgerRequest: {"name": "Customers", "meta_data": {"region": "EU"}},
    BalanceRequest: {"ledger_id": "general_ledger_id", "currency": "USD"},
    CurrencyRequest: {"precision": 100},
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
    LimitsRequest: {"floor": -50000, "frozen": "debits", "reason": "court order 7"},
    ApproveRequest: {"digest": "5d1c7c9e40b0a4fbb8f2d9c0c4b6f1b8a9e0d7c6b5a493827160fedcba987654"},
    RefuseRequest: {"reason": "the list is last month's"},
    KeyRequest: {
        "name": "tills",
        "owner": "shop",
        "scopes": ["transactions:post", "balances:read"],
        "expires_at": "2027-04-22T15:28:03Z",
        "reach": {"indicators": ["@Tills"], "largest_amount": 500},
    },
    RotateRequest: {"overlap_s": 3600},
    WebhookRequest: {
        "url": "https://example.com/hooks",
        "events": ["transaction.*", "balance.created"],
        "ordered": True,
    },
    ReplayRequest: {"from": "1284.1", "to": "1290.1"},
    WebhookRotateRequest: {"overlap_s": 3600},
    HookRequest: {
        "name": "posted",
        "url": "https://example.com/hooks",
        "type": "POST_TRANSACTION",
        "active": True,
        "timeout": 30,
        "retry_count": 3,
    },
    RetryRequest: {"only": "unposted"},
}


@blueprint.get("/openapi.json")
@operation({200: dict[str, Any]}, open=True)
def document() -> Response:
    """Read this document.

    The document is in OpenAPI 3.1.
    """
    return wire.answer(_document(bool(service().secret_key)))


def _document(has_key: bool) -> Json:
    paths: dict[str, Json] = {}
    kinds: list[Any] = [Error]
    for rule in current_app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            paths.setdefault(path, {})[method.lower()] = _operation(rule, has_key)
        declared = operations.of_view(current_app.view_functions[rule.endpoint])
        kinds += [each for kind in declared.answers.values() if kind is not None for each in options_of(kind)]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Pacioli", "version": "0.1.0", "description": _INTRODUCTION},
        "externalDocs": {"description": "The book, which `pacioli docs` serves", "url": "http://127.0.0.1:5002"},
        "security": [{"key": []}] if has_key else [],
        "paths": paths,
        "components": {
            "schemas": answer_schemas(kinds) | request_schemas(),
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-Blnk-Key"}},
        },
    }


# Operations


def _operation(rule: Rule, has_key: bool) -> Json:
    view = current_app.view_functions[rule.endpoint]
    known, declared = operations.of_view(view), parameters.of_view(view)
    described = declared.described
    summary, _, description = (inspect.getdoc(view) or "").partition("\n")
    errors = {400, 500, 503, *known.errors} | ({408, 413, 415} if known.body else set())
    if has_key and not known.open:
        errors |= {401, 403, 429}
    paged = any(each.name == "after" for each in described)
    found: Json = {
        "operationId": rule.endpoint,
        "tags": [rule.endpoint.partition(".")[0]],
        "summary": summary.replace("``", "").rstrip("."),
        "description": description.replace("``", "`").strip() + _filters(declared.resource or known.filters),
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": _TEXT} for name in rule.arguments),
            *map(_parameter, described),
            *([_IDEMPOTENCY_KEY] if retries.takes_key(view) else []),
        ],
        "responses": {str(status): _error(status) for status in errors}
        | {str(status): _answer(status, kind, known, paged=paged) for status, kind in known.answers.items()},
    }
    if rule.endpoint in (examples := _answer_examples()):
        found["responses"][str(max(known.answers))]["content"][JSON]["example"] = examples[rule.endpoint]
    if known.body is not None:
        reference = {"$ref": REFERENCE.format(name=known.body.__name__)}
        content: Json = {JSON: {"schema": reference, "example": _EXAMPLES[known.body]}}
        if known.form is not None:
            encoding = {"job": {"contentType": JSON}, "recipients": {"contentType": ", ".join(FILES)}}
            content[MULTIPART] = {"schema": known.form, "encoding": encoding}
            content |= {kind: {"schema": {"type": "string", "format": "binary"}} for kind in FILES}
        found["requestBody"] = {"required": bool(REQUIRED[known.body]), "content": content}
    if known.open:
        found["security"] = []
    return found


def _filters(resource: Resource | None) -> str:
    """Write the end of a list's description, which names the fields that can be filtered."""
    if resource is None:
        return ""
    return f"\n\nThe fields that can be filtered are {', '.join(f'`{name}`' for name in resource.fields)} and `meta_data.<key>`."


def _parameter(one: parameters.Parameter) -> Json:
    return {
        "name": one.name,
        "in": "query",
        "description": one.description,
        "schema": {"type": "array", "items": one.schema} if one.repeats else one.schema,
        "example": [one.example] if one.repeats else one.example,
    }


def _answer(status: int, kind: Any, known: Operation, *, paged: bool) -> Json:
    content: Json = {} if kind is None else {JSON: {"schema": schema_of(kind)}}
    headers = dict(_REQUEST_ID)
    if known.media != JSON:
        content[known.media] = {"schema": _TEXT}
    if paged:
        headers["Link"] = {
            "description": 'The address of the next page, with rel="next", if there may be one.',
            "schema": _TEXT,
        }
        text = (
            "true means that the look ended before all rows were seen. The Link header goes on from there, if it can."
        )
        headers["Truncated"] = {"description": text, "schema": _TEXT}
    if status == 200 and 201 in known.answers:
        text = "true means that an earlier request with the same reference or Idempotency-Key has this answer."
        headers["Idempotent-Replayed"] = {"description": text, "schema": _TEXT}
    return {"description": HTTPStatus(status).phrase, "headers": headers, "content": content}


@cache
def _answer_examples() -> Json:
    """Load an answer of each endpoint, which a test has recorded."""
    found: Json = json.loads((resources.files("web.http") / "examples.json").read_text())
    return found


def _error(status: int) -> Json:
    content: Json = {JSON: {"schema": schema_of(Error)}}
    return {"description": HTTPStatus(status).phrase, "headers": _REQUEST_ID, "content": content}


_INTRODUCTION = (
    "Pacioli is a double-entry ledger. A transaction moves money between balances. It gets an ID at once, and can be read "
    "until its status is final, or waited for. Amounts are minor units, integers of any size. A field named amount is in "
    "major units, and exact too. Every error is {error, error_detail: {code, message, details}}, and every answer has an "
    "X-Request-Id."
)

_TEXT: Json = {"type": "string"}
_IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A text of yours, new for each request. The same request with the same key gets the first answer again.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY, "pattern": "^[!-~]([ -~]*[!-~])?$"},
    "example": "0e6f3c1a-5b0f-4c8e-9b37-7f1d2a64c1de",
}
_REQUEST_ID: Json = {
    "X-Request-Id": {"description": "The ID that the request sent, or a new one.", "schema": _TEXT, "required": True}
}
