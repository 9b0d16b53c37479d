"""Reads the request for a funding job: JSON, an upload of a JSON and a file, or a file whose JSON is in the query."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from threading import BoundedSemaphore
from typing import Any, BinaryIO, cast

from flask import request

from core.base import clock
from core.base.decoding import Decoded
from core.base.errors import ErrorCode, TransientError
from core.base.problems import MAX_LISTED, refusal
from core.funding.files.reader import FileReader
from core.funding.recipients import of_list
from core.funding.requests import FundingRequest
from core.funding.row_check import row_problems
from core.funding.terms import terms_problems
from web.http import operations, wire
from web.http.operations import FILES, MULTIPART
from web.http.parameters import Parameter
from web.service import service

MAX_UPLOAD = 256 * 1024 * 1024

PARTS = "one part job, the JSON without recipients, and one part recipients, a CSV, .xlsx or .ods file"

_UPLOADS, _BODIES, _RECEIVED = BoundedSemaphore(2), BoundedSemaphore(2), BoundedSemaphore(8)
"""The limits on lists at one time. Two uploads and two bodies may load, because each holds one of the connections that every
POST needs. Eight uploads may be under way, because each keeps a thread."""

TURN_S = 120.0
"""The longest time that a list waits for its turn."""

UPLOAD: dict[str, Any] = {
    "type": "object",
    "required": ["job", "recipients"],
    "additionalProperties": False,
    "properties": {
        "job": {
            "type": "string",
            "contentMediaType": "application/json",
            "description": "A FundingRequest without recipients or rule.",
        },
        "recipients": {
            "type": "string",
            "format": "binary",
            "description": "A CSV, .xlsx or .ods file with a header such as destination,amount,description.",
        },
    },
}

JOB = Parameter(
    "job",
    {"type": "string", "contentMediaType": operations.JSON},
    "The FundingRequest without recipients or rule, as JSON, when the body is the file itself.",
    "{}",
)


@contextmanager
def funding_request(max_listed: int) -> Iterator[tuple[FundingRequest, FileReader | None]]:
    """Read the request, and take one of the turns of its kind. The rows of a file are read when they are iterated.

    Raises:
        InvalidRequest: the request cannot be read.
        TransientError: others have all the turns.
    """
    if request.mimetype not in (MULTIPART, *FILES):
        others = f", {MULTIPART} with {PARTS}, or the type of a file, such as {FILES[0]}, with the JSON in ?job="
        asked = _checked(wire.read(FundingRequest, or_else=others), has_file=False)
        with _turn(_BODIES, TURN_S):
            yield asked, None
        return
    with _turn(_RECEIVED, 0.0):
        asked, file = _parts() if request.mimetype == MULTIPART else _whole()
        with _turn(_UPLOADS, TURN_S):
            rows = FileReader(file, asked.file, max_listed=max_listed)
            try:
                yield asked, rows
            finally:
                rows.close()


@contextmanager
def _turn(places: BoundedSemaphore, wait_s: float) -> Iterator[None]:
    if not places.acquire(timeout=wait_s):
        raise TransientError("other lists of recipients are being read; try again")
    try:
        yield
    finally:
        places.release()


def _parts() -> tuple[FundingRequest, BinaryIO]:
    """Return the two parts of an upload. The file is on disk by now. An upload that was cut off has no parts.

    Raises:
        InvalidRequest: the upload has other parts.
    """
    request.max_content_length, request.max_form_memory_size = MAX_UPLOAD, wire.MAX_BODY
    jobs: list[bytes] = [text.encode() for text in request.form.getlist("job")]
    jobs += [file.read(wire.MAX_BODY + 1) for file in request.files.getlist("job")]
    files = request.files.getlist("recipients")
    found = [name for parts in (request.form, request.files) for name, _ in parts.items(multi=True)]
    if len(jobs) != 1 or len(files) != 1 or len(found) != 2:
        names = ", ".join(name or "one without a name" for name in found[:10])
        text = f"{MULTIPART} must have {PARTS}, and nothing else; there is {names[:200] or 'nothing that can be read'}"
        raise wire.Malformed(text)
    if len(jobs[0]) > wire.MAX_BODY:
        raise wire.Malformed(f"the part job is larger than {wire.MAX_BODY} bytes")
    if "\ufffd".encode() in jobs[0]:  # Bytes that are not UTF-8 became this character.
        raise wire.Malformed("the part job must be UTF-8")
    return _checked(wire.decoded(FundingRequest, jobs[0]), has_file=True), cast(BinaryIO, files[0].stream)


def _whole() -> tuple[FundingRequest, BinaryIO]:
    """Return the request in the query, and the body, which is a file.

    Raises:
        InvalidRequest: the query has no request.
    """
    request.max_content_length = MAX_UPLOAD
    job = request.args.get("job")
    if job is None:
        raise wire.Malformed(f"a body of {request.mimetype} needs ?job=, the JSON without recipients")
    return _checked(wire.decoded(FundingRequest, job.encode(errors="surrogatepass")), has_file=True), cast(
        BinaryIO, request.stream
    )


def _checked(asked: Decoded[FundingRequest], *, has_file: bool) -> FundingRequest:
    """Return the request if all of it could be read.

    Raises:
        InvalidRequest: some field cannot be read. The error also lists the problems of the terms and the rows.
    """
    if asked.unread:
        terms = terms_problems(asked.value, has_file, clock.now_of(service().engine))
        rows = (
            each.inside(f"recipients[{given.row - 1}]")
            for given in of_list(asked.value.recipients or ())
            for each in row_problems(given)
        )
        raise refusal(asked.unread, [*terms, *islice(rows, MAX_LISTED)], ErrorCode.GEN_VALIDATION_ERROR)
    return asked.value
