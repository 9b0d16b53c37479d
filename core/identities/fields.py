"""Names the fields of an identity, and those of them that can be tokenized."""

from core.base.errors import ErrorCode, InvalidRequest
from core.base.tables.balances import IDENTITY_TEXTS

TEXTS = IDENTITY_TEXTS

PERSONAL = (*TEXTS, "dob", "meta_data")
"""Everything about a person. An erasure blanks it."""

TOKENIZABLE = {
    "FirstName": "first_name",
    "LastName": "last_name",
    "OtherNames": "other_names",
    "EmailAddress": "email_address",
    "PhoneNumber": "phone_number",
    "Street": "street",
    "PostCode": "post_code",
}
"""The fields that can be tokenized, by the names that Blnk gives them."""

BLNK_NAMES = {field: name for name, field in TOKENIZABLE.items()}

_SPELLINGS = {
    spelling: field for name, field in TOKENIZABLE.items() for spelling in (name, name[0].lower() + name[1:], field)
}


def tokenizable(name: str) -> str:
    """Find the field that is meant by ``FirstName``, ``firstName`` or ``first_name``.

    Raises:
        InvalidRequest: it cannot be tokenized (IDT_FIELD_NOT_TOKENIZABLE).
    """
    field = _SPELLINGS.get(name)
    if field is None:
        known = ", ".join(TOKENIZABLE)
        shown = name[:64]
        raise InvalidRequest(
            [(shown, f"is not tokenizable; those that are: {known}")],
            ErrorCode.IDT_FIELD_NOT_TOKENIZABLE,
            {"tokenizable": known},
            message=f"field {shown} is not tokenizable",
        )
    return field
