"""``ops/pacioli``: from any folder, through a link, and with a Python that will not do."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with nothing but the launcher, in a folder with a space in its name."""
    root = tmp_path / "a checkout"
    (root / "ops").mkdir(parents=True)
    shutil.copy(ROOT / "ops" / "pacioli", root / "ops")
    shutil.copy(ROOT / "pyproject.toml", root)
    shutil.copytree(ROOT / "ops" / "requirements", root / "ops" / "requirements")
    return root


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def install(checkout: Path, kind: str = "service") -> None:
    """Install a command that prints its folder, its arguments and its data folder."""
    script(checkout / ".venv" / "bin" / "pacioli", 'echo "$PWD|$*|$PACIOLI_DATA"')
    script(checkout / ".venv" / "bin" / "python", "exit 0")
    (checkout / ".venv" / "stamp").write_text(f"{kind} {checksum(checkout)}\n")


def checksum(checkout: Path) -> str:
    """The checksum of all that says what belongs to the installation."""
    locks = sorted((checkout / "ops" / "requirements").glob("*.txt"))
    text = b"".join(path.read_bytes() for path in [checkout / "pyproject.toml", *locks])
    return subprocess.run(["cksum"], input=text, capture_output=True, check=True).stdout.split()[0].decode()


def run(launcher: Path, cwd: Path, env: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    given = {"PATH": "/usr/bin:/bin", **(env or {})}
    command = [str(launcher), "fund", "wallets.csv"]
    return subprocess.run(command, cwd=cwd, env=given, capture_output=True, text=True, check=False)


def test_a_file_is_found_where_one_stands_and_the_data_in_the_checkout(checkout: Path, tmp_path: Path) -> None:
    install(checkout)
    (tmp_path / "elsewhere").mkdir()
    found = run(checkout / "ops" / "pacioli", tmp_path / "elsewhere")
    assert found.stdout == f"{tmp_path}/elsewhere|fund wallets.csv|{checkout}/.pacioli\n"
    assert run(checkout / "ops" / "pacioli", tmp_path, {"PACIOLI_DATA": "/d"}).stdout.endswith("|/d\n")


@pytest.mark.parametrize(
    ("given", "runs"),
    [
        ("tests/unit/ops -k settings", ["-m pytest tests/unit/ops -k settings"]),
        ("-k settings", ["-m pytest -k settings"]),
        ("tests/unit/ops/test_cpu.py -k ended", ["-m pytest -n 0 tests/unit/ops/test_cpu.py -k ended"]),
        ("tests/unit/ops/test_cpu.py::test_a", ["-m pytest -n 0 tests/unit/ops/test_cpu.py::test_a"]),
        ("--quick", ["ruff check .", "ruff format --check .", "mypy", "lint-imports --no-logo", "-m pytest --quick"]),
        ("", ["ruff check .", "ruff format --check .", "mypy", "lint-imports --no-logo", "-m pytest"]),
    ],
)
def test_named_tests_run_alone_and_all_others_behind_the_checks(
    checkout: Path, tmp_path: Path, given: str, runs: list[str]
) -> None:
    install(checkout, "test")
    for name in ("ruff", "mypy", "lint-imports"):
        script(checkout / ".venv" / "bin" / name, 'echo "$(basename "$0") $*"')
    script(checkout / ".venv" / "bin" / "python", 'echo "$PWD $*${PYTHONDONTWRITEBYTECODE+ without compiling}"')
    command = [str(checkout / "ops" / "pacioli"), "test", *given.split()]
    found = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    *checks, tests = [line.strip() for line in found.stdout.splitlines()]
    assert [*checks, tests.removeprefix(f"{checkout} ")] == runs
    assert tests.startswith(str(checkout))


def test_it_works_through_links(checkout: Path, tmp_path: Path) -> None:
    install(checkout)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "first").symlink_to("../a checkout/ops/pacioli")
    (tmp_path / "second").symlink_to(tmp_path / "bin" / "first")
    for link in (tmp_path / "bin" / "first", tmp_path / "second"):
        assert run(link, tmp_path).stdout == f"{tmp_path}|fund wallets.csv|{checkout}/.pacioli\n"


@pytest.mark.parametrize(
    ("python", "says"),
    [
        ('case "$2" in *print*) echo 3.10 ;; *) exit 1 ;; esac', "needs Python 3.11 or newer, and {} is 3.10"),
        ("exit 127", "needs Python 3.11 or newer, and {} does not run"),
        ('case "$2" in *print*) echo 3.11 ;; pip) exit 1 ;; esac', "needs pip, which {} does not have"),
    ],
)
def test_a_python_that_will_not_do_is_one_sentence_and_leaves_nothing(
    checkout: Path, tmp_path: Path, python: str, says: str
) -> None:
    bad = script(tmp_path / "bad-python", python)
    found = run(checkout / "ops" / "pacioli", tmp_path, {"PYTHON": str(bad)})
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith(f"pacioli: {says.format(bad)}")
    assert found.stderr.count("\n") == 1
    assert not (checkout / ".venv").exists()


def test_an_installation_that_failed_is_begun_again(checkout: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    steps = f'echo "$*" >> {log}; case "$2" in *print*) echo 3.11 ;; esac; case "$*" in *" install --quiet "*) exit 1 ;; esac'
    python = script(tmp_path / "python", steps)
    (checkout / ".venv" / "bin").mkdir(parents=True)  # Half made: no Python in it.
    for _ in range(2):
        found = run(checkout / "ops" / "pacioli", tmp_path, {"PYTHON": str(python)})
        assert found.returncode == 2
        assert "installing what it needs" in found.stderr
        assert "the installation failed" in found.stderr and "run the same command again" in found.stderr
    assert log.read_text().count("-m venv --clear") == 2
    assert log.read_text().count("install --quiet --require-hashes") == 2


@pytest.mark.parametrize(
    ("installed", "command"), [("test", "docs"), ("test", "fund"), ("docs", "fund"), ("service", "fund")]
)
def test_what_is_more_than_is_asked_for_stays(checkout: Path, tmp_path: Path, installed: str, command: str) -> None:
    install(checkout, installed)
    launcher = [str(checkout / "ops" / "pacioli"), command]
    found = subprocess.run(
        launcher, cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    assert (found.stdout, found.stderr) == (f"{tmp_path}|{command}|{checkout}/.pacioli\n", "")


@pytest.mark.parametrize(
    ("installed", "command", "wanted", "is_old"),
    [
        ("service", "test", "test", False),
        ("docs", "test", "test", False),
        ("service", "docs", "docs", False),
        ("test", "fund", "test", True),
        ("service", "fund", "service", True),
        ("123456", "fund", "service", True),
    ],
)
def test_what_is_missing_or_old_is_installed_by_its_hashes(
    checkout: Path, tmp_path: Path, installed: str, command: str, wanted: str, is_old: bool
) -> None:
    install(checkout, installed)
    if is_old:
        (checkout / "ops" / "requirements" / "service.txt").write_text("changed")
    log = tmp_path / "log"
    python = script(tmp_path / "python", f'echo "$*" >> {log}; case "$2" in *print*) echo 3.11 ;; esac')
    launcher = [str(checkout / "ops" / "pacioli"), command, "-k", "nothing"]
    env = {"PATH": "/usr/bin:/bin", "PYTHON": str(python)}
    subprocess.run(launcher, cwd=tmp_path, env=env, capture_output=True, check=True)
    locked, ours = [line for line in log.read_text().splitlines() if " install " in line]
    assert locked.endswith(f"--require-hashes --requirement {checkout}/ops/requirements/{wanted}.txt")
    assert ours.endswith(f"--no-deps --no-build-isolation --editable {checkout}")
    assert (checkout / ".venv" / "stamp").read_text() == f"{wanted} {checksum(checkout)}\n"


@pytest.mark.parametrize("status", [0, 1])
def test_at_a_terminal_the_seconds_of_the_installation_are_counted(checkout: Path, tmp_path: Path, status: int) -> None:
    steps = (
        'case "$2" in *print*) echo 3.11 ;; esac; '
        f'case "$*" in *" --require-hashes "*) sleep 1.5; echo wrong >&2; exit {status} ;; esac'
    )
    python = script(tmp_path / "python", steps)
    script(checkout / ".venv" / "bin" / "pacioli", "echo done")
    script(checkout / ".venv" / "bin" / "python", "exit 0")
    (checkout / ".venv" / "stamp").unlink(missing_ok=True)
    ours, theirs = os.openpty()
    child = subprocess.Popen(
        [str(checkout / "ops" / "pacioli"), "fund"],
        stdin=theirs, stdout=theirs, stderr=theirs, env={"PATH": "/usr/bin:/bin", "PYTHON": str(python)},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # The end of a terminal is an error.
        while piece := os.read(ours, 4096):
            shown += piece
    os.close(ours)
    assert child.wait() == (2 if status else 0)
    assert b"\rpacioli: installing, 0 s" in shown and b"\rpacioli: installing, 1 s" in shown
    assert (b"the installation failed" in shown, b"done" in shown) == (bool(status), not status)
