"""Check what stands beside the log and decides about money: limits, approvals of funding jobs, API keys and currencies.

Limits and decisions on approvals have pledges, whose chain the notary seals. A key and a currency have the event of their
creation in the audit log, whose chain it seals too.
"""

from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection

from core.base.actors import KEY_PREFIX, Reach
from core.base.db import driver
from core.funding import approval_store
from core.ledger.rules.pledges import Of
from core.ledger.store import limits as limit_store
from core.ledger.store import pledges
from core.verification.report import LISTED, Report

_PLEDGED = "what was set, by its pledge"
_MISSING = "a pledge, as everything has that the service sets"


def check_standing(conn: Connection, report: Report) -> None:
    """Check limits, approvals, keys and currencies against what was kept of them when they were set."""
    _check_currencies(conn, report)
    _check_limits(conn, report)
    _check_approvals(conn, report)
    _check_keys(conn, report)


class _Fixed(msgspec.Struct):
    """The record of a currency in the audit log."""

    precision: int


# Served by audit_subject_idx. The precision of a currency never changes.
_CURRENCIES = """
SELECT currency, precision,
       (SELECT details::text FROM audit WHERE subject = currency AND action = 'currency.fixed' ORDER BY id LIMIT 1)
FROM currencies
ORDER BY currency
"""


def _check_currencies(conn: Connection, report: Report) -> None:
    for currency, precision, details in driver(conn).execute(_CURRENCIES).fetchall():
        fixed = msgspec.json.decode(details or "{}", type=dict[str, msgspec.Raw]).get("after")
        if fixed is None:
            continue  # It is older than the audit log.
        values = (("precision", msgspec.json.decode(fixed, type=_Fixed).precision, precision),)
        report.compare("currencies", currency, "by the audit log", values)


def _check_limits(conn: Connection, report: Report) -> None:
    kept = pledges.of_kind(conn, Of.LIMIT)
    for row in limit_store.every(conn):
        pledge = limit_store.pledge_of(row)
        digest = kept.pop(pledge.id, None)
        if digest == pledge.digest or (digest is None and not row.pledged):
            continue
        expected = _MISSING if digest is None else _PLEDGED
        report.add("balance_limits", f"{row.balance_id}, id {row.id}", "content", expected=expected, found="another")
    for id in kept:
        report.add(
            "balance_limits", f"id {limit_store.id_of(id)}", "row", expected="a row, for it was set", found="none"
        )


def _check_approvals(conn: Connection, report: Report) -> None:
    kept = pledges.of_kind(conn, Of.APPROVAL)
    for row in approval_store.every(conn):
        asked, decided = approval_store.pledges_of(row)
        for pledge in (asked, decided):
            if pledge is None:
                continue
            digest = kept.pop(pledge.id, None)
            if digest != pledge.digest and not (digest is None and not row.must_be_pledged(pledge)):
                expected = _MISSING if digest is None else _PLEDGED
                report.add("funding_approvals", f"fund_{row.job}", "content", expected=expected, found=row.status)
    for id in list(kept)[:LISTED]:
        report.add("funding_approvals", f"pledge {id}", "row", expected="an approval, for it was kept", found="none")


class _Made(msgspec.Struct):
    """The record of a new key in the audit log."""

    owner_id: str
    scopes: list[str]
    expires_at: datetime
    created_by: str
    reach: msgspec.Raw = msgspec.Raw(b"null")


class _Key(NamedTuple):
    id: str
    owner: str
    scopes: list[str]
    reach: str | None
    created_by: str
    created_at: datetime
    expires_at: datetime
    is_revoked: bool
    made: str | None
    revoked: bool


# Served by audit_subject_idx.
_KEYS = """
SELECT %(prefix)s || k.id, k.owner, k.scopes, k.reach::text, k.created_by, k.created_at, k.expires_at, k.revoked_at IS NOT NULL,
       (SELECT details::text FROM audit WHERE subject = %(prefix)s || k.id AND action = 'key.created' ORDER BY id LIMIT 1),
       EXISTS (SELECT FROM audit WHERE subject = %(prefix)s || k.id AND action = 'key.revoked')
FROM api_keys AS k
ORDER BY k.id
"""

_AUDITED_SINCE = """
SELECT created_at
FROM audit
ORDER BY id
LIMIT 1
"""


def _check_keys(conn: Connection, report: Report) -> None:
    first = driver(conn).execute(_AUDITED_SINCE).fetchone()
    for key in map(_Key._make, driver(conn).execute(_KEYS, {"prefix": KEY_PREFIX}).fetchall()):
        if key.revoked and not key.is_revoked:
            expected = "a time, for the audit log says that the key was revoked"
            report.add("api_keys", key.id, "revoked_at", expected=expected, found="none")
        if key.made is None:
            if first is not None and key.created_at > first[0]:
                expected = "that the audit log says who made the key"
                report.add("api_keys", key.id, "row", expected=expected, found="a key that it does not know")
            continue
        made = msgspec.json.decode(key.made, type=dict[str, msgspec.Raw]).get("after")
        if made is None:
            continue
        _compare(report, key, msgspec.json.decode(made, type=_Made))


def _compare(report: Report, key: _Key, made: _Made) -> None:
    values = (
        ("owner", made.owner_id, key.owner),
        ("scopes", made.scopes, key.scopes),
        ("created_by", made.created_by, key.created_by),
        ("expires_at", made.expires_at, key.expires_at),
        ("reach", _bounds(bytes(made.reach)), _bounds((key.reach or "null").encode())),
    )
    report.compare("api_keys", key.id, "by the audit log", values)


def _bounds(text: bytes) -> dict[str, Any] | str:
    """Return what a reach bounds, with exact amounts. What is left out does not bound. No reach at all is returned as it is."""
    try:
        reach = _read_reach(text) or Reach()
    except msgspec.MsgspecError:
        return text.decode(errors="replace")
    return {name: value for name, value in msgspec.structs.asdict(reach).items() if value is not None}


_read_reach = msgspec.json.Decoder(Reach | None).decode
