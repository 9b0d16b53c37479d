"""The clients, talking to the whole service."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.blnk import Client
from tests.harness.programs import missing_program, needs_program

TYPESCRIPT = "@blnkfinance/blnk-typescript@1.3.0"


@pytest.fixture
def client(service: str) -> Iterator[Client]:
    client = Client(service)
    with client.blnk:
        yield client


@pytest.fixture(scope="session")
def typescript(pytestconfig: pytest.Config) -> Path:
    """The folder that has Blnk's TypeScript client, which npm brings once."""
    needs_program("node")
    npm = needs_program("npm")
    folder = Path(pytestconfig.cache.mkdir("blnk-typescript"))
    if not (folder / "node_modules" / "@blnkfinance").exists():
        command = [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts", TYPESCRIPT]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=120)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            missing_program(f"{TYPESCRIPT}, which npm could not bring")
    (folder / "package.json").touch()
    return folder
