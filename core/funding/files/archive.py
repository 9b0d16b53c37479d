"""Reads the XML parts of a spreadsheet's archive piece by piece, within limits, whatever the archive claims of itself.

``.xlsx`` and ``.ods`` files are ZIP archives of XML. A few kilobytes of such a file may ask for gigabytes of memory, so the
bytes are counted as they come out, and so is the time. Entities and document types, which honest sheets have not, are refused.
"""

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from time import thread_time
from typing import Any, BinaryIO, Generic, TypeVar
from xml.parsers import expat

from core.base.errors import ErrorCode, InvalidRequest

MAX_ROWS = 200_000
"""The largest number of rows of a sheet that are read. A CSV has no such limit."""
MAX_ROW = 1_048_576
"""The last row that a sheet can have."""
MAX_BYTES = 512 * 1024 * 1024
"""The largest number of bytes of XML that are read of a file."""
MAX_PARTS = 5_000
MAX_SHEETS = 256
MAX_READING_S = 60.0
"""The processor time that reading may take. The rest of the machine, and storing the rows, do not count."""
_PIECE = 65_536
_MAX_TOKEN = 64
"""A tag or an attribute has at most so many pieces."""
_MAX_DEPTH = 100

T = TypeVar("T")

_BROKEN = (
    zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError, struct.error,
    OverflowError, KeyError, IndexError,
)  # fmt: skip
"""The errors that ``zipfile`` raises for archives that are no archives, or have a password."""


def unreadable(text: str) -> InvalidRequest:
    """Make the error of a file that cannot be read."""
    return InvalidRequest([("recipients", text)], ErrorCode.FND_INVALID_RECIPIENTS)


class Archive:
    """A spreadsheet's archive that is being read."""

    def __init__(self, stream: BinaryIO) -> None:
        stream.seek(0)
        try:
            self._zip = zipfile.ZipFile(stream)
            self.names = {each.filename: each for each in self._zip.infolist()}
        except _BROKEN as error:
            raise unreadable(f"the file is a damaged spreadsheet or archive ({_first_line(error)})") from None
        if len(self.names) > MAX_PARTS:
            raise unreadable(f"the spreadsheet has {len(self.names)} parts; at most {MAX_PARTS} are read")
        self._left = MAX_BYTES
        self._until = thread_time() + MAX_READING_S

    def pieces(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of a part.

        Raises:
            InvalidRequest: it is missing or damaged, or a limit is reached.
        """
        info = self.names.get(name)
        if info is None:
            raise unreadable(f"the spreadsheet is damaged: it has no {name[:100]}")
        if info.flag_bits & 0x1:
            raise unreadable("the spreadsheet has a password; save it without one")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise unreadable("the spreadsheet is compressed in an unusual way; save it anew in a spreadsheet program")
        try:
            with self._zip.open(info) as part:
                while piece := part.read(_PIECE):
                    self._left -= len(piece)
                    if self._left < 0:
                        raise unreadable(
                            f"the spreadsheet has more than {MAX_BYTES} bytes of XML; send the list as CSV"
                        )
                    if thread_time() > self._until:
                        raise unreadable(
                            f"the spreadsheet takes more than {MAX_READING_S:.0f} s of work to read; send the list as CSV"
                        )
                    yield piece
        except _BROKEN as error:
            raise unreadable(f"the spreadsheet is damaged ({_first_line(error)}); save it anew") from None


class Walk(Generic[T]):
    """Walks through the XML of a part, and yields what the handlers of a subclass put into ``ready``.

    Names come without their prefixes, because every program writes its own.
    """

    def __init__(self) -> None:
        self.ready: list[T] = []
        self.text: list[str] | None = None
        """The pieces of text that are being collected; None when none are."""
        self.is_done = False
        """True when the rest of the part is not needed."""
        self._events = self._depth = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Take the start of an element."""

    def end(self, name: str) -> None:
        """Take the end of an element."""

    def through(self, pieces: Iterator[bytes]) -> Iterator[T]:
        """Yield what is ready after each piece.

        Raises:
            InvalidRequest: the part is no XML, or is built to cost much.
        """
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler = self._data
        parser.StartDoctypeDeclHandler = _refuse_doctype
        silent = 0
        for piece in pieces:
            before = self._events
            self._feed(parser.Parse, piece, False)
            silent = 0 if self._events > before else silent + 1
            if silent > _MAX_TOKEN:
                raise unreadable("the spreadsheet is damaged: a part of it never ends")
            yield from self.ready
            self.ready.clear()
            if self.is_done:
                return
        self._feed(parser.Parse, b"", True)
        yield from self.ready

    def _feed(self, parse: Callable[..., Any], piece: bytes, is_final: bool) -> None:
        try:
            parse(piece, is_final)
        except expat.ExpatError as error:
            raise unreadable(
                f"the spreadsheet is damaged, or has a password ({_first_line(error)}); save it anew"
            ) from None
        except (ValueError, OverflowError, IndexError, ArithmeticError) as error:
            raise unreadable(f"the spreadsheet is damaged ({_first_line(error)}); save it anew") from None

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._events += 1
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise unreadable("the spreadsheet is damaged: its XML is nested too deep")
        if not self.is_done:
            self.start(name.rpartition(":")[2], attributes)

    def _end(self, name: str) -> None:
        self._events += 1
        self._depth -= 1
        if not self.is_done:
            self.end(name.rpartition(":")[2])

    def _data(self, text: str) -> None:
        self._events += 1
        if self.text is not None:
            self.text.append(text)


def local(attributes: dict[str, str], name: str) -> str | None:
    """Return an attribute by its name without a prefix."""
    found = attributes.get(name)
    if found is not None:
        return found
    suffix = ":" + name
    return next((value for key, value in attributes.items() if key.endswith(suffix)), None)


def _refuse_doctype(*_: object) -> None:
    raise unreadable("the spreadsheet has a document type, as no spreadsheet program writes it; save it anew")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:100]
