"""Everything that is wrong with a request, in one answer: by field, and by row where there are many."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from core.base.decoding import MALFORMED, UNKNOWN_FIELD, Unread
from core.base.errors import ErrorCode, InvalidRequest, LedgerError

MAX_LISTED = 100
"""Problems that are listed. All are counted."""

Problems = Sequence[tuple[str, str]]
"""Pairs of field and text. An empty field is the whole request."""


@dataclass
class ProblemList:
    """The first problems of many rows, and how many there are."""

    place: str
    """What a row's number is called: ``row`` or ``index``."""
    listed: list[dict[str, Any]] = field(default_factory=list)
    count: int = 0

    def add(self, number: int, name: str, text: str) -> None:
        self.count += 1
        if len(self.listed) < MAX_LISTED:
            self.listed.append({self.place: number, "field": name, "message": text})

    def details(self) -> dict[str, Any]:
        self.listed.sort(key=itemgetter(self.place))
        return {"problems": self.listed, "problem_count": self.count}


def refusal(unread: Sequence[Unread], problems: Problems, code: ErrorCode, *, within: str = "") -> InvalidRequest:
    """The error of a request that has problems, or fields that cannot be read, or both.

    ``within`` is where the request stands in a larger body, such as ``transactions[3]``. The fields that cannot be read are
    named from the top of the body, and the others from the request.
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
    """The error of a batch: that of the first row that has one, with the problems of all in ``details``.

    ``failures`` are by index. What is wrong with the body around the rows has -1.
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
    """Problems of fields that were read. A field that was not has no value, and is not missing for that."""
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
    """The field at the top of the body that this one is, or is a part of. A rule names ``source`` also for ``sources``."""
    return name.partition("[")[0].partition(".")[0].removesuffix("s")


def _other_of_two(name: str) -> str:
    """The field that a rule names when it and this one are both missing: ``amount`` for ``precise_amount``."""
    above, dot, last = name.rpartition(".")
    return f"{above}{dot}{last.removeprefix('precise_')}"


def _is_at_or_in(name: str, whole: str) -> bool:
    return name == whole or name.startswith((f"{whole}.", f"{whole}["))


def _inside(name: str, within: str) -> str:
    return name.removeprefix(within).removeprefix(".") if within else name
