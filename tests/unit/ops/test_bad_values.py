"""Every command ends in one sentence when the value of an option is bad, and nothing of a service is there."""

from collections.abc import Iterator
from pathlib import Path

import click
import httpx
import pytest
from click.testing import CliRunner, Result

from core.base.environment import variables
from ops.cli import service
from ops.cli.main import main
from ops.numbers import Whole

UNSET = {variable.name: None for variable in variables().values()}
STARTS = ("up", "bench", "torture", "docs")
"""Commands that start processes when all their options are good."""
BEGINNINGS = {("fund",): ("--source", "bln_x", "--ledger", "ldg_x", "--amount", "1")}
"""Options that a command needs beside the one that is bad."""
ARGUMENTS = {"count": "8", "precision": "100"}
"""Good arguments where a name will not do."""


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Each command that can be run, with its words."""
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield (*path, name), command


COMMANDS = dict(commands(main))


@pytest.fixture
def bad_values(tmp_path: Path) -> list[str]:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"\xff\x00")
    paths = [str(tmp_path / name) for name in ("missing", "folder", "file")]
    urls = ["nonsense", "ftp://host", "http://", "http://[", "http://host:99999"]
    return [
        "99999",
        "-1",
        "1" * 20,
        "text",
        "nan",
        "",
        "schl\N{LATIN SMALL LETTER U WITH DIAERESIS}ssel",
        "\udcff",
        *urls,
        *paths,
    ]


def run(*arguments: str, **environ: str) -> Result:
    return CliRunner(env={**UNSET, **environ}).invoke(main, arguments)


def least(parameter: click.Parameter) -> int:
    assert isinstance(parameter.type, Whole)
    return parameter.type.min or 0


def refused(result: Result, *given: str) -> None:
    assert isinstance(result.exception, SystemExit), (given, result.exception)
    assert result.exit_code == 2, (given, result.output)
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: "), (given, result.stderr)


@pytest.fixture
def nothing_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    monkeypatch.setattr(service, "TRANSPORT", httpx.MockTransport(fail))
    monkeypatch.setattr("pacioli_client.wire.sleep", lambda _: None)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_a_bad_value_is_one_sentence(
    path: tuple[str, ...], bad_values: list[str], nothing_answers: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    command = COMMANDS[path]
    if path[0] in STARTS:  # Values that are good for one of these would start it.
        monkeypatch.setattr(command, "callback", lambda **_: click.get_current_context().fail("would start"))
    names = {option for parameter in command.params for option in parameter.opts}
    where = ["--data", str(tmp_path), *(["--url", "http://127.0.0.1:1"] if "--url" in names else [])]
    where = where if "--data" in names else []
    arguments = [parameter for parameter in command.params if isinstance(parameter, click.Argument)]
    if path in BEGINNINGS:
        arguments = []
    good = [ARGUMENTS.get(str(argument.name), "NAME") for argument in arguments]
    beginning = BEGINNINGS.get(path, ())
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.is_flag:
            for value in bad_values:
                given = (*path, *where, *beginning, f"{parameter.opts[0]}={value}", "--", *good)
                refused(run(*given), *given)
    for position in range(len(good)):
        for value in bad_values:
            given = (*path, *where, "--", *good[:position], value, *good[position + 1 :])
            refused(run(*given), *given)


@pytest.mark.parametrize("path", [path for path in COMMANDS if path[0] in STARTS], ids=" ".join)
def test_what_starts_processes_refuses_a_bad_value_before(
    path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(COMMANDS[path], "callback", lambda **_: pytest.fail("it would start"))
    for parameter in COMMANDS[path].params:
        if parameter.name == "port":
            for port in ("99999", "-1", "text", ""):
                refused(run(*path, f"--port={port}"), port)
        elif isinstance(parameter.type, click.types.IntParamType):
            too_small = ["-1", "0"][: least(parameter) + 1]
            for number in ("text", "", "1.5", "1_0", " 9", "\u0661", *too_small):
                refused(run(*path, f"{parameter.opts[0]}={number}"), number)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_a_whole_number_is_written_in_digits(path: tuple[str, ...]) -> None:
    for parameter in COMMANDS[path].params:
        number = parameter.type
        assert type(number) not in (click.types.IntParamType, click.IntRange, click.FloatRange), parameter.name
        if isinstance(number, Whole):
            for text in ("1_0", " 9", "9 ", "\u0661", "1.", "9" * 5000, ""):
                with pytest.raises(click.BadParameter, match="is not a whole number such as 12"):
                    number.convert(text, parameter, None)


def test_a_host_without_an_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(COMMANDS["up",], "callback", lambda **_: pytest.fail("it would start"))
    for host in ("no such host", "127.0.0.999", "\udcff"):
        result = run("up", "--host", host)
        refused(result, host)
        assert "has no address" in result.stderr


def test_a_checkout_without_its_environment_is_refused(tmp_path: Path) -> None:
    result = run("bench", "--checkout", str(tmp_path))
    refused(result)
    assert f"{tmp_path} has no .venv" in result.stderr


def test_a_list_that_is_no_file_is_refused(tmp_path: Path) -> None:
    for name in (tmp_path / "missing.csv", tmp_path):
        result = run("fund", str(name), "--source", "bln_x")
        refused(result)
        assert str(name) in result.stderr


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "http://host/db",
        "postgresql://",
        "postgresql://[",
        "postgresql://host:text/db",
        "postgresql://h:99999/db",
    ],
)
@pytest.mark.parametrize("command", [("migrate",), ("identity",), ("verify",)])
def test_a_bad_database_is_one_sentence(command: tuple[str, ...], url: str) -> None:
    refused(run(*command, DATABASE_URL=url), url)


def test_a_key_that_cannot_be_sent_is_one_sentence(nothing_answers: None, tmp_path: Path) -> None:
    file = tmp_path / "key"
    for key in ("schl\N{LATIN SMALL LETTER U WITH DIAERESIS}ssel", "a\nb"):
        file.write_text(key)
        result = run("queues", "--url", "http://127.0.0.1:1", PACIOLI_KEY=key)
        refused(result)
        assert "give another with --key-file or PACIOLI_KEY" in result.stderr
        refused(run("queues", "--url", "http://127.0.0.1:1", "--key-file", str(file)), key)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=map(" ".join, COMMANDS))
def test_no_secret_is_an_argument_which_other_users_see(command: click.Command) -> None:
    names = {name.strip("-") for parameter in (*command.params, *main.params) for name in parameter.opts}
    assert not names & {"key", "password", "secret", "token", "chain-key"}
