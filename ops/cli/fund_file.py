"""The file of ``pacioli fund``: the options that say how it is read, the questions about it, and its rejected rows."""

import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import click
from msgspec.structs import replace
from pacioli_client import Client, NewJob
from pacioli_client.answers.funding import FileRead
from pacioli_client.errors import Invalid
from pacioli_client.requests import File
from rich.console import Console

from core.base.errors import InvalidRequest
from core.funding.files.columns import COLUMNS
from core.funding.files.numbers import MARKS
from core.funding.files.reader import FileReader
from core.funding.files.terms import EXTRAS, file_problems
from core.funding.requests import FileTerms
from ops.cli.asking import at_terminal, confirmed
from ops.cli.show.text import count, plain

F = TypeVar("F", bound=Callable[..., Any])

LOOKED_AT = 2_000
"""The number of rows that are looked at before a question about the file is asked."""
MAX_QUESTIONS = 5

_OPTIONS = {"columns": "--map", "decimal": "--decimal", "sheet": "--sheet", "extra": "--extra"}


def reads_file(command: F) -> F:
    """Give a command the options that say how its file is read."""
    options = (
        click.option(
            "--map",
            "mapped",
            multiple=True,
            metavar="THEIRS=OURS",
            help=f"A column with another name, as in --map 'Wallet ID=destination'. Ours are {', '.join(COLUMNS)}, "
            "meta_data.NAME, and ignore.",
        ),
        click.option(
            "--extra",
            type=click.Choice(EXTRAS),
            help="Keep all other columns as metadata, or leave them out. Otherwise they are asked about, or refused.",
        ),
        click.option(
            "--decimal",
            type=click.Choice(MARKS),
            help="The decimal mark of the amounts. With it, thousands may be set apart. [default: a dot, and no thousands]",
        ),
        click.option(
            "--sheet", help="The sheet of a spreadsheet, by its name or number. [default: the one with a header]"
        ),
        click.option(
            "--rejects",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Write the rows that cannot be paid to this file, with the reasons, and pay the others.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def taken(file: BinaryIO | None, terms: dict[str, Any]) -> tuple[File | None, Path | None]:
    """Take the options of ``reads_file`` out of all options. Return how the file is read, and where rejects go."""
    columns = dict(map(_pair, terms.pop("mapped")))
    given = {name: terms.pop(name) for name in ("extra", "decimal", "sheet")}
    rejects: Path | None = terms.pop("rejects")
    found = {name: value for name, value in {"columns": columns, **given}.items() if value}
    if file is None and (found or rejects):
        raise click.UsageError("--map, --extra, --decimal, --sheet and --rejects belong to a FILE")
    for problem in file_problems(FileTerms(**found), True):
        raise click.UsageError(f"{_OPTIONS[problem[0].removeprefix('file.')]} {problem[1]}")
    if rejects is not None and rejects.exists():
        raise click.UsageError(f"{plain(str(rejects))} is there already: mend it and fund it, or name another file")
    return File(**found) if found else None, rejects


def _pair(text: str) -> tuple[str, str]:
    theirs, separator, ours = text.rpartition("=")
    if not separator or not theirs.strip() or not ours.strip():
        raise click.UsageError(f"--map takes a pair such as 'Wallet ID=destination', not {plain(text)!r}")
    return theirs.strip(), ours.strip()


def settled(file: BinaryIO | None, asked: NewJob) -> NewJob:
    """Look at the beginning of a file, and ask the person at the terminal what it does not say."""
    if file is None or not at_terminal() or not file.seekable():
        return asked
    for _ in range(MAX_QUESTIONS):
        reader = FileReader(file, _terms(asked))
        try:
            for _ in islice(reader, LOOKED_AT):
                pass
        except InvalidRequest:
            pass
        proposal = reader.finds.proposal()
        file.seek(0)
        if proposal is None or not confirmed(plain(proposal.question)):
            return asked
        asked = replace(asked, file=_with(asked.file, proposal.file))
    return asked


def set_aside(
    client: Client, asked: NewJob, file: BinaryIO | None, path: Path | None, err: Console
) -> tuple[NewJob, int]:
    """Write the rows that cannot be paid to a file, and leave them out. Return the job of the others, and their number.

    The service is told exactly which rows are left out. So no row is paid now that is in the file too.

    Raises:
        click.exceptions.Exit: no row is fine.
    """
    if file is None or path is None:
        return asked, 0
    if not file.seekable():
        raise click.UsageError("--rejects needs a file that can be read twice, and not standard input")
    found = client.funding.rejects(asked, file)
    file.seek(0)
    if not found.rows:
        return asked, 0
    beside = path.with_name(f".{path.name}.part")
    beside.write_bytes(found.csv)
    os.replace(beside, path)
    err.print(
        f"{count(len(found.rows), 'row')} in {plain(str(path))}, with the reasons: mend them, and fund that file. "
        f"Fine: {count(found.fine, 'row')}."
    )
    if not found.fine:
        raise click.exceptions.Exit(1)
    return replace(asked, file=_with(asked.file, {"without_rows": found.rows})), len(found.rows)


def print_notes(err: Console, read: FileRead | None) -> None:
    """Print what a person should know of how a file was read."""
    for note in read.notes if read is not None else ():
        err.print(f"note: {plain(note)}")


def print_end(out: Console, error: Invalid) -> None:
    """Print how many rows of a refused file are fine, and the options that may help."""
    details = error.details if isinstance(error.details, dict) else {}
    if details.get("rows"):
        out.print(
            f"{details['rows_fine']:,} of {count(details['rows'], 'row')} fine. Nothing was paid; --rejects FILE pays these, and "
            "writes the others to a file to mend"
        )
    proposal = details.get("proposal")
    if isinstance(proposal, dict):
        out.print(f"{plain(proposal['question'])} If so: {' '.join(_options(proposal['file']))}")


def _options(file: dict[str, Any]) -> list[str]:
    """Write what a file may be read with as options."""
    found: list[str] = []
    for name, value in file.items():
        pairs = [f"{theirs}={ours}" for theirs, ours in value.items()] if isinstance(value, dict) else [str(value)]
        found += [f"{_OPTIONS[name]} {_quoted(plain(each))}" for each in pairs]
    return found


def _quoted(text: str) -> str:
    return text if text.isalnum() or text in MARKS else "'" + text.replace("'", "'\\''") + "'"


def _with(file: File | None, more: dict[str, Any]) -> File:
    before = file or File()
    if "columns" in more:
        more = {**more, "columns": {**(before.columns or {}), **more["columns"]}}
    return replace(before, **more)


def _terms(asked: NewJob) -> FileTerms:
    file = asked.file or File()
    return FileTerms(sheet=file.sheet, columns=file.columns, extra=file.extra, decimal=file.decimal)
