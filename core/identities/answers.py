"""Defines the answers of identities."""

from typing import Any

from msgspec import UNSET, Struct, UnsetType

from core.base.answers import NO_TIME, Members, Time, members
from core.identities.fields import TEXTS
from core.identities.store import IdentityRow


class Identity(Struct, frozen=True, kw_only=True):
    """Blnk's identity object. A tokenized field has its token."""

    identity_id: str
    identity_type: str
    organization_name: str
    category: str
    first_name: str
    last_name: str
    other_names: str
    gender: str
    email_address: str
    phone_number: str
    nationality: str
    street: str
    country: str
    state: str
    post_code: str
    city: str
    dob: Time
    """The date of birth. The year 1 stands for none."""
    created_at: Time
    meta_data: Members | None


class UpdatedIdentity(Identity, frozen=True, kw_only=True):
    """The identity after an update, with Blnk's message."""

    message: str


class IdentityPage(Struct, frozen=True):
    """A page of identities, and how many there are in all."""

    data: list[Identity]
    total_count: int
    truncated: bool | UnsetType = UNSET
    """true when the look or the counting ended early. The count is then too low, and the Link header goes on."""


class ClearField(Struct, frozen=True):
    """The clear text of one field."""

    field: str
    """The name of the field as it was asked for."""
    value: str


class ClearFields(Struct, frozen=True):
    """The clear texts of fields by their names."""

    fields: dict[str, str]


class TokenizedFields(Struct, frozen=True):
    """The names of the fields that are tokenized."""

    tokenized_fields: list[str]


def identity_of(row: IdentityRow) -> Identity:
    """Make the answer of an identity from its row."""
    return Identity(**_values(row))


def updated_of(row: IdentityRow) -> UpdatedIdentity:
    """Make the answer of an update."""
    return UpdatedIdentity(message="Identity updated successfully", **_values(row))


def _values(row: IdentityRow) -> dict[str, Any]:
    texts: dict[str, Any] = {name: getattr(row, name) for name in TEXTS}
    return {
        "identity_id": row.identity_id,
        **texts,
        "dob": row.dob or NO_TIME,
        "created_at": row.created_at,
        "meta_data": members(row.meta_data),
    }
