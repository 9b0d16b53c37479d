"""Every command ends in one sentence and an exit status, whatever its options and arguments are."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import click
import pytest
from click.testing import CliRunner, Result

from ops.cli import main as cli
from ops.cli.main import COMMANDS, main

NOBODY = "http://127.0.0.1:9"
NO_DATABASE = "postgresql://nobody:secret@127.0.0.1:9/none"
STARTS = {"up", "docs", "bench", "torture", "top"}
"""Commands that start processes when their options are right. They only get values that cannot be."""

T = TypeVar("T")

_PATHS = ["", " ", "\n", "\udcff", "\u200b@A"]
_TEXTS = [*_PATHS, "\x00", "@" + "x" * 5_000, "-1", "9" * 400, "1e999", "nan"]


def _walk(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    if path and command.invoke_without_command:
        yield path, command
    with click.Context(command) as ctx:
        for name in command.list_commands(ctx):
            found = command.get_command(ctx, name)
            assert found is not None
            yield from _walk(found, (*path, name))


EVERY = list(_walk(main, ()))


def _good(parameter: click.Parameter, folder: Path) -> str:
    """Return a value that a parameter takes, for the parameters beside the one that is tried."""
    kind = parameter.type
    if isinstance(kind, click.Choice):
        return str(next(iter(kind.choices)))
    if isinstance(kind, (click.Path, click.File)):
        (folder / "list.csv").write_text("destination,amount\n@A,1\n")
        return str(folder / "list.csv")
    return "1" if kind.name in ("integer", "integer range", "float", "float range", "number") else "USD"


def _values(parameter: click.Parameter, folder: Path) -> list[str]:
    binary = folder / "binary"
    binary.write_bytes(bytes(range(256)))
    (folder / "empty").touch()
    if isinstance(parameter.type, (click.Path, click.File)):
        return [
            *_PATHS,
            str(folder),
            str(folder / "none" / "none"),
            str(binary),
            str(folder / "empty"),
            "/dev/null/x",
        ]
    return [*_TEXTS, str(folder)]


def _run(arguments: list[str], folder: Path, **env: str) -> Result:
    given = {"DATABASE_URL": NO_DATABASE, "PACIOLI_URL": NOBODY, "PACIOLI_DATA": str(folder / "data"), **env}
    return CliRunner().invoke(main, arguments, env=given, input="")


def _assert_one_sentence(result: Result, what: object) -> None:
    assert result.exception is None or isinstance(result.exception, SystemExit), (what, result.exception)
    assert "Traceback" not in result.output, what
    assert "unexpected" not in result.output, (what, result.output)
    assert "secret" not in result.output, what
    if result.exit_code:
        lines = result.stderr.strip().splitlines()
        assert 1 <= len(lines) <= 6, (what, result.stderr)
        assert any(line.startswith("Error: ") for line in lines), (what, result.stderr)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for a service that is away."""
    monkeypatch.setattr("pacioli_client.wire.TRIES", 1)


@pytest.mark.parametrize(("path", "command"), EVERY, ids=[" ".join(path) for path, _ in EVERY])
def test_a_command_ends_in_a_sentence_whatever_a_value_is(
    path: tuple[str, ...], command: click.Command, tmp_path: Path
) -> None:
    required = [each for each in command.params if isinstance(each, click.Argument)]
    takers = [each for each in command.params if _takes_a_value(path, each)]
    for parameter, value in _pairs(takers, tmp_path):
        if path[0] in STARTS and value.strip().lstrip("-").isdigit():
            continue
        beside = [value if each is parameter else _good(each, tmp_path) for each in required]
        option = [] if isinstance(parameter, click.Argument) else [parameter.opts[-1], value]
        result = _run([*path, *option, "--", *beside], tmp_path)
        _assert_one_sentence(result, (path, parameter.name, value))
    assert takers or path[0] in STARTS or all(getattr(each, "is_flag", False) for each in command.params)


def _takes_a_value(path: tuple[str, ...], parameter: click.Parameter) -> bool:
    is_flag = isinstance(parameter, click.Option) and parameter.is_flag
    is_refused = parameter.type.name in ("integer", "integer range", "float", "float range", "choice", "number")
    return not (is_flag or parameter.name == "help" or (path[0] in STARTS and not is_refused))


def _pairs(takers: list[click.Parameter], folder: Path) -> Iterator[tuple[click.Parameter, str]]:
    """Pair each bad value with one parameter of its type, and each parameter with one bad value at least."""
    for are_paths in (True, False):
        alike = [each for each in takers if isinstance(each.type, (click.Path, click.File)) == are_paths]
        if alike:
            values = _values(alike[0], folder)
            for turn in range(max(len(values), len(alike))):
                yield alike[turn % len(alike)], values[turn % len(values)]


# click leaves a file to the end of the process when another option is refused after it was opened.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("path", "command"), EVERY, ids=[" ".join(path) for path, _ in EVERY])
def test_a_command_ends_in_a_sentence_whatever_the_settings_are(
    path: tuple[str, ...], command: click.Command, tmp_path: Path
) -> None:
    if path[0] in STARTS:
        return
    arguments = [_good(each, tmp_path) for each in command.params if isinstance(each, click.Argument)]
    for env in _of_turn(EVERY.index((path, command)), _SETTINGS, 5):
        _assert_one_sentence(_run([*path, "--", *arguments], tmp_path, **env), (path, env))


_SETTINGS: list[dict[str, str]] = [
    {"PACIOLI_URL": "nowhere"},
    {"PACIOLI_URL": "http://[::1"},
    {"PACIOLI_URL": "ftp://x"},
    {"PACIOLI_URL": "http://no.such.host.invalid"},
    {"PACIOLI_KEY": "\u00e9"},
    {"DATABASE_URL": "nowhere"},
    {"DATABASE_URL": "postgresql://"},
    {"DATABASE_URL": "mysql://x/y"},
    {"DATABASE_URL": "postgresql://x:99999/y"},
    {"DATABASE_URL": "postgresql://x:y/z"},
    {"PACIOLI_DATA": "/dev/null", "DATABASE_URL": "", "PACIOLI_URL": ""},
    {"PACIOLI_LOG_LEVEL": "loud"},
    {"PACIOLI_CHAIN_KEY": "x"},
]


def _of_turn(turn: int, every: Sequence[T], count: int) -> list[T]:
    """Choose some of the samples, others at each turn, so that a few commands in a row try all of them."""
    return [every[(turn * count + number) % len(every)] for number in range(count)]


def test_all_commands_are_walked() -> None:
    assert {path[0] for path, _ in EVERY} == set(COMMANDS)


_ANSWERS = [
    b"",
    b"garbage",
    b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
    b"HTTP/1.1 200 OK\r\n\r\n<html>",
    b"HTTP/1.1 500 Oops\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n[[]]",
]


@pytest.mark.parametrize("answer", _ANSWERS)
def test_whatever_the_service_answers_a_command_ends_in_a_sentence(answer: bytes, tmp_path: Path) -> None:
    with _answering(answer) as url:
        for turn, (path, command) in enumerate(EVERY):
            if path[0] in STARTS or answer not in _of_turn(turn, _ANSWERS, 3):
                continue
            arguments = [_good(each, tmp_path) for each in command.params if isinstance(each, click.Argument)]
            if path == ("fund",):
                arguments += ["--source", "@Pool", "--currency", "USD"]
            result = _run([*path, *arguments], tmp_path, PACIOLI_URL=url)
            _assert_one_sentence(result, (path, answer))


class _answering:
    """A server that answers every connection with the same bytes."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def __enter__(self) -> str:
        self._socket = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(1)
                try:
                    connection.recv(65_536)
                    connection.sendall(self._answer)
                    connection.shutdown(socket.SHUT_WR)
                except OSError:
                    pass

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def test_what_nobody_expected_is_a_sentence_too_and_a_traceback_on_demand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a\nbug")

    monkeypatch.setattr("ops.cli.settings.variables", fail)
    result = _run(["settings"], tmp_path)
    assert result.exit_code == 2
    assert result.stderr.startswith(
        "Error: unexpected ZeroDivisionError (a bug): run it again with PACIOLI_LOG_LEVEL=debug"
    )
    result = _run(["settings"], tmp_path, PACIOLI_LOG_LEVEL="debug")
    assert "Traceback" in result.stderr
    assert "ZeroDivisionError" in result.stderr


def test_ctrl_c_is_one_line_and_130(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ops.cli.settings.variables", interrupt)
    result = _run(["settings"], tmp_path)
    assert (result.exit_code, result.stderr) == (cli.INTERRUPTED, "stopped by Ctrl-C\n")


def _process(*arguments: str, stdout: object = subprocess.PIPE, **env: str) -> "subprocess.Popen[bytes]":
    given = {"PATH": os.environ["PATH"], "DATABASE_URL": NO_DATABASE, **env}
    return subprocess.Popen(
        [sys.executable, "-m", "ops.cli", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=given,  # type: ignore[call-overload]
        # A shell that runs the tests in the background has told its children to ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_in_a_process_of_its_own_a_command_ends_in_a_sentence() -> None:
    full, closed = open("/dev/full", "w"), os.pipe()  # noqa: SIM115
    os.close(closed[0])
    with full:
        running = [
            _process("settings", stdout=full),
            _process("settings", stdout=closed[1]),
            _process("settings", LANG="C", PYTHONIOENCODING="ascii", COLUMNS="1"),
            _process("currencies", LC_ALL="POSIX"),
        ]
        os.close(closed[1])
        ended = [(each.communicate(timeout=60)[1].decode(), each.returncode) for each in running]
    for stderr, _ in ended:
        assert "Traceback" not in stderr
        assert len(stderr.splitlines()) <= 3, stderr
    assert [status != 0 for _, status in ended] == [True, True, False, True]
    assert "No space left on device" in ended[0][0]


def test_ctrl_c_in_a_process_of_its_own_is_130() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        command = _process("balance", "@A", PACIOLI_URL=f"http://127.0.0.1:{silent.getsockname()[1]}")
        silent.settimeout(60)
        connection, _ = silent.accept()
        with connection:
            connection.recv(1)  # The command has asked, and waits for the answer.
            command.send_signal(signal.SIGINT)
            stderr = command.communicate(timeout=60)[1].decode()
    assert (command.returncode, stderr.splitlines()) == (130, ["stopped by Ctrl-C"])
