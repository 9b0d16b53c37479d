"""The errors that a request can raise.

PacioliError
├── NotConfigured       nothing says where the service is
│   └── KeyUnusable         the key cannot be sent
├── Unreachable         there was no answer
├── NotApplied          a transaction that was waited for is not applied: status, reason, transaction
└── Refused             the service answered with an error: status, code, message, details
    ├── Invalid             400, 413, 415: the request is wrong, or cannot be done as things stand
    ├── KeyRefused          401, 403: the key is missing or wrong
    ├── NotFound            404
    ├── Conflict            409: something that is already there is in the way
    ├── RateLimited         429: too many requests came; ``retry_after_s`` says how long to wait
    └── Unavailable         503: the same request may work next time
"""

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from pacioli_client.answers.transactions import Transaction


class PacioliError(Exception):
    """Base of all errors of the client."""


class NotConfigured(PacioliError):
    """There is no usable address: none is given and no instance runs in the data folder, or the given one is not a URL."""


class KeyUnusable(NotConfigured):
    """The key has characters that a header of a request cannot carry."""


class Unsendable(PacioliError, ValueError):
    """A value cannot stand in a request, such as an empty id, or text that is no Unicode. Nothing was done."""


class Unreachable(PacioliError):
    """The service did not answer. ``uncertain`` says whether it may have carried out the request."""

    def __init__(self, url: str, reason: str, *, uncertain: bool) -> None:
        super().__init__(f"cannot reach {url} ({reason})")
        self.url, self.reason, self.uncertain = url, reason, uncertain


class NotApplied(PacioliError):
    """A transaction that was waited for is rejected or void, or is still undecided."""

    def __init__(self, transaction_id: str, status: str, reason: str, transaction: "Transaction") -> None:
        super().__init__(f"{transaction_id} is {status}{f': {reason}' if reason else ''}")
        self.status, self.reason = status, reason
        self.transaction = transaction


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong with a request."""

    message: str
    field: str = ""
    row: int | None = None
    """The line of a CSV or the row of a sheet, from 1, or the position in a list, from 1."""
    index: int | None = None
    """The position in a batch, from 0."""
    text: str | None = None
    """The faulty text as it stands in the file: the cell, or the whole row."""


class Refused(PacioliError):
    """The service answered with an error."""

    retry_after_s: float | None = None
    """The seconds after which the service asks to be asked again."""

    def __init__(self, status: int, message: str, *, code: str = "", details: Any = None, request_id: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code
        self.details: Any = details
        self.request_id = request_id
        """The log of the service names the request by it."""

    @property
    def problems(self) -> list[Problem]:
        """The problems that the service lists, each with its field."""
        if isinstance(self.details, list):  # Lists answer in Blnk's form.
            return [Problem(each.message, each.name) for each in msgspec.convert(self.details, list[_InBlnksForm])]
        if not isinstance(self.details, dict):
            return []
        if isinstance(listed := self.details.get("problems"), list):
            return msgspec.convert(listed, list[Problem])
        if isinstance(field := self.details.get("field"), str):
            return [Problem(self.message, field)]
        return []


class Invalid(Refused):
    """The request is wrong, or cannot be done as things stand."""


class KeyRefused(Refused):
    """The key is missing or wrong."""


class NotFound(Refused):
    """Nothing has that name."""


class Conflict(Refused):
    """Something that is already there is in the way, such as a reference that names another transaction."""


class RateLimited(Refused):
    """Too many requests came from this key, or too many wrong keys from this address. Nothing was done."""


class Unavailable(Refused):
    """The service cannot answer now. Whether the request was carried out is not known."""


_CLASSES: dict[int, type[Refused]] = {
    400: Invalid, 401: KeyRefused, 403: KeyRefused, 404: NotFound, 409: Conflict, 413: Invalid, 415: Invalid,
    429: RateLimited, 503: Unavailable,
}  # fmt: skip


class _InBlnksForm(msgspec.Struct):
    name: str = msgspec.field(default="", name="Param")
    message: str = msgspec.field(default="", name="Message")


class _Detail(msgspec.Struct):
    code: str = ""
    message: str = ""
    details: Any = None


class _Body(msgspec.Struct):
    error: str = ""
    error_detail: _Detail = msgspec.field(default_factory=_Detail)


_decode = msgspec.json.Decoder(_Body).decode


def refused(status: int, body: bytes, request_id: str, *, retry_after_s: float | None = None) -> Refused:
    """Make the error that an answer describes."""
    try:
        found = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):  # A proxy in front of the service answered, in its own words.
        found = _Body()
    detail = found.error_detail
    message = detail.message or found.error or body[:200].decode(errors="replace") or f"status {status}"
    kind = _CLASSES.get(status, Refused)
    error = kind(status, message, code=detail.code, details=detail.details, request_id=request_id)
    error.retry_after_s = retry_after_s
    return error
