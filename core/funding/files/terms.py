"""Checks what a request says of how its file is read."""

from core.base.names import escaped
from core.base.problems import Problem
from core.base.sizes import MAX_NAME
from core.funding.files.columns import COLUMNS, IGNORED, META_DATA
from core.funding.files.numbers import MARKS
from core.funding.requests import FileTerms

EXTRAS = ("keep", "ignore")
"""The possible fates of columns that nobody has named."""
MAX_COLUMNS = 256
"""The largest number of columns that a file may have."""
MAX_WITHOUT = 100_000
"""The largest number of rows that may be left out by their numbers."""

Found = list[tuple[str, str] | Problem]


def file_problems(terms: FileTerms | None, has_file: bool) -> Found:
    """List what is wrong with the terms of a file."""
    if terms is None:
        return []
    if not has_file:
        return [("file", "says how a file is read, and no file is sent")]
    problems: Found = []
    if terms.sheet is not None and not (terms.sheet.strip() and len(terms.sheet) <= MAX_NAME):
        problems.append(("file.sheet", f"must be the name of a sheet or its number, of at most {MAX_NAME} characters"))
    if terms.extra is not None and terms.extra not in EXTRAS:
        problems.append(("file.extra", f"must be one of {', '.join(EXTRAS)}"))
    if terms.decimal is not None and terms.decimal not in MARKS:
        problems.append(("file.decimal", 'must be "." or ","'))
    rows = terms.without_rows or ()
    if len(rows) > MAX_WITHOUT:
        problems.append(("file.without_rows", f"has {len(rows)} rows; at most {MAX_WITHOUT} are allowed"))
    if wrong := next((row for row in rows if row < 1), None):
        problems.append(("file.without_rows", f"must be numbers of rows, from 1, not {wrong}"))
    return problems + _columns_problems(terms.columns or {})


def _columns_problems(columns: dict[str, str]) -> Found:
    if len(columns) > MAX_COLUMNS:
        return [("file.columns", f"has {len(columns)} columns; at most {MAX_COLUMNS} are allowed")]
    problems: Found = []
    seen: set[str] = set()
    for theirs, ours in columns.items():
        if not theirs.strip() or len(theirs) > MAX_NAME:
            problems.append(("file.columns", f"must name columns, in at most {MAX_NAME} characters"))
        elif ours not in (*COLUMNS, IGNORED) and not (ours.startswith(META_DATA) and ours != META_DATA):
            known = f"{', '.join(COLUMNS)}, {META_DATA} and a name, or {IGNORED}"
            problems.append(("file.columns", f"maps {escaped(theirs)} to {escaped(ours)}; there are {known}"))
        elif ours in seen:
            problems.append(("file.columns", f"maps two columns to {escaped(ours)}"))
        if ours != IGNORED:
            seen.add(ours)
    return problems
