"""Funding jobs: create or try out, read, stop and go on; their runs, and the rows of these."""

import csv
import dataclasses
import io
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, TypeVar, cast

import msgspec

from pacioli_client.answers.funding import DryRun, Job, Row, Run
from pacioli_client.requests import NewJob, Recipient
from pacioli_client.wire import Request, Wire, decoded, encode, escaped, new_reference, seconds

T = TypeVar("T")

Recipients = BinaryIO | Iterable[Recipient]
"""A CSV file, opened in binary, or rows."""

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


class Funding:
    """The requests of ``/funding-jobs``."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def create(self, asked: NewJob, recipients: Recipients | None = None, *, sent: Sent | None = None) -> CreatedJob:
        """Create a funding job, and run it now if it has no date. A CSV file, rows or its rule name the recipients.

        The list is sent piece by piece, up to 256 MiB, and is never held in memory. A list that cannot be read twice is first
        copied to a temporary file, so that the request can be repeated when its answer is lost. The reference makes sure that
        only one job is created.

        Raises:
            Conflict: the same was sent before (FND_REPEATED), and neither a reference nor ``again`` says that it is meant.
        """
        if asked.reference is None:
            asked = msgspec.structs.replace(asked, reference=new_reference(), again=bool(asked.again))
        response = self._create(asked, recipients, sent)
        return CreatedJob(decoded(Job, response), _replayed(response))

    def dry_run(self, asked: NewJob, recipients: Recipients | None = None, *, sent: Sent | None = None) -> DryRun:
        """Return what a run would do to the balances as they are now. Nothing is kept."""
        body = msgspec.json.decode(encode(asked), type=dict[str, msgspec.Raw])
        return decoded(DryRun, self._create({**body, "dry_run": True}, recipients, sent))

    def _create(self, body: Any, recipients: Recipients | None, sent: Sent | None) -> Any:
        request = Request("POST", "/funding-jobs", body, wait_s=CHECKED_S)
        if recipients is None:
            return self._wire.send(request)
        with _Upload(recipients, sent) as file:
            files = {"recipients": ("recipients.csv", file, "text/csv")}
            return self._wire.send(dataclasses.replace(request, files=files))

    def read(self, job_id: str) -> Job:
        """Return a job by its id, with its last run, its next runs, and what its pool will hold after the next one."""
        return self._wire.ask(Job, Request("GET", _path(job_id)))

    def by_reference(self, reference: str) -> Job:
        """Return a job by your reference."""
        return self._wire.ask(Job, Request("GET", f"/funding-jobs/reference/{escaped(reference)}"))

    def list(self, *, status: str | None = None, limit: int = 100) -> Iterator[Job]:
        """Iterate over all jobs, newest first. Each request fetches ``limit`` of them."""
        return self._wire.rows(Job, "/funding-jobs", {"status": status, "limit": limit})

    def pause(self, job_id: str) -> Job:
        """Pause a job after the rows that are posted. It has no more runs until it is resumed."""
        return self._change(job_id, "pause")

    def resume(self, job_id: str) -> Job:
        """Resume a job: its unfinished run goes on, and so does its schedule from now on."""
        return self._change(job_id, "resume")

    def cancel(self, job_id: str) -> Job:
        """Cancel a job for good. Rows that are posted stay posted."""
        return self._change(job_id, "cancel")

    def run(self, job_id: str, reference: str | None = None) -> StartedRun:
        """Run a job now, beside its schedule."""
        body = {"reference": reference or new_reference()}
        return self._started(Request("POST", _path(job_id, "run"), body))

    def retry(self, job_id: str, run_id: str) -> StartedRun:
        """Start a run that posts the rejected rows of another run again. Each run can be retried once."""
        return self._started(Request("POST", _path(job_id, "runs", run_id, "retry")))

    def runs(self, job_id: str, *, limit: int = 100) -> Iterator[Run]:
        """Iterate over all runs of a job, newest first. Each request fetches ``limit`` of them."""
        return self._wire.rows(Run, _path(job_id, "runs"), {"limit": limit})

    def read_run(self, job_id: str, run_id: str, *, wait_s: float = 0.0) -> Run:
        """Return a run with its counts. With ``wait_s``, wait so long for its end."""
        params = {"wait": seconds(wait_s)}
        return self._wire.ask(Run, Request("GET", _path(job_id, "runs", run_id), params=params, wait_s=wait_s + 30))

    def rows(
        self, job_id: str, run_id: str, *, status: str | None = None, after: int = 0, limit: int = 1000
    ) -> Iterator[Row]:
        """Iterate over the rows of a run that follow row ``after``. Each request fetches ``limit`` of them."""
        params = {"status": status, "after": after or None, "limit": limit}
        return self._wire.rows(Row, _path(job_id, "runs", run_id, "rows"), params)

    def _change(self, job_id: str, action: str) -> Job:
        return self._wire.ask(Job, Request("POST", _path(job_id, action)))

    def _started(self, request: Request) -> StartedRun:
        response = self._wire.send(request)
        return StartedRun(decoded(Run, response), _replayed(response))


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
    """Write rows as the CSV that the service reads. All rows have the kind of amount that the first row has."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    lines = csv.writer(text, lineterminator="\n")
    name = ""
    for row in recipients:
        if not name:
            name = "precise_amount" if row.precise_amount is not None else "amount"
            lines.writerow(("destination", name, "description"))
        amount = getattr(row, name)
        if amount is None:
            raise ValueError(f"the row of {row.destination} has no {name}: give each row the same kind of amount")
        lines.writerow((row.destination, format(amount, "f") if name == "amount" else amount, row.description))
    text.detach()


def _replayed(response: Any) -> bool:
    return bool(response.headers.get("Idempotent-Replayed") == "true")


def _path(*steps: str) -> str:
    return "/".join(("/funding-jobs", *map(escaped, steps)))
