"""A command starts without the libraries that it does not need."""

import subprocess
import sys

import pytest

from ops.cli.main import COMMANDS

OPEN_THE_DATABASE = {
    "up", "bench", "torture", "migrate", "snapshot", "verify", "doctor", "notary", "receipt", "identity", "identities",
}  # fmt: skip


def test_a_command_that_asks_the_service_loads_neither_the_database_nor_a_log() -> None:
    modules = sorted({module for name, (module, _) in COMMANDS.items() if name not in OPEN_THE_DATABASE})
    loaded = loaded_by(f"import ops.cli.main, {', '.join(modules)}")
    assert "pacioli_client" in loaded
    assert not loaded & {"sqlalchemy", "psycopg", "structlog"}


@pytest.mark.parametrize("way", ["--help", "a shell that completes"])
def test_the_list_of_all_commands_loads_none(way: str) -> None:
    code = "from ops.cli.main import main; import click; ctx = click.Context(main); "
    code += "main.get_help(ctx)" if way == "--help" else "assert len(main.shell_complete(ctx, 'ba')) == 3"
    assert {name for name in loaded_by(code) if name.startswith("ops.cli.")} == {"ops.cli.main"}


def loaded_by(code: str) -> set[str]:
    """Return the names of the modules that are loaded after some code has run in a process of its own."""
    code = f"{code}\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())
