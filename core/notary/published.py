"""Reads what was published of seals: whole seals as lines of JSON, or their numbers and hashes in lines of a syslog."""

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import UNSET, Struct, UnsetType

from core.notary import attestations
from core.notary.attestations import Attestation
from core.notary.seals import Seal, read


class Published(Struct, frozen=True):
    """A seal that was published, or its hash."""

    number: int
    hash: str
    seal: Seal | None = None


class Brief(Struct, frozen=True):
    """The short form of a seal, for where there is little room."""

    seal: int
    last_seq: int
    digest: str
    hash: str


class BriefVerified(Struct, frozen=True):
    """The short form of an attestation."""

    verified_up_to: int
    digest: str
    checkpoint: int
    at: str


class _Line(Struct, frozen=True):
    statement: str | UnsetType = UNSET
    signature: str = ""
    seal: int = 0
    hash: str = ""


def brief_of(seal: Seal | Attestation) -> str:
    """Write the line of JSON that stands for a seal or an attestation where there is little room."""
    if isinstance(seal, Attestation):
        verified = attestations.read(seal)
        assert verified is not None
        short = BriefVerified(verified.sequence, verified.digest, verified.checkpoint, verified.at)
        return msgspec.json.encode(short).decode()
    statement = read(seal)
    assert statement is not None
    brief = Brief(statement.number, statement.last_seq, statement.digest, seal.hash)
    return msgspec.json.encode(brief).decode()


def read_lines(lines: Iterable[str]) -> Iterator[Published]:
    """Read published seals from lines. What is before the first brace of a line, such as a syslog's own, is left out.

    Raises:
        ValueError: a line has a brace and is no seal. Its number is in the message.
    """
    for position, text in enumerate(lines, 1):
        _, brace, rest = text.partition("{")
        if not brace:
            continue
        try:
            line = msgspec.json.decode(brace + rest.strip(), type=_Line)
        except msgspec.MsgspecError:
            raise ValueError(f"line {position} is no seal") from None
        if isinstance(line.statement, str):
            seal = Seal(line.statement, line.signature)
            statement = read(seal)
            if statement is None:
                raise ValueError(f"line {position} is no seal")
            yield Published(statement.number, seal.hash, seal)
        elif line.seal:
            yield Published(line.seal, line.hash)
