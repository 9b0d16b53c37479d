"""``/identities``: the people and organisations that balances belong to."""

from flask import Blueprint, Response

from core.base.answers import Done
from core.base.db import begin, reading
from core.base.errors import ErrorCode, InvalidRequest
from core.identities import identities, tokenization
from core.identities.answers import (
    ClearField,
    ClearFields,
    Identity,
    IdentityPage,
    TokenizedFields,
    UpdatedIdentity,
    identity_of,
    updated_of,
)
from core.identities.fields import BLNK_NAMES
from core.identities.identity_list import IDENTITIES, find_identities
from core.identities.requests import FieldsRequest, IdentityRequest
from core.lists.requests import FilterRequest
from web.http import pages as lists
from web.http import parameters, wire
from web.http.operations import operation
from web.service import service

blueprint = Blueprint("identities", __name__)

_EXAMPLE = "idt_01928ee1-7e5a-7000-8000-000000000000"


@blueprint.post("/identities")
@operation({201: Identity}, body=IdentityRequest)
def create() -> Response:
    """Create an identity.

    An identity is a person or an organisation that balances belong to. Every field may be left out.
    """
    asked = wire.body(IdentityRequest)
    with begin(service().engine) as conn:
        row = identities.create(conn, asked)
    return wire.answer(identity_of(row), 201)


@blueprint.get("/identities")
@operation({200: list[Identity] | IdentityPage})
@parameters.takes(*parameters.page_of(IDENTITIES, example=_EXAMPLE), resource=IDENTITIES)
def read_page() -> Response:
    """List identities.

    The newest identity comes first. Each ``field_operator=value`` is a filter, such as ``country_eq=NG``. A tokenized field has
    its token, which no filter on its clear text finds.
    """
    return lists.answer(lists.in_query(parameters.of_view(read_page), default=20), *_LIST)


@blueprint.post("/identities/filter")
@operation({200: list[Identity] | IdentityPage}, body=FilterRequest, filters=IDENTITIES)
@parameters.takes(parameters.after(_EXAMPLE))
def read_filtered() -> Response:
    """Filter identities.

    The answer is a page of the identities that match.
    """
    return lists.answer(lists.in_body(IDENTITIES), *_LIST)


_LIST = (find_identities, identity_of, lambda row: row.identity_id, IdentityPage)


@blueprint.get("/identities/<identity_id>")
@operation({200: Identity}, 404)
def read(identity_id: str) -> Response:
    """Read an identity.

    A tokenized field has its token.
    """
    with reading(service().engine) as conn:
        row = identities.found(conn, identity_id)
    return wire.answer(identity_of(row))


@blueprint.put("/identities/<identity_id>")
@operation({200: UpdatedIdentity}, 404, 409, body=IdentityRequest)
def update(identity_id: str) -> Response:
    """Update an identity.

    A field that is absent or an empty text stays as it is, and null blanks it. A tokenized field gets a token of its new value.
    """
    asked = wire.body(IdentityRequest)
    ledger = service()
    with begin(ledger.engine) as conn:
        row = identities.update(conn, identity_id, asked, ledger.keyring)
    return wire.answer(updated_of(row))


@blueprint.delete("/identities/<identity_id>")
@operation({200: Done}, 404, 409)
def delete(identity_id: str) -> Response:
    """Delete an identity.

    An identity that balances belong to is not deleted. It can be erased.
    """
    with begin(service().engine) as conn:
        identities.delete(conn, identity_id)
    return wire.answer(Done("Identity deleted successfully"))


@blueprint.post("/identities/<identity_id>/erase")
@operation({200: Identity}, 404)
def erase(identity_id: str) -> Response:
    """Erase an identity.

    Everything about the person is blanked, and the key of their tokens is thrown away. The ID, the balances and the ledger stay.
    """
    with begin(service().engine) as conn:
        row = identities.erase(conn, identity_id)
    return wire.answer(identity_of(row))


@blueprint.post("/identities/<identity_id>/tokenize/<field>")
@operation({200: Done}, 404, 409)
def tokenize_field(identity_id: str, field: str) -> Response:
    """Tokenize a field.

    A token takes the place of the field. The fields are FirstName, LastName, OtherNames, EmailAddress, PhoneNumber, Street and
    PostCode.
    """
    ledger = service()
    with begin(ledger.engine) as conn:
        tokenization.tokenize(conn, identity_id, [field], ledger.keyring)
    return wire.answer(Done("Field tokenized successfully"))


@blueprint.post("/identities/<identity_id>/tokenize")
@operation({200: Done}, 404, 409, body=FieldsRequest)
def tokenize(identity_id: str) -> Response:
    """Tokenize several fields.

    All of them are tokenized, or none.
    """
    names = _names()
    if not names:
        raise InvalidRequest([("fields", "at least one field must be specified")], ErrorCode.GEN_VALIDATION_ERROR)
    ledger = service()
    with begin(ledger.engine) as conn:
        tokenization.tokenize(conn, identity_id, names, ledger.keyring)
    return wire.answer(Done("Fields tokenized successfully"))


@blueprint.get("/identities/<identity_id>/tokenized-fields")
@operation({200: TokenizedFields}, 404)
def read_tokenized(identity_id: str) -> Response:
    """List the tokenized fields of an identity."""
    with reading(service().engine) as conn:
        row = identities.found(conn, identity_id)
    return wire.answer(TokenizedFields([BLNK_NAMES[field] for field in row.tokenized]))


@blueprint.get("/identities/<identity_id>/detokenize/<field>")
@operation({200: ClearField}, 404)
def detokenize_field(identity_id: str, field: str) -> Response:
    """Read a tokenized field in clear.

    It needs the right identities:detokenize, and every reading is recorded in the audit log.
    """
    ledger = service()
    with begin(ledger.engine) as conn:
        (value,) = tokenization.detokenize(conn, identity_id, [field], ledger.keyring).values()
    return wire.answer(ClearField(field, value))


@blueprint.post("/identities/<identity_id>/detokenize")
@operation({200: ClearFields}, 404, body=FieldsRequest)
def detokenize(identity_id: str) -> Response:
    """Read several tokenized fields in clear.

    An empty list stands for all of them. It needs the right identities:detokenize, and every reading is recorded.
    """
    names = _names()
    ledger = service()
    with begin(ledger.engine) as conn:
        clear = tokenization.detokenize(conn, identity_id, names or None, ledger.keyring)
    return wire.answer(ClearFields(clear))


def _names() -> list[str]:
    """Read the names of fields of the body, which must have the list."""
    fields = wire.body(FieldsRequest).fields
    if fields is None:
        raise InvalidRequest([("fields", "is required, a list of names")], ErrorCode.GEN_MALFORMED_REQUEST)
    return fields
