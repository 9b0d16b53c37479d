"""Finds the header of a file, and which of our fields each of its columns is.

A header may stand under a title, may write the names in any case, and may have names of its own, which ``columns`` of the
request maps to ours. A column is never left out because its name is not known: it may be a mistyped one.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from core.base.errors import ErrorCode, InvalidRequest
from core.base.names import escaped
from core.funding.files.cells import Line
from core.funding.requests import FileTerms

COLUMNS = ("destination", "amount", "precise_amount", "description", "currency")
"""The columns that a file may have."""
META_DATA = "meta_data."
"""A column may be mapped to a field of the metadata, such as ``meta_data.team``."""
IGNORED = "ignore"
"""A column that is mapped to this is left out."""
ROW, WHY = "row", "why"
"""The columns of a file of rejects that say which row it was and why. They are left out when such a file is read."""

LOOKED_AT = 20
"""The header is one of so many first lines that are not blank."""
_GUESSED = 100
"""The meaning of so many unknown columns is guessed, because each guess compares a name with all that are known."""
_NAMED = 10
"""So many columns are named in a text."""

_OF_ROWS = {"row", "destination", "precise_amount", "status", "transaction_id"}
"""The columns by which the CSV of a run's rows is known."""
_BLANKS = " \t\u00a0\ufeff"
_SYNONYMS = {
    "destination": (
        "wallet wallet_id walletid account account_id account_number balance balance_id to recipient recipient_id payee "
        "beneficiary customer customer_id employee_id user_id id indicator konto empfaenger empfänger compte destinataire"
    ),
    "amount": (
        "value sum total payment pay salary net net_pay payout credit usd eur amount_usd amount_eur betrag summe wert "
        "montant importe"
    ),
    "description": (
        "note notes memo text comment comments purpose details reason subject message beschreibung verwendungszweck "
        "libelle libellé"
    ),
    "precise_amount": "cents minor minor_units amount_cents amount_minor",
    "currency": "ccy cur waehrung währung devise",
}
_NEAR = {name: ours for ours, names in _SYNONYMS.items() for name in names.split()}


class Header(NamedTuple):
    """The header of a file."""

    number: int
    """The number of its line or row."""
    texts: list[str]
    """The names of the columns, as they stand there."""
    names: list[str]
    """The meaning of each column: one of ``COLUMNS``, ``meta_data.x``, or empty for one that is left out."""
    places: dict[str, int]
    """The places of the columns that are read, by name."""
    unnamed: frozenset[int]
    """The places of columns without a name, which must be blank in every row."""
    status: int | None
    """The place of the status, in the CSV of a run's rows; None in any other file."""
    is_ours: bool
    """True for a file that Pacioli wrote: the rows of a run, or rejects."""
    said: frozenset[int]
    """The places of the columns that Pacioli wrote into a file of rejects."""


class NoHeader(InvalidRequest):
    """The header is missing or not right. ``proposal`` is what the request may say, with a question that proposes it."""

    def __init__(self, text: str, proposal: tuple[str, dict[str, object]] | None = None) -> None:
        example = "the first line must be a header such as destination,amount,description"
        super().__init__([("recipients", f"{text}: {example}")], ErrorCode.FND_INVALID_RECIPIENTS)
        self.proposal = proposal


def is_header(cells: Sequence[str], terms: FileTerms) -> bool:
    """Say whether a line names at least a destination and an amount."""
    names = {_named(cell, _mapping(terms)) for cell in cells}
    return "destination" in names and not names.isdisjoint(("amount", "precise_amount"))


def header_of(lines: Iterable[Line], terms: FileTerms) -> Header:
    """Return the header among the first lines of a file.

    Raises:
        NoHeader: there is none, or something is wrong with it.
    """
    before: list[Line] = []
    for line in lines:
        if not line.problem and is_header(line.cells, terms):
            header = _header(line, terms)
            for each in before:
                if _looks_like_row(each.cells, header):
                    raise NoHeader(
                        f"the header is line {line.number}, and line {each.number} above it looks like a row"
                    )
            return header
        before.append(line)
    if not before:
        raise NoHeader("it is empty")
    if wrong := next((line for line in before if line.problem), None):
        raise NoHeader(f"line {wrong.number} {wrong.problem}")
    known = {*COLUMNS, *_mapping(terms)}
    best = max(before, key=lambda line: sum(_folded(cell) in known for cell in line.cells))
    if not any(_folded(cell) in known for cell in best.cells):
        best = next((line for line in before if sum(map(bool, line.cells)) > 1), before[0])
    _header(best, terms)
    raise AssertionError("a line that is no header has something wrong with it")


def first_few(columns: Sequence[str]) -> str:
    """Name columns in a text. Of many it names the first, and says how many more there are."""
    named = ", ".join(map(escaped, columns[:_NAMED]))
    return named if len(columns) <= _NAMED else f"{named} and {len(columns) - _NAMED:,} more"


def _header(line: Line, terms: FileTerms) -> Header:
    """Make the header of a line.

    Raises:
        NoHeader: a column is not known or there twice, or a needed one is missing.
    """
    mapping = _mapping(terms)
    texts = [cell.strip(_BLANKS) for cell in line.cells]
    folded = [_folded(text) for text in texts]
    if absent := [name for name in mapping if name not in folded]:
        there = first_few([text for text in texts if text])
        raise NoHeader(f"there is no column {escaped(absent[0])} to map, in line {line.number}; there are {there}")
    is_of_rows = set(folded) >= _OF_ROWS
    said = frozenset(folded.index(name) for name in (ROW, WHY)) if {ROW, WHY} <= set(folded) else frozenset()
    is_ours = is_of_rows or bool(said)
    names: list[str | None] = [_named(text, mapping) for text in texts]
    for place, name in enumerate(folded):
        if place in said or (is_of_rows and (names[place] is None or name == "amount")):
            names[place] = ""
    unknown = [place for place, name in enumerate(names) if name is None]
    for place in unknown:
        if terms.extra is not None:
            names[place] = META_DATA + texts[place] if terms.extra == "keep" else ""
    if unknown and terms.extra is None:
        raise _unknown(texts, names, unknown)
    found = [name or "" for name in names]
    places = {name: place for place, name in enumerate(found) if name}
    counts = Counter(found)
    if twice := next((name for name in places if counts[name] > 1), None):
        raise NoHeader(f"the column {twice} is there twice")
    if "destination" not in places or ("amount" in places) == ("precise_amount" in places):
        raise NoHeader("it must have destination, and either amount or precise_amount")
    unnamed = frozenset(place for place, text in enumerate(texts) if not text)
    status = folded.index("status") if is_of_rows else None
    return Header(line.number, texts, found, places, unnamed, status, is_ours, said)


def _unknown(texts: list[str], names: Sequence[str | None], unknown: list[int]) -> NoHeader:
    """Make the error of columns that are not known, with a proposal of what they may be."""
    taken = {name for name in names if name}
    if "precise_amount" in taken:
        taken.add("amount")
    proposed: dict[str, str] = {}
    for place in unknown[:_GUESSED]:
        ours = _nearest(_folded(texts[place]))
        if ours is not None and ours not in taken:
            proposed[texts[place]] = ours
            taken.add(ours)
            if ours == "precise_amount":
                taken.add("amount")
    first = texts[unknown[0]]
    hint = f"; did you mean {proposed[first]}?" if first in proposed else ""
    if any(each in first for each in (";", "\t")):
        hint = "; the columns must be separated by commas, or all by semicolons or tabs"
    text = f"there is no column {escaped(first)}; there are {', '.join(COLUMNS)}{hint}"
    if proposed:
        pairs = " and ".join(f"{escaped(theirs)} the {ours}" for theirs, ours in proposed.items())
        return NoHeader(text, (f"Is {pairs}?", {"columns": proposed}))
    if "destination" in taken and not taken.isdisjoint(("amount", "precise_amount")):
        others = first_few([texts[place] for place in unknown])
        text = f"{text}; other columns can be kept as metadata, or ignored, if the request says so"
        return NoHeader(text, (f"Shall the columns {others} be kept as metadata?", {"extra": "keep"}))
    return NoHeader(text)


def _nearest(name: str) -> str | None:
    if name in _NEAR:
        return _NEAR[name]
    near = get_close_matches(name, [*COLUMNS, *_NEAR], 1, 0.8)
    return _NEAR.get(near[0], near[0]) if near else None


def _mapping(terms: FileTerms) -> Mapping[str, str]:
    return {_folded(theirs): ours for theirs, ours in (terms.columns or {}).items()}


def _named(text: str, mapping: Mapping[str, str]) -> str | None:
    """Return what a column is: empty when it has no name or is left out, None when its name is not known."""
    name = _folded(text)
    if name in mapping:
        ours = mapping[name]
        return "" if ours == IGNORED else ours
    return name if name in COLUMNS or not name else None


def _folded(text: str) -> str:
    """Write a name so that case, blanks around and between the words, and hyphens make no difference."""
    return (
        re.sub(r"[ \t\u00a0\n\r-]+", "_", text.strip(_BLANKS).casefold()) if not text.isidentifier() else text.lower()
    )


def _looks_like_row(cells: Sequence[str], header: Header) -> bool:
    """Say whether a line above the header may be a row that would be lost."""
    place = header.places["destination"]
    cell = cells[place].strip(_BLANKS) if place < len(cells) else ""
    return cell.startswith(("@", "bln_"))
