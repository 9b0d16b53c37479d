"""Tells "not now" from "never" by the SQLSTATE of an error.

"Not now" passes by itself or when an operator mends the database, and the same call may then work: web answers 503, and
workers wait. "Never" is a bug, a wrong request or damaged data: trying again would hide it.
"""

NOT_NOW: dict[str, str] = {
    "08": "the connection to the database was lost or refused",
    "25006": "the database is read-only: a standby, or set so while it is short of space or in maintenance",
    "25P03": "the session was idle in a transaction for too long",
    "25P04": "the transaction took too long",
    "28": "the database refuses the user or its password",
    "3D000": "the database is not there; it may be under restore",
    "40": "the transaction met another one",
    "53": "the database is short of disk, memory or connections",
    "55006": "the object is in use",
    "55P03": "a lock was not had in time",
    "57": "the server stops, starts, recovers or canceled the statement",
    "58000": "the server's system failed",
    "58030": "the server's disk failed",
    "72000": "the snapshot is too old",
}
"""The classes and codes that pass, each with its reason."""

NEVER: frozenset[str] = frozenset({"40002"})
"""Codes that do not pass, in classes that do."""


def is_not_now(sqlstate: str) -> bool:
    """Tell whether the same call may work when the cause of this error has passed."""
    return sqlstate not in NEVER and (sqlstate in NOT_NOW or sqlstate[:2] in NOT_NOW)
