"""Makes one error of everything that is wrong with a request, by field and by row."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import starmap
from operator import itemgetter
from typing import Any, NamedTuple

from core.base.decoding import MALFORMED, UNKNOWN_FIELD, Unread
from core.base.errors import ErrorCode, InvalidRequest, LedgerError

MAX_LISTED = 100
"""The largest number of problems that are listed. All of them are counted."""


class Problem(NamedTuple):
    """One thing that is wrong with a request."""

    field: str
    """The name that the message begins with; empty where the text names the field itself, or for the whole request."""
    text: str
    fields: tuple[str, ...] = ()
    """All fields that the rule looks at, if it looks at others beside ``field``."""
    code: ErrorCode | None = None
    """The error code; None for the one that most rules of the request have."""

    def inside(self, place: str) -> "Problem":
        """Name the fields from the top of the body, where the request is at ``place``, such as ``recipients[3]``."""
        field = f"{place}.{self.field}" if self.field else place
        return self._replace(field=field, fields=tuple(f"{place}.{name}" for name in self.fields))


Problems = Sequence[tuple[str, str] | Problem]
"""A rule that looks at a single field may give a pair of field and text in place of a ``Problem``."""


@dataclass
class ProblemList:
    """Collects the first problems of many rows, and counts all of them."""

    number_name: str
    """The name of a row's number: ``row`` or ``index``."""
    listed: list[dict[str, Any]] = field(default_factory=list)
    count: int = 0
    max_listed: int = MAX_LISTED

    def add(self, number: int, name: str, text: str, given: str | None = None) -> None:
        """Add a problem of a row: the name of its field, and what is wrong. ``given`` is the text as it stands in a file."""
        self.count += 1
        if len(self.listed) < self.max_listed:
            problem = {self.number_name: number, "field": name, "message": text}
            self.listed.append(problem if given is None else {**problem, "text": given})

    def details(self) -> dict[str, Any]:
        """Make the ``details`` of an error: the listed problems in order of their rows, and the count of all."""
        self.listed.sort(key=itemgetter(self.number_name))
        return {"problems": self.listed, "problem_count": self.count}


def refusal(unread: Sequence[Unread], problems: Problems, code: ErrorCode, *, within: str = "") -> InvalidRequest:
    """Make the error of a request that has problems, or fields that cannot be read, or both.

    ``within`` is the path of the request in a larger body, such as ``transactions[3]``. The names of unreadable fields
    begin at the top of the body, and the names of other fields begin at the request.
    """
    own = unexplained(unread, problems, within)
    code = own[0].code or code if own else code
    own.sort(key=lambda each: (each.field, each.text))
    pairs = [(each.field, each.text) for each in own]
    fields = [(each.field or "body", each.text) for each in unread]
    joined = InvalidRequest(pairs, code).message if pairs else ""
    said = [(within, joined.removesuffix("."))] if pairs and within else pairs
    codes = [each.code for each in unread if each.code is not None]
    error = InvalidRequest([*fields, *said], MALFORMED if MALFORMED in codes else codes[0] if codes else code)
    if error.code == MALFORMED:
        error.message = f"Invalid input: {error.message.removesuffix('.')}"
    error.problems = [(_inside(name, within), text) for name, text in fields]
    error.problems += [(each.field or next(iter(each.fields), ""), each.text) for each in own]
    if within:
        error.details = {"field": f"{within}.{error.problems[0][0]}".removesuffix(".")}
    return error


def details_of(error: LedgerError) -> Any:
    """Return the ``details`` of an error, with every field that is wrong: its name, what is wrong and what would be right.

    A list keeps Blnk's form, and a request whose error names no field gets nothing added.
    """
    named = [name for name, _ in error.problems if name]
    if not named or not isinstance(error, InvalidRequest) or isinstance(error.details, list):
        return error.details
    listed = [{"field": name, "message": text} for name, text in error.problems[:MAX_LISTED]]
    told = {"field": named[0], "problems": listed, "problem_count": len(error.problems)}
    return {**told, **(error.details or {})}


def refusal_of_batch(failures: Mapping[int, LedgerError]) -> LedgerError:
    """Make the error of a batch: the error of its first wrong row, with the problems of all rows in ``details``.

    ``failures`` has the error of each wrong row, by index. The index -1 is the body around the rows.
    """
    problems = ProblemList("index")
    for index in sorted(failures):
        for name, text in failures[index].problems:
            problems.add(index, name, text)
    first = min(failures)
    error = failures[first]
    error.details = {**(error.details or {}), **({"index": first} if first >= 0 else {})}
    if problems.count > len(error.problems):
        error.message = (
            f"{error.message.removesuffix('.')}; {problems.count - len(error.problems)} more problems in details"
        )
    error.details |= problems.details()
    for each in problems.listed:
        if each["index"] < 0:
            del each["index"]
    return error


def unexplained(unread: Iterable[Unread], problems: Problems, within: str = "") -> list[Problem]:
    """Leave out the problems of fields that could not be read, because such a field only seems to be missing."""
    names = [_inside(each.field, within) for each in unread if each.code != UNKNOWN_FIELD]
    if "" in names:
        return []
    return [each for each in starmap(Problem, problems) if not any(_looks_at(each, name) for name in names)]


def _looks_at(problem: Problem, name: str) -> bool:
    """Say whether the rule looks at a field, at a part of the field, or at a field that contains it."""
    return any(_is_at_or_in(name, one) or _is_at_or_in(one, name) for one in (problem.fields or (problem.field,)))


def _is_at_or_in(name: str, whole: str) -> bool:
    return name == whole or name.startswith((f"{whole}.", f"{whole}["))


def _inside(name: str, within: str) -> str:
    return name.removeprefix(within).removeprefix(".") if within else name
