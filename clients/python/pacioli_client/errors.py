"""The errors that a request can raise.

PacioliError
├── NotConfigured       nothing says where the service is
│   └── KeyUnusable         the key cannot be sent
├── Unreachable         there was no answer
└── Refused             the service answered with an error: status, code, message, details
    ├── Invalid             400, 413, 415: the request is wrong, or cannot be done as things stand
    ├── KeyRefused          401, 403: the key is missing or wrong
    ├── NotFound            404
    ├── Conflict            409: something that is already there is in the way
    └── Unavailable         503: the same request may work next time
"""

from typing import Any

import msgspec


class PacioliError(Exception):
    """Base of all errors of the client."""


class NotConfigured(PacioliError):
    """There is no usable address: none is given and no instance runs in the data folder, or the given one is not a URL."""


class KeyUnusable(NotConfigured):
    """The key has characters that a header of a request cannot carry."""


class Unreachable(PacioliError):
    """The service did not answer. ``uncertain`` says whether it may have carried out the request."""

    def __init__(self, url: str, reason: str, *, uncertain: bool) -> None:
        super().__init__(f"cannot reach {url} ({reason})")
        self.url, self.reason, self.uncertain = url, reason, uncertain


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong with a request."""

    message: str
    field: str = ""
    row: int | None = None
    """The line of a CSV, whose header is line 1, or the position in a list, from 1."""


class Refused(PacioliError):
    """The service answered with an error."""

    def __init__(self, status: int, message: str, *, code: str = "", details: Any = None, request_id: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code
        self.details: Any = details
        self.request_id = request_id
        """The log of the service names the request by it."""

    @property
    def problems(self) -> list[Problem]:
        """The problems that the service lists, each with its field."""
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


class Unavailable(Refused):
    """The service cannot answer now. Whether the request was carried out is not known."""


_CLASSES: dict[int, type[Refused]] = {
    400: Invalid, 401: KeyRefused, 403: KeyRefused, 404: NotFound, 409: Conflict, 413: Invalid, 415: Invalid,
    503: Unavailable,
}  # fmt: skip


class _Detail(msgspec.Struct):
    code: str = ""
    message: str = ""
    details: Any = None


class _Body(msgspec.Struct):
    error: str = ""
    error_detail: _Detail = msgspec.field(default_factory=_Detail)


_decode = msgspec.json.Decoder(_Body).decode


def refused(status: int, body: bytes, request_id: str) -> Refused:
    """Make the error that an answer describes."""
    try:
        found = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):  # A proxy in front of the service answered, in its own words.
        found = _Body()
    detail = found.error_detail
    message = detail.message or found.error or body[:200].decode(errors="replace") or f"status {status}"
    kind = _CLASSES.get(status, Refused)
    return kind(status, message, code=detail.code, details=detail.details, request_id=request_id)
