"""Hands many values to Postgres at once: rows by COPY, and arrays as text."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

import msgspec
from sqlalchemy import Connection

from core.base.db import driver

_PIECE = 250
"""The number of rows of a COPY that are sent at once."""

T = TypeVar("T")


def copy_text(conn: Connection, table: str, columns: str, lines: Iterable[str]) -> None:
    """Append rows with COPY, which costs a fraction of INSERT for each row.

    ``lines`` are in COPY's text format: tabs between columns, ``\\N`` for null, and escaped texts. They go out in pieces,
    so that the server writes the first rows while the next are being made.
    """
    with driver(conn).cursor() as cursor, cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
        for piece in _batched(lines, _PIECE):
            copy.write("\n".join(piece) + "\n")


_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def escaped(text: str | None) -> str:
    """Write a text in COPY's text format, or the mark for NULL."""
    return r"\N" if text is None else text.translate(_ESCAPES)


def copy_json(conn: Connection, table: str, columns: str, lines: Iterable[bytes]) -> None:
    """Append rows with COPY. ``lines`` are JSON arrays without their brackets, each with an end of line.

    COPY reads such a line as CSV, if its texts have no escapes but those of quotes and backslashes.
    """
    form = r"""FORMAT csv, ESCAPE '\', NULL 'null'"""
    with driver(conn).cursor() as cursor, cursor.copy(f"COPY {table} ({columns}) FROM STDIN ({form})") as copy:
        for piece in _batched(lines, _PIECE):
            copy.write(b"".join(piece))


def _batched(lines: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut into lists of this size, as ``itertools.batched`` does from Python 3.12 on."""
    rest = iter(lines)
    while piece := list(islice(rest, size)):
        yield piece


def array(values: Iterable[int]) -> str:
    """Write integers as the text of a Postgres array, for a parameter with a cast. It is a hundred times as fast as a list.

    JSON's array has other brackets, and costs a tenth of a join of texts.
    """
    return f"{{{msgspec.json.encode(list(values)).decode()[1:-1]}}}"


def text_array(values: Iterable[str]) -> str:
    """Write texts as the text of a Postgres array, as ``array`` does."""
    texts = list(values)
    whole = "".join(texts)
    if '"' in whole or "\\" in whole:
        texts = [text.replace("\\", "\\\\").replace('"', '\\"') for text in texts]
    return '{"' + '","'.join(texts) + '"}' if texts else "{}"
