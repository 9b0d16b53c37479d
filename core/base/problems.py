"""Makes one error of everything that is wrong with a request, by field and by row."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from core.base.decoding import MALFORMED, UNKNOWN_FIELD, Unread
from core.base.errors import ErrorCode, InvalidRequest, LedgerError

MAX_LISTED = 100
"""The largest number of problems that are listed. All of them are counted."""

Problems = Sequence[tuple[str, str]]
"""Pairs of field and text. An empty field stands for the whole request."""


@dataclass
class ProblemList:
    """Collects the first problems of many rows, and counts all of them."""

    number_name: str
    """The name of a row's number: ``row`` or ``index``."""
    listed: list[dict[str, Any]] = field(default_factory=list)
    count: int = 0

    def add(self, number: int, name: str, text: str) -> None:
        """Add a problem of a row: the name of its field, and what is wrong."""
        self.count += 1
        if len(self.listed) < MAX_LISTED:
            self.listed.append({self.number_name: number, "field": name, "message": text})

    def details(self) -> dict[str, Any]:
        """Make the ``details`` of an error: the listed problems in order of their rows, and the count of all."""
        self.listed.sort(key=itemgetter(self.number_name))
        return {"problems": self.listed, "problem_count": self.count}


def refusal(unread: Sequence[Unread], problems: Problems, code: ErrorCode, *, within: str = "") -> InvalidRequest:
    """Make the error of a request that has problems, or fields that cannot be read, or both.

    ``within`` is the path of the request in a larger body, such as ``transactions[3]``. The names of unreadable fields
    begin at the top of the body, and the names of other fields begin at the request.
    """
    problems = sorted(unexplained(unread, problems, within))
    fields = [(each.field or "body", each.text) for each in unread]
    joined = InvalidRequest(problems, code).message if problems else ""
    own = [(within, joined.removesuffix("."))] if problems and within else problems
    codes = [each.code for each in unread if each.code is not None]
    error = InvalidRequest([*fields, *own], MALFORMED if MALFORMED in codes else codes[0] if codes else code)
    if error.code == MALFORMED:
        error.message = f"Invalid input: {error.message.removesuffix('.')}"
    error.problems = [*((_inside(name, within), text) for name, text in fields), *problems]
    if codes:
        error.details = {"field": next(each.field or "body" for each in unread if each.code is not None)}
        if len(error.problems) > 1 and not within:
            listed = [{"field": name, "message": text} for name, text in error.problems[:MAX_LISTED]]
            error.details |= {"problems": listed, "problem_count": len(error.problems)}
    return error


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
    if problems.count > 1:
        error.details |= problems.details()
        for each in problems.listed:
            if each["index"] < 0:
                del each["index"]
    return error


def unexplained(unread: Iterable[Unread], problems: Problems, within: str = "") -> list[tuple[str, str]]:
    """Leave out the problems of fields that could not be read, because such a field only seems to be missing."""
    names = [_inside(each.field, within) for each in unread if each.code != UNKNOWN_FIELD]
    if "" in names:
        return []
    heads = {_head(name) for name in names} | {_other_of_two(name) for name in names}
    return [
        (name, text)
        for name, text in problems
        if heads.isdisjoint((name, name.removesuffix("s"))) and not any(_is_at_or_in(name, whole) for whole in names)
    ]


def _head(name: str) -> str:
    """Return the top-level field of a path, in the singular, because a rule names ``source`` also for ``sources``."""
    return name.partition("[")[0].partition(".")[0].removesuffix("s")


def _other_of_two(name: str) -> str:
    """Return the field that a rule names when both of two are missing: ``amount`` for ``precise_amount``."""
    above, dot, last = name.rpartition(".")
    return f"{above}{dot}{last.removeprefix('precise_')}"


def _is_at_or_in(name: str, whole: str) -> bool:
    return name == whole or name.startswith((f"{whole}.", f"{whole}["))


def _inside(name: str, within: str) -> str:
    return name.removeprefix(within).removeprefix(".") if within else name
