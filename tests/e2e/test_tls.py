"""A service with a certificate that signed itself: its own probes, the command line and browsers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx

from core.doors.certificates import pinned
from ops.server.temporary import running, without_settings
from tests.harness.certificates import new_certificate


def test_up_speaks_https_and_the_command_line_trusts_its_certificate(tmp_path: Path) -> None:
    made = new_certificate(tmp_path / "tls")
    with running(tmp_path, "--cert", str(made.file), "--key-file", str(made.key)) as service:
        assert service.url.startswith("https://127.0.0.1:")
        queues = json.loads(_pacioli("queues", "--json", "--data", str(service.data)))
        assert queues
        assert json.loads(_pacioli("queues", "--json", "--url", service.url, "--data", str(service.data)))
        asked = ("queues", "--json", "--url", service.url.replace("127.0.0.1", "localhost"), "--data", "nowhere")
        key = str(service.key)
        assert json.loads(_pacioli(*asked, PACIOLI_CA=str(made.file), PACIOLI_KEY=key))
        assert "its certificate is not trusted" in _pacioli(*asked, PACIOLI_KEY=key)
        with httpx.Client(verify=pinned(made.file), headers=service.headers, trust_env=False) as client:
            answer = client.get(f"{service.url}/transactions")
        assert answer.status_code == 200
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


def _pacioli(*arguments: str, **env: str) -> str:
    """Run a command, and return what it prints, or how it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "ops.cli", *arguments],
        env=without_settings(os.environ) | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout or done.stderr
