"""Publishes seals outside the database: to a file, a syslog, a web service, and with the stamp of a time stamp authority.

The file is also the notary's memory. It is written before anything else goes out, and a seal counts as published with it.
"""

import base64
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from rfc3161_client import PKIStatus, TimeStampRequest, TimestampRequestBuilder, decode_timestamp_response

from core.notary.attestations import Attestation
from core.notary.published import Published, brief_of, read_lines
from core.notary.seals import Seal

_TAIL_BYTES = 1 << 20

_WITHIN_S = 5.0
"""The time that a web service or a time stamp authority has."""

STAMP_EVERY_S = 3600.0

_SYSLOG_NOTICE = 13 * 8 + 5
"""The facility for security and audit, and the level notice."""

Publish = Callable[[Seal | Attestation], None]
"""Publishes one seal or attestation. Raises OSError or httpx.HTTPError if it did not work."""


class Refused(ValueError):
    """A time stamp authority did not do what it was asked for. The message says what it did."""


class SealFile:
    """A file of seals, one line of JSON each, which only grows."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def last(self) -> Seal | None:
        """Read the last seal of the file; None if there is none.

        Raises:
            OSError: the file cannot be read.
            ValueError: its end is no seal.
        """
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL_BYTES))
                text = file.read().decode(errors="replace")
        except FileNotFoundError:
            return None
        lines = text.splitlines()[1 if size > _TAIL_BYTES else 0 :]
        if text and not text.endswith("\n"):
            lines = lines[:-1]  # A crash cut it short. The database has the whole seal.
        found = [line for line in lines if '"statement"' in line]
        return next(iter(read_lines(found[-1:])), Published(0, "")).seal

    def write(self, seal: Seal | Attestation) -> None:
        """Append a seal or an attestation, and see that it is on the disk."""
        self._append(seal.line)

    def write_stamp(self, seal: Seal, stamp: bytes) -> None:
        """Append the time stamp of a seal."""
        self._append(json.dumps({"timestamp_of": seal.hash, "token": base64.b64encode(stamp).decode()}))

    def _append(self, line: str) -> None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = "\n" + line
            os.write(descriptor, f"{line}\n".encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def to_syslog(address: str) -> Publish:
    """Publish the hash of each seal at a socket such as ``/dev/log``, or a host and port over UDP."""

    def publish(seal: Seal | Attestation) -> None:
        message = f"<{_SYSLOG_NOTICE}>pacioli-notary: {brief_of(seal)}".encode()
        if address.startswith("/"):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
                client.settimeout(_WITHIN_S)
                client.connect(address)
                client.send(message)
            return
        host, _, port = address.rpartition(":")
        family, kind, _, _, where = socket.getaddrinfo(host.strip("[]"), int(port or 514), type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as client:
            client.sendto(message, where)

    return publish


def to_webhook(url: str) -> Publish:
    """Post each seal to a web service."""

    def publish(seal: Seal | Attestation) -> None:
        headers = {"Content-Type": "application/json"}
        httpx.post(url, content=seal.line, headers=headers, timeout=_WITHIN_S).raise_for_status()

    return publish


class Stamps:
    """Asks a time stamp authority for a stamp of a seal now and then."""

    def __init__(self, url: str, file: SealFile) -> None:
        self._url, self._file = url, file
        self._next_at = time.monotonic()

    def publish(self, seal: Seal | Attestation) -> None:
        """Get a stamp of a seal if it is time, and write it to the file.

        Raises:
            Refused: the authority has not stamped this seal.
            ValueError: the answer is no stamp.
        """
        if not isinstance(seal, Seal) or time.monotonic() < self._next_at:
            return
        request = TimestampRequestBuilder().data(bytes.fromhex(seal.hash)).nonce(nonce=True).build()
        headers = {"Content-Type": "application/timestamp-query"}
        answer = httpx.post(self._url, content=request.as_bytes(), headers=headers, timeout=_WITHIN_S)
        answer.raise_for_status()
        _check_stamp(answer.content, request)
        self._file.write_stamp(seal, answer.content)
        self._next_at = time.monotonic() + STAMP_EVERY_S


def _check_stamp(answer: bytes, request: TimeStampRequest) -> None:
    """Check that the authority has granted a stamp, and for this request. Auditors check its certificate."""
    stamp = decode_timestamp_response(answer)
    if stamp.status not in (PKIStatus.GRANTED, PKIStatus.GRANTED_WITH_MODS):
        raise Refused(f"the time stamp authority has refused: {', '.join(stamp.status_string) or stamp.status}")
    info = stamp.tst_info
    if (info.message_imprint.message, info.nonce) != (request.message_imprint.message, request.nonce):
        raise Refused("the time stamp authority has stamped something else")
