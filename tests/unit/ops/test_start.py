"""A command starts without the libraries that it does not need."""

import subprocess
import sys

from ops.cli.main import COMMANDS

OPEN_THE_DATABASE = {
    "up", "bench", "torture", "migrate", "snapshot", "verify", "doctor", "notary", "receipt", "identity", "identities",
}  # fmt: skip


def test_a_command_that_asks_the_service_loads_no_database() -> None:
    modules = sorted({module for name, module in COMMANDS.items() if name not in OPEN_THE_DATABASE})
    code = f"import sys, {', '.join(modules)}; print(sorted({{'sqlalchemy', 'psycopg'}} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
