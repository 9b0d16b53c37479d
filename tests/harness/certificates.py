"""Certificates that sign themselves, as an operator makes them with OpenSSL."""

import subprocess
from pathlib import Path

from core.doors.certificates import Certificate
from tests.harness.programs import needs_program


def new_certificate(folder: Path, name: str = "ledger", *, password: str | None = None) -> Certificate:
    """Make a certificate for 127.0.0.1 and localhost that is valid for a day, and its key."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Certificate(folder / f"{name}.crt", folder / f"{name}.key")
    subprocess.run(
        [
            *(needs_program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-days", "1", "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *(["-passout", f"pass:{password}"] if password else ["-nodes"]),
            *("-out", str(made.file), "-keyout", str(made.key)),
        ],
        check=True,
        capture_output=True,
    )
    return made
