"""Defines the requests of identities."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

Text = str | UnsetType | None
_TYPE = Meta(description="individual or organization, or another word of yours.")
_OWNER = Meta(description="The identity. null takes the balance from the one that has it.")
_DOB = Meta(description="The date of birth: an RFC 3339 time, or a day such as 1990-04-22.")


class IdentityRequest(Struct, forbid_unknown_fields=True):
    """The body of ``POST /identities`` and ``PUT /identities/<id>``.

    In an update, a field that is absent or an empty text stays as it is, and null blanks it.
    """

    identity_id: Annotated[str, Meta(description="An id of yours: idt_ and a UUID. It never changes.")] | None = None
    identity_type: Annotated[str, _TYPE] | UnsetType | None = UNSET
    organization_name: Text = UNSET
    category: Text = UNSET
    first_name: Text = UNSET
    last_name: Text = UNSET
    other_names: Text = UNSET
    gender: Text = UNSET
    email_address: Text = UNSET
    phone_number: Text = UNSET
    nationality: Text = UNSET
    street: Text = UNSET
    country: Text = UNSET
    state: Text = UNSET
    post_code: Text = UNSET
    city: Text = UNSET
    dob: Annotated[str, _DOB] | UnsetType | None = UNSET
    meta_data: Raw | UnsetType = UNSET

    # Blnk's clients send it without effect.
    created_at: Any = None


class FieldsRequest(Struct, forbid_unknown_fields=True):
    """The body of tokenize and detokenize for several fields."""

    fields: Annotated[list[str], Meta(description="The names of fields, such as FirstName.")] | None = None


class IdentityLinkRequest(Struct, forbid_unknown_fields=True):
    """The body of ``PUT /balances/<id>/identity``."""

    identity_id: Annotated[str, _OWNER] | UnsetType | None = UNSET
