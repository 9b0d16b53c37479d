"""Splits a CSV file into lines, and each line into cells, so that every line is a row or an error that names it.

A row is one line of the file, whatever quotes it has. So a quote that is never closed costs its own line and no other. CSV
knows cells over several lines; a list of amounts has no use for them, and a stray quote would turn rows into text.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

MAX_LINE = 65_536
"""The number of bytes that a line of a CSV may have."""

SAVE_AS = "save the file as CSV UTF-8, with commas"

_CELL = re.compile(r'"((?:[^"]|"")*)"|([^",]*)')
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class Line(NamedTuple):
    """A line of the file: its cells, or what is wrong with it."""

    number: int
    """Its number in the file, from 1."""
    cells: list[str]
    problem: str


def read_lines(stream: BinaryIO) -> Iterator[Line]:
    """Yield every line of a file, without the mark of UTF-8 that spreadsheets write before the first."""
    number = 0
    while data := stream.readline(MAX_LINE + 1):
        number += 1
        if number == 1:
            data = data.removeprefix(b"\xef\xbb\xbf")
        if len(data) > MAX_LINE and not data.endswith(b"\n"):
            is_one = b"\r" in data
            while data and not data.endswith(b"\n"):
                data = stream.readline(MAX_LINE)
            text = "has line ends of CR alone" if is_one else f"is longer than {MAX_LINE} bytes"
            yield Line(number, [], f"{text}; {SAVE_AS}" if is_one else text)
            continue
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            yield Line(number, [], _no_utf_8(data, error.start))
            continue
        text = text.removesuffix("\n").removesuffix("\r")
        if "\0" in text or "\r" in text:
            yield Line(number, [], _odd_line(text))
        elif '"' in text:
            yield _quoted(number, text)
        else:
            yield Line(number, text.split(","), "")


def _no_utf_8(data: bytes, place: int) -> str:
    if data[:2] in _UTF_16 or b"\0" in data:
        return f"is UTF-16; {SAVE_AS}"
    return f"is not UTF-8: its byte {place + 1} is 0x{data[place]:02x}; {SAVE_AS}"


def _odd_line(text: str) -> str:
    if "\0" not in text:
        return f"has a line end of CR alone; {SAVE_AS}"
    if text.count("\0") * 3 >= len(text):
        return f"is UTF-16; {SAVE_AS}"
    return f"has the NUL character, as character {text.index(chr(0)) + 1}"


def _quoted(number: int, text: str) -> Line:
    """Split a line that has quotes."""
    cells: list[str] = []
    position = 0
    while True:
        found = _CELL.match(text, position)
        assert found is not None  # An empty cell matches anywhere.
        quoted, plain = found.groups()
        end = found.end()
        where = f"in column {len(cells) + 1}"
        if quoted is None and text[end : end + 1] == '"':
            if end == position:
                return Line(
                    number, [], f"has a quote that is never closed, {where}; a row is one line, and so is its text"
                )
            if plain.startswith("="):
                return Line(number, [], f"has a formula, {where}; write the plain number")
            return Line(
                number, [], f'has a quote inside a text, {where}; write it twice, and the text in quotes: "a ""b"""'
            )
        cells.append(plain if quoted is None else quoted.replace('""', '"'))
        if end == len(text):
            return Line(number, cells, "")
        if text[end] != ",":
            return Line(number, [], f"has text after a closing quote, {where}; a comma must follow the quote")
        position = end + 1
