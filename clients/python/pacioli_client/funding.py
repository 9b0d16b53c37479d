"""Funding jobs: create or try out, read, stop and go on; their runs, and the rows of these."""

import csv
import dataclasses
import io
import shutil
import tempfile
import time
from collections.abc import AsyncIterable, Callable, Iterable
from contextlib import ExitStack
from typing import Any, BinaryIO, cast

import httpx
import msgspec

from pacioli_client.answers.funding import DryRun, Job, Row, Run
from pacioli_client.calls import Listed, Resource, W, call, listing
from pacioli_client.errors import Unsendable
from pacioli_client.requests import NewJob, Recipient
from pacioli_client.wire import (
    AGAIN_S,
    ONE_WAIT_S,
    Gather,
    Pause,
    Plan,
    Request,
    ask,
    attempts,
    decoded,
    encode,
    escaped,
    new_reference,
    seconds,
)

Recipients = BinaryIO | Iterable[Recipient] | AsyncIterable[Recipient]
"""A CSV, .xlsx or .ods file, opened in binary, or rows. Only an ``AsyncClient`` can wait for rows of an asynchronous iterator."""

Sent = Callable[[int, int], None]
"""A function that is called with how many bytes of the list are sent, and how many there are."""

CHECKED_S = 300.0
"""The service may take so long to check a list."""

IN_MEMORY = 4 * 1024 * 1024


class StartedRun(msgspec.Struct, frozen=True):
    """A run, and whether an earlier request with the same reference started it."""

    run: Run
    replayed: bool


class CreatedJob(msgspec.Struct, frozen=True):
    """A job, and whether an earlier request with the same reference created it."""

    job: Job
    replayed: bool


class Rejects(msgspec.Struct, frozen=True):
    """The rows of a list that cannot be paid."""

    csv: bytes
    """The rows as a CSV with the column ``why``, to be mended and sent. It is empty when all rows are fine."""
    rows: list[int]
    """Their numbers, to leave them out: ``File(without_rows=...)``."""
    fine: int
    """The number of the other rows."""


class Funding(Resource[W]):
    """The requests of ``/funding-jobs``."""

    @call
    def create(
        self, asked: NewJob, recipients: Recipients | None = None, *, sent: Sent | None = None
    ) -> Plan[CreatedJob]:
        """Create a funding job, and run it now if it has no date. A CSV file, rows or its rule name the recipients.

        The list is sent piece by piece, up to 256 MiB, and is never held in memory. A list that cannot be read twice is first
        copied to a temporary file, so that the request can be repeated when its answer is lost. The reference makes sure that
        only one job is created.

        Raises:
            Conflict: the same was sent before (FND_REPEATED), and neither a reference nor ``again`` says that it is meant.
        """
        if asked.reference is None:
            asked = msgspec.structs.replace(asked, reference=new_reference(), again=bool(asked.again))
        response = yield from _create(asked, recipients, sent)
        return CreatedJob(decoded(Job, response), _replayed(response))

    @call
    def dry_run(self, asked: NewJob, recipients: Recipients | None = None, *, sent: Sent | None = None) -> Plan[DryRun]:
        """Return what a run would do to the balances as they are now. Nothing is kept."""
        body = msgspec.json.decode(encode(asked), type=dict[str, msgspec.Raw])
        response = yield from _create({**body, "dry_run": True}, recipients, sent)
        return decoded(DryRun, response)

    @call
    def rejects(self, asked: NewJob, recipients: Recipients) -> Plan[Rejects]:
        """Return the rows of a list that would be refused, each with the reason. Nothing is kept."""
        response = yield from _create(asked, recipients, None, path="/funding-jobs/rejects")
        lines = csv.reader(io.StringIO(response.content.decode("utf-8-sig")), delimiter=_delimiter(response.content))
        rows = [int(line[0]) for line in lines if line[0].isdigit()]
        return Rejects(response.content, rows, int(response.headers.get("X-Rows-Fine", 0)))

    @call
    def read(self, job_id: str) -> Plan[Job]:
        """Return a job by its id, with its last run, its next runs, and what its pool will hold after the next one."""
        return ask(Job, Request("GET", _path(job_id)))

    @call
    def by_reference(self, reference: str) -> Plan[Job]:
        """Return a job by your reference."""
        return ask(Job, Request("GET", f"/funding-jobs/reference/{escaped(reference)}"))

    @listing
    def list(self, *, status: str | None = None, source: str | None = None, limit: int = 100) -> Listed[Job]:
        """Iterate over all jobs, newest first. Each request fetches ``limit`` of them. ``source`` is the pool."""
        return Listed(Job, "/funding-jobs", {"status": status, "source": source, "limit": limit})

    @call
    def pause(self, job_id: str) -> Plan[Job]:
        """Pause a job after the rows that are posted. It has no more runs until it is resumed."""
        return _change(job_id, "pause")

    @call
    def resume(self, job_id: str) -> Plan[Job]:
        """Resume a job: its unfinished run goes on, and so does its schedule from now on."""
        return _change(job_id, "resume")

    @call
    def cancel(self, job_id: str) -> Plan[Job]:
        """Cancel a job for good. Rows that are posted stay posted."""
        return _change(job_id, "cancel")

    @call
    def approve(self, job_id: str, digest: str) -> Plan[Job]:
        """Approve a job that a key of another owner asked for. ``digest`` is the one of the ``approval`` that you read.

        Raises:
            Conflict: its own owner asks, it waits for no approval, or it would now post something else.
        """
        return ask(Job, Request("POST", _path(job_id, "approve"), {"digest": digest}))

    @call
    def refuse(self, job_id: str, reason: str | None = None) -> Plan[Job]:
        """Refuse a job that a key of another owner asked for. It is then cancelled for good."""
        return ask(Job, Request("POST", _path(job_id, "refuse"), {} if reason is None else {"reason": reason}))

    @call
    def run(self, job_id: str, reference: str | None = None, *, again: bool | None = None) -> Plan[StartedRun]:
        """Run a job now, beside its schedule.

        ``again`` pays all rows once more, whatever another run has paid. The default is true with a reference of your
        own.

        Raises:
            Conflict: the last run paid a part of the rows, or was retried (FND_REPEATED).
        """
        body: dict[str, Any] = {"reference": reference or new_reference()}
        body["again"] = reference is not None if again is None else again
        return _started(Request("POST", _path(job_id, "run"), body))

    @call
    def retry(self, job_id: str, run_id: str, *, only: str | None = None, again: bool = False) -> Plan[StartedRun]:
        """Start a run that posts what another run and its tries rejected or did not post, each row at most once.

        ``only`` is ``rejected`` or ``unposted``. ``again`` pays them even if the job was run by hand since.
        """
        body = ({} if only is None else {"only": only}) | ({"again": True} if again else {})
        return _started(Request("POST", _path(job_id, "runs", run_id, "retry"), body))

    @listing
    def runs(self, job_id: str, *, limit: int = 100) -> Listed[Run]:
        """Iterate over all runs of a job, newest first. Each request fetches ``limit`` of them."""
        return Listed(Run, _path(job_id, "runs"), {"limit": limit})

    @call
    def read_run(self, job_id: str, run_id: str, *, wait_s: float = 0.0) -> Plan[Run]:
        """Return a run with its counts. With ``wait_s``, wait so long for its end."""
        return ask(Run, _read_run(job_id, run_id, wait_s))

    @call
    def wait_run(self, job_id: str, run_id: str, *, timeout_s: float = 600.0) -> Plan[Run]:
        """Wait until a run has ended and all its rows are decided, and return it, or as it is after ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = yield from ask(
                Run, _read_run(job_id, run_id, min(ONE_WAIT_S, max(0.0, deadline - time.monotonic())))
            )
            if (found.ended_at is not None and not found.rows_queued) or time.monotonic() >= deadline:
                return found
            yield Pause(AGAIN_S)

    @listing
    def rows(
        self, job_id: str, run_id: str, *, status: str | None = None, after: int = 0, limit: int = 1000
    ) -> Listed[Row]:
        """Iterate over the rows of a run that follow row ``after``. Each request fetches ``limit`` of them."""
        params = {"status": status, "after": after or None, "limit": limit}
        return Listed(Row, _path(job_id, "runs", run_id, "rows"), params)


def _create(
    body: Any, recipients: Recipients | None, sent: Sent | None, *, path: str = "/funding-jobs"
) -> Plan[httpx.Response]:
    request = Request("POST", path, body, wait_s=CHECKED_S)
    if recipients is None:
        return (yield from attempts(request))
    with ExitStack() as opened:
        if isinstance(recipients, AsyncIterable):
            copy = opened.enter_context(cast(BinaryIO, tempfile.SpooledTemporaryFile(IN_MEMORY)))  # noqa: SIM115
            writer = _Writer(copy)
            yield Gather(recipients, writer.add)
            writer.end()
            copy.seek(0)
            recipients = copy
        file = opened.enter_context(_Upload(recipients, sent))
        files = {"recipients": ("recipients.csv", file, "text/csv")}
        return (yield from attempts(dataclasses.replace(request, files=files)))


def _delimiter(content: bytes) -> str:
    """Return the separator of a file of rejects, whose first column is ``row``."""
    start = len("\ufeffrow".encode())
    return content[start : start + 1].decode() or ","


def _change(job_id: str, action: str) -> Plan[Job]:
    return ask(Job, Request("POST", _path(job_id, action)))


def _started(request: Request) -> Plan[StartedRun]:
    response = yield from attempts(request)
    return StartedRun(decoded(Run, response), _replayed(response))


def _read_run(job_id: str, run_id: str, wait_s: float) -> Request:
    return Request("GET", _path(job_id, "runs", run_id), params={"wait": seconds(wait_s)}, wait_s=wait_s + 30)


class _Upload:
    """A file of recipients that can be sent again, and that reports how far it is read."""

    def __init__(self, recipients: Recipients, sent: Sent | None) -> None:
        self._sent = sent or (lambda done, of: None)
        self._copy: BinaryIO | None = None
        if not isinstance(recipients, Iterable) or hasattr(recipients, "read"):
            file = cast(BinaryIO, recipients)
            if not file.seekable():
                self._copy = _copied(lambda copy: shutil.copyfileobj(file, copy))
        else:
            rows = recipients
            self._copy = _copied(lambda copy: _write_rows(copy, rows))
        self._file = cast(BinaryIO, recipients) if self._copy is None else self._copy
        self._start = self._file.tell()
        self._size = self._file.seek(0, io.SEEK_END) - self._start
        self._file.seek(self._start)

    def __enter__(self) -> "_Upload":
        return self

    def __exit__(self, *_: object) -> None:
        if self._copy is not None:
            self._copy.close()

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        self._sent(self.tell(), self._size)
        return piece

    def tell(self) -> int:
        return self._file.tell() - self._start

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset + (self._start if whence == io.SEEK_SET else 0), whence) - self._start


def _copied(write: Callable[[BinaryIO], Any]) -> BinaryIO:
    """Return a temporary file that ``write`` has filled."""
    file = cast(BinaryIO, tempfile.SpooledTemporaryFile(IN_MEMORY))  # noqa: SIM115
    try:
        write(file)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def _write_rows(file: BinaryIO, recipients: Iterable[Recipient]) -> None:
    writer = _Writer(file)
    for row in recipients:
        writer.add(row)
    writer.end()


class _Writer:
    """Writes rows as the CSV that the service reads. All rows have the kind of amount that the first row has."""

    def __init__(self, file: BinaryIO) -> None:
        self._text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        self._lines = csv.writer(self._text, lineterminator="\n")
        self._name = ""

    def add(self, row: Recipient) -> None:
        if not self._name:
            self._name = "precise_amount" if row.precise_amount is not None else "amount"
            self._lines.writerow(("destination", self._name, "description"))
        amount = getattr(row, self._name)
        if amount is None or (row.amount is not None and row.precise_amount is not None):
            has = f"no {self._name}" if amount is None else "both kinds of amount"
            raise Unsendable(f"the row of {row.destination} has {has}: give each row the same kind")
        text = format(amount, "f") if self._name == "amount" else amount
        self._lines.writerow((row.destination, text, row.description))

    def end(self) -> None:
        self._text.detach()


def _replayed(response: httpx.Response) -> bool:
    return bool(response.headers.get("Idempotent-Replayed") == "true")


def _path(*steps: str) -> str:
    return "/".join(("/funding-jobs", *map(escaped, steps)))
