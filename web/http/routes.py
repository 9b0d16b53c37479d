"""Guesses the route that a caller meant when no route has the path or the method."""

import re
from collections.abc import Iterator
from difflib import SequenceMatcher

from werkzeug.routing import Map

_CLOSE = 0.7
"""The likeness of two paths, from 0 to 1, at which one is suggested for the other."""
_OTHER_METHOD = 0.1
"""A route with the method that was asked for is preferred to one that is as near."""
_PLACEHOLDER = re.compile(r"<(?:\w+:)?(\w+)>")


def nearest(routes: Map, method: str, path: str) -> str | None:
    """Find the route that is most like a path, such as ``POST /transactions``, or return None if none is much like it."""
    score, route = max(_scored(routes, method, path), default=(0.0, ""))
    return route if score >= _CLOSE else None


def _scored(routes: Map, method: str, path: str) -> Iterator[tuple[float, str]]:
    for rule in routes.iter_rules():
        likeness = SequenceMatcher(None, path[:200], _filled(rule.rule, path[:200])).ratio()
        for each in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            route = _PLACEHOLDER.sub(r"{\1}", rule.rule)
            yield likeness - (_OTHER_METHOD if each != method else 0.0), f"{each} {route}"


def _filled(rule: str, path: str) -> str:
    """Fill the placeholders of a rule with the parts of a path, so that IDs do not make the two less alike.

    A path that begins with a word, such as ``/multi-search``, is not like a rule that begins with an ID.
    """
    given = path.split("/")
    parts = rule.split("/")
    return "/".join(
        given[place]
        if _PLACEHOLDER.fullmatch(part) and place < len(given) and (place > 1 or "_" in given[place])
        else part
        for place, part in enumerate(parts)
    )
