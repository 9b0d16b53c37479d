"""Generates the reference pages of the book from the code that they describe."""

import ast
import inspect
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from functools import partial
from typing import Any, NamedTuple

import blnk_sdk.services
import click

from core.base.actors import BY_WRITE, Right
from core.base.environment import variables
from core.base.errors import ErrorCode
from core.ledger.rules.model import RejectReason
from tests.harness.each_right import Case

Json = dict[str, Any]

_RULE = re.compile(r"<(?:[^:>]*:)?([^>]*)>")

_NOTE = "<!-- Generated: `ops/pacioli test tests/integration/docs --update-docs` writes this page. -->\n"


def command_line(root: click.Group) -> str:
    """The page of the command line: the help text of each command."""
    parts = [f"# Command line\n\n{_NOTE}\n`pacioli COMMAND --help` says the same.\n"]
    for context in _contexts(root, None):
        parts.append(f"## {context.command_path}\n\n```text\n{context.get_help().rstrip()}\n```\n")
    return "\n".join(parts)


def _contexts(command: click.Command, parent: click.Context | None) -> Iterator[click.Context]:
    """A context for a command and each of its subcommands. They inherit how help is asked for."""
    name = command.name if parent else "pacioli"
    width = {"terminal_width": 100, "max_content_width": 100} if parent is None else {}
    context = click.Context(command, parent=parent, info_name=name, **{**command.context_settings, **width})
    yield context
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            yield from _contexts(found, context)


def settings() -> str:
    """The page of the settings: every environment variable."""
    rows = [
        f"| `{each.name}` | {f'`{each.default}`' if each.default else ''} | {_cell(each.meaning)} |"
        for each in variables().values()
    ]
    in_files = ", ".join(f"`{each.file_name}`" for each in variables().values() if each.file_name)
    return (
        f"# Settings\n\n{_NOTE}\nSettings are environment variables. Each door checks all of them when it starts, and names "
        "every fault. `pacioli settings` prints the values that count, without secrets.\n\n"
        f"What is secret may be in a file instead: {in_files} name one. Its text counts, without the line break at its end. A "
        "file that other users may open is warned about.\n\n"
        "| name | default | meaning |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    )


def performance(found: Json) -> str:
    """The page of a run of ``pacioli bench --json``."""
    return (
        f"# Performance\n\n{_NOTE}\nOne run of `pacioli bench --json`, on {found['machine']}.\n\n"
        "A ratio compares two lines of the same run, so it holds on other machines too. So do the CPU microseconds of a "
        "row, of all parts of the service together, better than rates, which swing with what else a machine does. The load "
        "generator is on the same machine, and only the lines of append and drain are without HTTP. A *floor* is the least "
        "that must be done for the same rows.\n\n"
        "| work | ratio | to | CPU µs each | of which | a second |\n|---|---|---|---|---|---|\n"
        + "\n".join(_bench_row(row) for row in found["rows"])
        + "\n\nTo measure your own machine: `pacioli bench`. To compare with another server that speaks the same API, in one "
        "run, by what both *applied*: `pacioli bench --vs URL`. To see where the time goes: `pacioli bench --profile FOLDER` "
        "writes a file for <https://www.speedscope.app> for each kind of process.\n"
    )


def _bench_row(row: Json) -> str:
    ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
    cpu = "" if row["cpu_us"] is None else f"{row['cpu_us']:,.0f}"
    shares = ", ".join(f"{part} {share:.0%}" for part, share in (row["shares"] or {}).items() if share >= 0.02)
    units = {"time": f"{row['rate']:.1f} ms", "disk": f"{row['rate']:,.0f} bytes"}
    rate = units.get(row["name"].partition(" ")[0], f"{row['rate']:,.0f}")
    return f"| {row['name']} | {ratio} | {row['against']} | {cpu} | {shares} | {rate} |"


def errors(status_of: Mapping[str, int]) -> str:
    """The page of error codes, and of the reasons of rejections."""
    codes = "\n".join(f"| `{code}` | {status_of[code]} | {_cell(text)} |" for code, text in members(ErrorCode))
    reasons = "\n".join(f"| `{reason}` | {_cell(text)} |" for reason, text in members(RejectReason))
    return (
        f"# Error codes\n\n{_NOTE}\nEvery error is answered as `{{error, error_detail: {{code, message, details}}}}`. "
        "The message says what is wrong and what would be right. A program looks at the code. "
        "When fields are wrong, `details.problems` lists each with its `field` and a `message`, and with its `row` or "
        "`index` where many were sent; `details.problem_count` counts all.\n\n"
        f"| code | status | |\n|---|---|---|\n{codes}\n\n## Reasons of rejections\n\n"
        "A rejected transaction is no error: it is accepted, decided and kept. `rejection.reason` says which check it "
        "failed. The engine checks in this order.\n\n"
        f"| reason | |\n|---|---|\n{reasons}\n"
    )


def rights(routes: Mapping[str, Sequence[Right]], closed: Mapping[str, str], tried: Sequence[Case]) -> str:
    """The page of the rights: what each is for, which scope covers it, and which routes ask for it.

    ``closed`` has the routes that are closed to a bound key, and why. ``tried`` has the request that tries each right.
    """
    texts = dict(members(Right))
    rows = []
    shown = partial(_RULE.sub, r"{\1}")
    for right in Right:
        paths = (shown(route) for route, asks in routes.items() if right in asks)
        asking = ", ".join(f"`{path}`" for path in paths)
        by_write = "yes" if right in BY_WRITE and not right.endswith(":write") else ""
        rows.append(f"| `{right}` | {_cell(texts[right])} | {by_write} | {asking} |")
    return (
        f"# Rights and scopes\n\n{_NOTE}\nA route asks for a right, and a key has scopes. A scope is a right, or one with `*` in "
        "place of its resource or its action, or both. `write` also covers what the third column says. A route with several "
        "rights asks for the one that the request needs. A route that is in no row is closed to all but the master key. "
        "[Give each program a key](../how-to/keys.md) shows how to make one.\n\n"
        "| right | | covered by `write` | routes |\n|---|---|---|---|\n" + "\n".join(rows) + "\n\n"
        "## Reach\n\nA key that is bound to ledgers or `@Names` finds what it reaches, and nothing else, by every route but "
        "these, which are closed to it. [A decision](../decisions/0038-a-transaction-is-in-reach-with-both-sides.md) says what "
        "is in reach.\n\n| route | closed, because |\n|---|---|\n"
        + "".join(f"| `{shown(route)}` | {why} |\n" for route, why in closed.items())
        + "\n## Each right, tried\n\nA key with the right alone makes the request of its line, and a key with every other right "
        "is refused: 403, `AUTH_INSUFFICIENT_PERMISSIONS`, and the right in `details.required`. The test is "
        "`test_a_right_is_needed_and_is_enough` of `tests/integration/keys/test_each_right.py`, by the name of the right. A "
        "right that is not in this table is a name of Blnk's, and has no route in this release.\n\n"
        "| right | the request | the key has this right too | others do in its place |\n|---|---|---|---|\n"
        + "".join(
            f"| `{case.right}` | `{case.shown}` | {_names(case.beside)} | {_names(case.instead)} |\n" for case in tried
        )
    )


def members(kind: type[Enum]) -> Iterator[tuple[str, str]]:
    """The values of an enum, each with the text under it."""
    (tree,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(tree, ast.ClassDef)
    for member, note in itertools.pairwise([*tree.body, None]):
        if isinstance(member, ast.Assign) and isinstance(member.targets[0], ast.Name):
            text = note.value.value if isinstance(note, ast.Expr) and isinstance(note.value, ast.Constant) else ""
            value = kind[member.targets[0].id].value
            yield value if isinstance(value, str) else member.targets[0].id.lower(), str(text)


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def http_api(document: Json) -> str:
    """The page of the HTTP API: its endpoints, then its objects with every field."""
    parts = [
        f"# HTTP API\n\n{_NOTE}\n{document['info']['description']}\n",
        "`/docs` of a running service shows the same with examples, and calls every endpoint. `/openapi.json` is for "
        "programs.\n",
    ]
    tags: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            row = f"| `{method.upper()} {path}` | {_cell(operation['summary'])} |"
            tags.setdefault(operation["tags"][0], []).append(row)
    for tag, rows in tags.items():
        parts.append(f"## {tag.capitalize()}\n\n| endpoint | |\n|---|---|\n" + "\n".join(rows) + "\n")
    parts.append("## Objects\n\nA field with a star is always there.\n")
    for name, schema in document["components"]["schemas"].items():
        rows = [
            f"| `{field}`{'*' if field in schema.get('required', ()) else ''} | {_type(kind)} | "
            f"{_cell(kind.get('description', ''))} |"
            for field, kind in schema.get("properties", {}).items()
        ]
        if rows:
            parts.append(f"### {name}\n\n| field | type | |\n|---|---|---|\n" + "\n".join(rows) + "\n")
        elif "enum" in schema:
            parts.append(f"### {name}\n\nOne of {', '.join(f'`{one}`' for one in schema['enum'])}.\n")
    return "\n".join(parts)


def _type(schema: Json) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for both in ("anyOf", "oneOf"):
        if both in schema:
            return " or ".join(dict.fromkeys(_type(one) for one in schema[both]))
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    kind = schema.get("type", "anything")
    if isinstance(kind, list):
        return " or ".join(kind)
    return f"list of {_type(schema.get('items', {}))}" if kind == "array" else str(schema.get("format", kind))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


class Method(NamedTuple):
    """One method of Blnk's Python client, and the endpoint that it calls."""

    service: str
    name: str
    verb: str
    path: str


def blnk_methods() -> list[Method]:
    """Every method of Blnk's Python client, read from its source. Parts of a path that vary are ``{}``."""
    found = []
    for service, kind in blnk_sdk.services.default_services_map().items():
        (tree,) = ast.parse(inspect.getsource(kind)).body
        assert isinstance(tree, ast.ClassDef)
        for function in tree.body:
            if isinstance(function, ast.FunctionDef) and not function.name.startswith("_"):
                verb, path = _endpoint(function)
                found.append(Method(service, function.name, verb, f"/{path}"))
    return found


def _endpoint(function: ast.FunctionDef) -> tuple[str, str]:
    """The verb, and the path without its query, of the request that a method makes."""
    assigned: dict[str, ast.expr] = {}
    call: ast.Call | None = None
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    assigned.setdefault(target.id, node.value)
                elif isinstance(target, ast.Tuple) and isinstance(target.elts[-1], ast.Name):
                    assigned.setdefault(target.elts[-1].id, node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "_request":
            call = node
    assert call is not None, function.name
    where = call.args[0]
    if isinstance(where, ast.Name):
        where = assigned[where.id]
    if isinstance(where, ast.IfExp):
        where = where.orelse
    if isinstance(where, ast.Call):  # list_endpoint("balances", options)
        where = where.args[0]
    verb = call.args[2]
    assert isinstance(verb, ast.Constant), function.name
    if isinstance(where, ast.Constant):
        path = str(where.value)
    else:
        assert isinstance(where, ast.JoinedStr), (function.name, ast.dump(where))
        path = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in where.values)
    return str(verb.value), path.partition("?")[0]


def clients(document: Json) -> str:
    """The page of client libraries: which method of Blnk's client has an endpoint here."""
    methods = blnk_methods()
    rows, there = [], 0
    for method in methods:
        known = has_endpoint(document, method)
        there += known
        rows.append(
            f"| {method.service} | `{method.name}` | `{method.verb} {method.path}` | {'yes' if known else ''} |"
        )
    return (
        f"# Client libraries\n\n{_NOTE}\n## Blnk's clients\n\n"
        f"Of the {len(methods)} methods of `blnk-python`, {there} have an endpoint here. A test makes this table from the "
        "client's source and from the routes. The TypeScript client calls the same endpoints.\n\n"
        "| service | method | endpoint | here |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
    )


def has_endpoint(document: Json, method: Method) -> bool:
    """Whether a route answers a method of Blnk's client."""
    if method.name == "filter":
        return all(f"/{name}/filter" in document["paths"] for name in ("transactions", "balances", "ledgers"))
    pattern = re.escape(method.path).replace(r"\{\}", r"[^/]+")
    return any(
        re.fullmatch(pattern, path) and method.verb.lower() in operations
        for path, operations in document["paths"].items()
    )
