"""Answers about identities."""

from datetime import datetime
from typing import Any

from msgspec import Struct


class Identity(Struct, frozen=True, kw_only=True):
    """A person or an organisation. A tokenized field has its token; an empty text stands for none."""

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
    dob: datetime
    created_at: datetime
    meta_data: dict[str, Any] | None
