"""Finds the rule of most requests by one or two lookups, in front of werkzeug's matcher.

The table is made from the rules of the map, so there is one list of routes. It knows the rules without a parameter, and those
with one that is a whole step of the path. Where another rule could take the same path, and wherever the table has no answer,
werkzeug decides: its refusals, and all that is rare, are its own.
"""

from typing import Any, NamedTuple

from werkzeug.routing import Map, Rule, UnicodeConverter

Found = tuple[Rule, dict[str, Any]]

_Key = tuple[str, str, str]
"""A method, the path before the parameter and the step after it."""


class Table:
    """The rules of a map that need no search."""

    def __init__(self, routes: Map) -> None:
        routes.update()
        paths = [_path_of(rule) for rule in routes.iter_rules()]
        searched = [path for path in paths if path.rule.arguments]  # werkzeug looks the others up whole.
        self._whole: dict[tuple[str, str], Rule] = {}
        self._last: dict[tuple[str, str], tuple[Rule, str]] = {}
        self._last_but_one: dict[_Key, tuple[Rule, str]] = {}
        for path in paths:
            rule, steps = path.rule, path.steps
            if not _is_plain(rule) or steps[0] != "":
                continue
            if not rule.arguments:
                for method in path.methods:
                    self._whole.setdefault((method, rule.rule), rule)
                continue
            if len(rule.arguments) != 1 or any(_may_be_before(other, path) for other in searched if other is not path):
                continue
            (name,) = rule.arguments
            converter = rule._converters[name]
            if type(converter) is not UnicodeConverter or f"<{name}>" not in steps:
                continue
            for method in path.methods:
                if steps[-1] == f"<{name}>":
                    self._last[method, "/".join(steps[:-1])] = rule, name
                elif steps[-2] == f"<{name}>":
                    self._last_but_one[method, "/".join(steps[:-2]), steps[-1]] = rule, name

    def find(self, method: str, path: str) -> Found | None:
        """Find the rule of a path that is all ASCII, and the parameter. None says that werkzeug must look."""
        whole = self._whole.get((method, path))
        if whole is not None:
            return whole, {}
        before, _, last = path.rpartition("/")
        found = self._last.get((method, before))
        if found is not None:
            return (found[0], {found[1]: last}) if last else None
        before, _, name = before.rpartition("/")
        found = self._last_but_one.get((method, before, last))
        return (found[0], {found[1]: name}) if found is not None and name else None


class _Path(NamedTuple):
    """The facts of a rule that the table asks for many times."""

    rule: Rule
    steps: list[str]
    methods: set[str]
    """The methods that the table knows. Flask answers OPTIONS with what werkzeug says."""
    takes_more: bool
    """Whether a parameter may be several steps."""


def _path_of(rule: Rule) -> _Path:
    takes_more = any(not converter.part_isolating for converter in rule._converters.values())
    return _Path(rule, rule.rule.split("/"), (rule.methods or set()) - {"OPTIONS"}, takes_more)


def _is_plain(rule: Rule) -> bool:
    """Tell whether nothing but the path and the method says whether a rule takes a request, and it redirects to none."""
    return not (
        rule.redirect_to or rule.defaults or rule.alias or rule.websocket or rule.strict_slashes or rule.build_only
        or rule.subdomain or rule.host
    )  # fmt: skip


def _may_be_before(other: _Path, one: _Path) -> bool:
    """Tell whether werkzeug may take another rule for a path that this one matches.

    It goes step by step, and tries a step that is spelled out first.
    """
    mine, theirs = one.steps, other.steps
    if len(theirs) > len(mine) or (len(theirs) < len(mine) and not other.takes_more):
        return False
    if one.methods.isdisjoint(other.methods) and other.rule.methods is not None:
        return False
    for here, there in zip(mine, theirs, strict=False):
        if here != there:
            return "<" in here  # Else ours is tried first here, or theirs is another path.
    return True
