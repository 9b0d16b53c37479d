"""The leaves of a seal's Merkle trees.

A row of the log names its balances by keys of the database. Its sealed leaf also covers who these are: their IDs, ledgers,
names and currencies. So a seal shows too when somebody gives a balance the name or the ID of another.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import NamedTuple

import msgspec

NO_PARTY = bytes(32)
"""Stands for the side that a split does not have."""

_PARTY, _SEALED, _OUTCOME = b"\x00pacioli party 1\n", b"\x00pacioli sealed 1\n", b"\x00pacioli outcome 1\n"

_encode = msgspec.json.Encoder().encode


Sides = tuple[int | None, int | None]
"""The keys of a row's source and destination."""


class Party(NamedTuple):
    """Who a balance is. None of this ever changes."""

    balance_id: str
    ledger_id: str
    indicator: str | None
    currency: str


def party_leaf(party: Party) -> bytes:
    """Compute the hash over who a balance is."""
    return sha256(_PARTY + _encode(party)).digest()


def sealed_leaf(leaf: bytes, source: bytes, destination: bytes) -> bytes:
    """Compute the leaf that a seal covers, from the leaf of a row and the hashes of its balances."""
    return sha256(_SEALED + leaf + source + destination).digest()


def sealed_leaves(leaves: Iterable[bytes], sides: Iterable[Sides], parties: Mapping[int | None, bytes]) -> list[bytes]:
    """Compute the sealed leaves of rows, from their leaves and the keys of their balances, whose hashes are in ``parties``.

    Raises:
        KeyError: ``parties`` lacks one.
    """
    return [
        sha256(_SEALED + leaf + parties[source] + parties[destination]).digest()
        for leaf, (source, destination) in zip(leaves, sides, strict=True)
    ]


def outcome_leaf(line: str) -> bytes:
    """Compute the leaf of an outcome from its row as COPY text, over which its hash is computed too."""
    return sha256(_OUTCOME + line.encode()).digest()


def outcome_leaves(lines: Iterable[bytes]) -> list[bytes]:
    """Compute the leaves of outcomes, as ``outcome_leaf`` does one by one."""
    return [sha256(_OUTCOME + line).digest() for line in lines]


def side(key: int | None, parties: dict[int, bytes]) -> bytes:
    """Return the hash of a balance. A balance that is missing has that of no balance."""
    return NO_PARTY if key is None else parties.get(key, NO_PARTY)
