"""Makes the schemas of the OpenAPI document from the structs of answers and requests.

The description of a field is in its ``Meta``, or in the text under it.
"""

import ast
import inspect
import textwrap
import types
from collections.abc import Iterable
from decimal import Decimal
from functools import cache, reduce
from itertools import pairwise
from operator import or_
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import UNSET, Meta, Raw, Struct

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
from core.lists.requests import FilterClause, FilterRequest
from core.monitors.requests import MonitorRequest
from core.webhooks.requests import HookRequest, ReplayRequest, WebhookRequest, WebhookRotateRequest

Json = dict[str, Any]

REQUIRED: dict[type[Struct], set[str]] = {
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


@cache
def schema_of(kind: Any) -> Json:
    """Return the schema of an answer. Structs in it are references."""
    schemas, _ = msgspec.json.schema_components(options_of(kind), ref_template=REFERENCE)
    return schemas[0] if len(schemas) == 1 else {"anyOf": list(schemas)}


def options_of(kind: Any) -> tuple[Any, ...]:
    """List the types of a union. msgspec describes a union with several structs only if they are tagged."""
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def answer_schemas(kinds: Iterable[Any]) -> Json:
    """Return the schemas of all structs in answers, by their names."""
    _, schemas = msgspec.json.schema_components(kinds, ref_template=REFERENCE)
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


@cache
def request_schemas() -> Json:
    """Return the schemas of all structs in the bodies of requests, by their names."""
    _, schemas = msgspec.json.schema_components([_described(kind) for kind in REQUIRED], ref_template=REFERENCE)
    schemas["TransactionRequest"]["allOf"] = [
        {"anyOf": [{"required": [name]} for name in names]} for names in _ONE_OF_TWO
    ]
    schemas["FundingRequest"]["properties"]["recipients"] |= {"minItems": 1}
    schemas["BulkRequest"]["properties"]["transactions"] |= {"minItems": 1, "maxItems": MAX_BULK}
    known = {kind.__name__: kind for kind in _structs_in(REQUIRED)}
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
        required = field.required or field.encode_name in REQUIRED.get(kind, ())
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


REFERENCE = "#/components/schemas/{name}"

_DECIMAL = rf"^[0-9]{{1,{MAX_DIGITS}}}(\.[0-9]{{1,{MAX_DIGITS}}})?$"
