"""Makes lines of the bytes of a text file, and cells of a line, so that every line is a row or an error that names it.

A row is one line of the file, whatever quotes it has. So a quote that is never closed costs its own line and no other. CSV
knows cells over several lines; a list of amounts has no use for them, and a stray quote would turn rows into text.
"""

import codecs
import re
from collections.abc import Iterator
from io import BufferedReader, RawIOBase
from typing import Any, BinaryIO, NamedTuple

from core.base.names import escaped
from core.funding.files.cells import Line

MAX_LINE = 65_536
"""The number of bytes that a line of a text file may have, in UTF-8."""

SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
"""The signs that may stand between cells."""

SAVE_AS = "save the file as CSV UTF-8"

_PIECE = 65_536
_CELL = {
    each: re.compile(rf'"((?:[^"]|"")*)"|([^"{re.escape(each)}]*)')  # A cell in quotes, or one without any.
    for each in SEPARATORS
}
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""The marks that may stand before the first character. Those of UTF-32 begin like those of UTF-16."""
_MULTIBYTE = re.compile(rb"[\xc3-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_NO_1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")


class TextLine(NamedTuple):
    """A line as text, without its end, or what is wrong with it."""

    number: int
    text: str
    problem: str


class Encoding(NamedTuple):
    """How the characters of a file are written."""

    name: str
    mark: int
    """The number of bytes before the first character."""
    guessed_at: int = 0
    """The first line that shows that the file is not UTF-8; 0 when nothing was guessed."""


def encoding_of(stream: BinaryIO) -> Encoding:
    """Find out how a file is encoded: by its mark, or as UTF-16 by its zero bytes, or else UTF-8 or Windows-1252.

    A file that is not UTF-8 anywhere, and could be Windows-1252, is taken for that. The whole file is read for it.
    """
    stream.seek(0)
    head = stream.read(4)
    for mark, name in _MARKS:
        if head.startswith(mark):
            return Encoding(name, len(mark))
    zeros = [each == 0 for each in head]
    if zeros == [False, True, False, True]:
        return Encoding("utf-16-le", 0)
    if zeros == [True, False, True, False]:
        return Encoding("utf-16-be", 0)
    stream.seek(0)
    number, bad_at = 0, 0
    while data := stream.readline(MAX_LINE):
        number += 1
        if data.isascii():
            continue
        try:
            data.decode()
        except UnicodeDecodeError as error:
            if error.end == len(data) == MAX_LINE:
                continue  # A piece of a line that is too long ends inside a character.
            if _MULTIBYTE.search(data) or _NO_1252.search(data):
                return Encoding("utf-8", 0)
            bad_at = bad_at or number
        else:
            return Encoding("utf-8", 0)
    return Encoding("windows-1252", 0, bad_at) if bad_at else Encoding("utf-8", 0)


def text_lines(stream: BinaryIO, encoding: Encoding) -> Iterator[TextLine]:
    """Yield every line of a file. Lines end with CR LF, LF, or, in old files, CR alone."""
    stream.seek(encoding.mark)
    recoded = BufferedReader(_Recoded(stream, encoding.name), _PIECE)
    head = recoded.peek(_PIECE)
    if b"\r" in head and b"\n" not in head:
        stream.seek(encoding.mark)
        recoded = BufferedReader(_Recoded(stream, encoding.name, ends_with_cr=True), _PIECE)
    number = 0
    while data := recoded.readline(MAX_LINE + 1):
        number += 1
        if len(data) > MAX_LINE and not data.endswith(b"\n"):
            while data and not data.endswith(b"\n"):
                data = recoded.readline(MAX_LINE)
            yield TextLine(number, "", f"is longer than {MAX_LINE} bytes")
            continue
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            text = data.decode(errors="replace").rstrip("\r\n")
            yield TextLine(number, text, _undecodable(data, error.start, encoding.name))
            continue
        text = text.removesuffix("\n").removesuffix("\r")
        problem = _odd_characters(text) if "\0" in text or "\r" in text else ""
        yield TextLine(number, text, problem)


def separator_line(text: str) -> str | None:
    """Return the separator that a first line such as ``sep=;`` names, as Excel reads and writes it."""
    found = _SEPARATOR_LINE.fullmatch(text.strip())
    return found.group(1) if found and found.group(1) in SEPARATORS else None


def split(line: TextLine, separator: str) -> Line:
    """Split a line into cells."""
    if line.problem:
        return Line(line.number, [line.text], line.problem)
    if '"' not in line.text:
        return Line(line.number, line.text.split(separator), "")
    return _quoted(line.number, line.text, separator)


class _Recoded(RawIOBase):
    """The bytes of a file as UTF-8, with LF at the end of lines where they ended with CR alone."""

    def __init__(self, stream: BinaryIO, encoding: str, *, ends_with_cr: bool = False) -> None:
        self._stream, self._ends_with_cr = stream, ends_with_cr
        errors = "surrogatepass" if encoding.startswith("utf-") else "strict"
        is_utf_8 = encoding == "utf-8"
        self._decoder = None if is_utf_8 else codecs.getincrementaldecoder(encoding)(errors)
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        room = memoryview(buffer)
        while not self._left:
            piece = self._stream.read(_PIECE)
            self._left = self._recoded(piece)
            if not piece:
                break
        size = min(len(room), len(self._left))
        room[:size], self._left = self._left[:size], self._left[size:]
        return size

    def _recoded(self, piece: bytes) -> bytes:
        if self._decoder is not None:
            try:
                text = self._decoder.decode(piece, not piece)
                piece = text.encode(errors="surrogatepass")
            except UnicodeDecodeError:  # The last character is cut off, or no character has such a number.
                self._decoder.reset()
                piece = b"\xff"
        return piece.replace(b"\r", b"\n") if self._ends_with_cr else piece


def _undecodable(data: bytes, place: int, encoding: str) -> str:
    if encoding != "utf-8":
        return f"has a broken character; {SAVE_AS}"
    if b"\0" in data:
        return f"is UTF-16, and other lines are not; {SAVE_AS}"
    return f"is not UTF-8: its byte {place + 1} is 0x{data[place]:02x}; {SAVE_AS}"


def _odd_characters(text: str) -> str:
    if "\0" not in text:
        return f"has a line end of CR alone, and other lines end otherwise; {SAVE_AS}"
    if text.count("\0") * 3 >= len(text):
        return f"is UTF-16, and other lines are not; {SAVE_AS}"
    return f"has the NUL character, as character {text.index(chr(0)) + 1}"


def _quoted(number: int, text: str, separator: str) -> Line:
    """Split a line that has quotes."""
    cells: list[str] = []
    position = 0
    cell = _CELL[separator]

    def wrong(problem: str) -> Line:
        return Line(number, [text], problem)

    while True:
        found = cell.match(text, position)
        assert found is not None  # An empty cell matches anywhere.
        quoted, plain = found.groups()
        end = found.end()
        where = f"in column {len(cells) + 1}"
        if quoted is None and text[end : end + 1] == '"':
            if end == position:
                return wrong(f"has a quote that is never closed, {where}; a row is one line, and so is its text")
            if plain.startswith("="):
                return wrong(f"has a formula, {where}; write the plain number")
            return wrong(f'has a quote inside a text, {where}; write it twice, and the text in quotes: "a ""b"""')
        cells.append(plain if quoted is None else quoted.replace('""', '"'))
        if end == len(text):
            return Line(number, cells, "")
        if text[end] != separator:
            return wrong(f"has text after a closing quote, {where}; {SEPARATORS[separator]} must follow the quote")
        position = end + 1


def width_problem(cells: list[str], columns: int, separator: str) -> str:
    """Say that a line has another number of cells than the header, and why that may be."""
    text = f"has {len(cells)} columns, and the header has {columns}"
    other = next((each for each in SEPARATORS if each != separator and any(each in cell for cell in cells)), None)
    if len(cells) < columns and other is not None:
        name = SEPARATORS[separator].partition(" ")[2]
        return f"{text}; the columns must be separated by {name}s, not {escaped(other)}"
    if len(cells) > columns:
        text += f"; write a text or a number with {SEPARATORS[separator]} in quotes"
    return text
