"""Makes ``/openapi.json`` from the routes, their declarations, and the structs of requests and answers.

A summary is the first line of a view's docstring, and the description is the rest. The description of a field is in its
``Meta``, or in the text under it. ``/docs`` shows the document.
"""

import ast
import inspect
import json
import re
import textwrap
import types
from collections.abc import Iterable
from decimal import Decimal
from functools import cache, reduce
from http import HTTPStatus
from importlib import resources
from itertools import pairwise
from operator import or_
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
from flask import Blueprint, Response, current_app
from msgspec import UNSET, Meta, Raw, Struct
from werkzeug.routing import Rule

from core.base.money import MAX_DIGITS
from core.funding.requests import (
    ApproveRequest,
    FundingRequest,
    FundingRule,
    Recipient,
    RefuseRequest,
    RetryRequest,
    RunRequest,
)
from core.identities.requests import FieldsRequest, IdentityLinkRequest, IdentityRequest
from core.journal.retries import MAX_KEY
from core.keys.requests import KeyRequest, RotateRequest
from core.ledger.intake import MAX_BULK
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
from core.lists.requests import FilterClause, FilterRequest
from core.monitors.requests import MonitorRequest
from core.webhooks.requests import HookRequest, ReplayRequest, WebhookRequest, WebhookRotateRequest
from web.http import operations, parameters, retries, wire
from web.http.errors import Error
from web.http.operations import FILES, JSON, MULTIPART, Operation, operation
from web.service import service

blueprint = Blueprint("openapi", __name__)

Json = dict[str, Any]

_REQUIRED: dict[type[Struct], set[str]] = {
    TransactionRequest: {"reference", "description"},
    BulkRequest: {"transactions"},
    SettleRequest: {"status"},
    BulkCommitRequest: {"transactions"},
    BulkVoidRequest: {"transaction_ids"},
    RefundRequest: set(),
    IdentityLinkRequest: {"identity_id"},
    IdentityRequest: set(),
    FieldsRequest: {"fields"},
    MonitorRequest: {"balance_id", "condition"},
    LedgerRequest: {"name"},
    BalanceRequest: {"ledger_id", "currency"},
    CurrencyRequest: {"precision"},
    FilterClause: set(),
    FilterRequest: set(),
    MetaDataRequest: {"meta_data"},
    FundingRequest: {"name", "source"},
    Recipient: {"destination"},
    FundingRule: set(),
    RunRequest: set(),
    ApproveRequest: {"digest"},
    RefuseRequest: set(),
    KeyRequest: {"name", "owner", "scopes", "expires_at"},
    RotateRequest: set(),
    RetryRequest: set(),
    LimitsRequest: set(),
    WebhookRequest: set(),
    ReplayRequest: {"from"},
    WebhookRotateRequest: set(),
    HookRequest: set(),
}
"""The required fields of requests. The structs have them optional, so that one answer can name all missing fields."""

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
        kinds += [each for kind in declared.answers.values() if kind is not None for each in _options(kind)]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Pacioli", "version": "0.1.0", "description": _INTRODUCTION},
        "externalDocs": {"description": "The book, which `pacioli docs` serves", "url": "http://127.0.0.1:5002"},
        "security": [{"key": []}] if has_key else [],
        "paths": paths,
        "components": {
            "schemas": _answer_schemas(kinds) | _request_schemas(),
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
        reference = {"$ref": _REFERENCE.format(name=known.body.__name__)}
        content: Json = {JSON: {"schema": reference, "example": _EXAMPLES[known.body]}}
        if known.form is not None:
            encoding = {"job": {"contentType": JSON}, "recipients": {"contentType": ", ".join(FILES)}}
            content[MULTIPART] = {"schema": known.form, "encoding": encoding}
            content |= {kind: {"schema": {"type": "string", "format": "binary"}} for kind in FILES}
        found["requestBody"] = {"required": bool(_REQUIRED[known.body]), "content": content}
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
    content: Json = {} if kind is None else {JSON: {"schema": _schema(kind)}}
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
    content: Json = {JSON: {"schema": _schema(Error)}}
    return {"description": HTTPStatus(status).phrase, "headers": _REQUEST_ID, "content": content}


# Answers


@cache
def _schema(kind: Any) -> Json:
    schemas, _ = msgspec.json.schema_components(_options(kind), ref_template=_REFERENCE)
    return schemas[0] if len(schemas) == 1 else {"anyOf": list(schemas)}


def _options(kind: Any) -> tuple[Any, ...]:
    """List the types of a union. msgspec describes a union with several structs only if they are tagged."""
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _answer_schemas(kinds: Iterable[Any]) -> Json:
    _, schemas = msgspec.json.schema_components(kinds, ref_template=_REFERENCE)
    known = {kind.__name__: kind for kind in _structs_in(kinds)}
    for name, schema in schemas.items():
        schema.pop("title", None)
        if "enum" in schema:
            schema["type"] = "string"
        elif name in known:
            _complete(schema, known[name])
    return schemas


def _complete(schema: Json, kind: type[Struct]) -> None:
    """Add to a schema which fields are always there, and the descriptions of the fields."""
    texts = _texts_of(kind)
    schema["required"] = [each.encode_name for each in msgspec.structs.fields(kind) if each.default is not UNSET]
    for name, field in schema["properties"].items():
        field.pop("default", None)
        if name in texts:
            field["description"] = texts[name]


@cache
def _texts_of(kind: type[Struct]) -> dict[str, str]:
    """Read the text under each field of a struct, and of the structs that it extends."""
    found: dict[str, str] = {}
    for cls in reversed(kind.__mro__):
        if cls.__module__.partition(".")[0] not in ("core", "web"):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0].body  # type: ignore[attr-defined]
        for field, text in pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                found[field.target.id] = " ".join(text.value.value.replace("``", "").split())  # type: ignore
    return found


def _structs_in(kinds: Iterable[Any]) -> set[type[Struct]]:
    found: set[type[Struct]] = set()
    waiting = list(kinds)
    while waiting:
        kind = waiting.pop()
        waiting += get_args(kind)
        if isinstance(kind, type) and issubclass(kind, Struct) and kind not in found:
            found.add(kind)
            waiting += get_type_hints(kind).values()
    return found


# Requests


@cache
def _request_schemas() -> Json:
    _, schemas = msgspec.json.schema_components([_described(kind) for kind in _REQUIRED], ref_template=_REFERENCE)
    schemas["TransactionRequest"]["allOf"] = [
        {"anyOf": [{"required": [name]} for name in names]} for names in _ONE_OF_TWO
    ]
    schemas["FundingRequest"]["properties"]["recipients"] |= {"minItems": 1}
    schemas["BulkRequest"]["properties"]["transactions"] |= {"minItems": 1, "maxItems": MAX_BULK}
    known = {kind.__name__: kind for kind in _structs_in(_REQUIRED)}
    for name, schema in schemas.items():
        schema["description"] = schema.get("description", "").replace("``", "")
        texts = _texts_of(known[name])
        for field_name, field in schema["properties"].items():
            field.pop("default", None)  # The default is always null, which says nothing.
            for option in field.get("anyOf", ()):
                if "description" in option:
                    field["description"] = option.pop("description")
            if field_name in texts:
                field["description"] = texts[field_name]
    return schemas


@cache
def _described(kind: type[Struct]) -> type[Struct]:
    """Make the struct as it is on the wire, with JSON types for Decimal and Raw, and with required fields."""
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
    """Return an annotation without None, and with ``_described`` structs."""
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
    if origin in (list, dict):
        return types.GenericAlias(origin, tuple(map(_on_the_wire, arguments)))
    return annotation


_INTRODUCTION = (
    "Pacioli is a double-entry ledger. A transaction moves money between balances. It gets an ID at once, and can be read "
    "until its status is final, or waited for. Amounts are minor units, integers of any size. A field named amount is in "
    "major units, and exact too. Every error is {error, error_detail: {code, message, details}}, and every answer has an "
    "X-Request-Id."
)

_REFERENCE = "#/components/schemas/{name}"
_DECIMAL = rf"^[0-9]{{1,{MAX_DIGITS}}}(\.[0-9]{{1,{MAX_DIGITS}}})?$"
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
