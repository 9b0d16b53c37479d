"""Values that no client should send, by endpoint and field, and those of them that are accepted all the same."""

import json
from typing import Any, NamedTuple

import msgspec

from core.funding.requests import FundingRequest, FundingRule, Recipient, RunRequest
from core.ledger.rules.requests import (
    BalanceRequest,
    BulkCommitRequest,
    BulkRequest,
    BulkSettlement,
    BulkVoidRequest,
    CurrencyRequest,
    LedgerRequest,
    Leg,
    RefundRequest,
    SettleRequest,
    TransactionRequest,
)
from core.lists.requests import FilterClause


class Target(NamedTuple):
    """An endpoint, the struct that it reads, and a body that it accepts. A test puts one bad value into the body."""

    method: str
    path: str
    struct: type[msgspec.Struct]
    good: dict[str, Any]
    required: str
    around: tuple[bytes, bytes] = (b"", b"")
    """A template that the body is put into."""
    position: str = ""
    """The position of the body in it, as errors name it."""


def good_transaction() -> dict[str, Any]:
    return {
        "precise_amount": 1,
        "precision": 100,
        "currency": "USD",
        "source": "@World",
        "destination": "@A",
        "description": "a test",
        "allow_overdraft": True,
    }


_SIBLING = json.dumps({**good_transaction(), "reference": "sibling"}).encode()
_SPLIT = json.dumps(
    {**good_transaction(), "precise_amount": 1000, "destination": None, "reference": "split", "dry_run": True}
).encode()[:-1]


def good_job() -> dict[str, Any]:
    return {
        "name": "a test",
        "source": "@World",
        "currency": "USD",
        "precision": 100,
        "allow_overdraft": True,
        "recipients": [{"destination": "@A", "amount": 1}],
        "again": True,
    }


def _open_job(beginning: bytes) -> bytes:
    """A good job but for its recipients, and how those begin."""
    terms = {name: value for name, value in good_job().items() if name != "recipients"}
    return json.dumps(terms).encode()[:-1] + b", " + beginning


TARGETS = {
    "transaction": Target(
        "POST",
        "/transactions",
        TransactionRequest,
        good_transaction(),
        "precise_amount reference description source destination currency",
    ),
    "bulk item": Target(
        "POST",
        "/transactions/bulk",
        TransactionRequest,
        good_transaction(),
        "precise_amount reference description source destination currency",
        (b'{"transactions": [' + _SIBLING + b", ", b"]}"),
        "transactions[1].",
    ),
    "leg": Target(
        "POST",
        "/transactions",
        Leg,
        {"identifier": "@B", "distribution": "10%"},
        "identifier distribution",
        (_SPLIT + b', "destinations": [{"identifier": "@A", "distribution": "left"}, ', b"]}"),
        "destinations[1].",
    ),
    "bulk": Target(
        "POST",
        "/transactions/bulk",
        BulkRequest,
        {},
        "transactions",
    ),
    "settle": Target("PUT", "/transactions/inflight/{hold}", SettleRequest, {"status": "commit"}, "status"),
    "bulk commit": Target("POST", "/transactions/inflight/bulk/commit", BulkCommitRequest, {}, "transactions"),
    "bulk commit item": Target(
        "POST",
        "/transactions/inflight/bulk/commit",
        BulkSettlement,
        {},
        "transaction_id",
        (b'{"transactions": [', b"]}"),
        "transactions[0].",
    ),
    "bulk void": Target("POST", "/transactions/inflight/bulk/void", BulkVoidRequest, {}, "transaction_ids"),
    "refund": Target("POST", "/refund-transaction/{applied}", RefundRequest, {}, ""),
    "ledger": Target("POST", "/ledgers", LedgerRequest, {"name": "a test"}, "name"),
    "renamed ledger": Target("PUT", "/ledgers/general_ledger_id", LedgerRequest, {"name": "a test"}, "name"),
    "balance": Target(
        "POST", "/balances", BalanceRequest, {"ledger_id": "general_ledger_id", "currency": "USD"}, "ledger_id currency"
    ),
    "currency": Target("PUT", "/currencies/XAU", CurrencyRequest, {"precision": 100}, "precision"),
    "funding job": Target("POST", "/funding-jobs", FundingRequest, good_job(), "name source currency recipients"),
    "recipient": Target(
        "POST",
        "/funding-jobs",
        Recipient,
        {"destination": "@B", "amount": 1},
        "destination amount",
        (_open_job(b'"recipients": [{"destination": "@A", "amount": 1}, '), b"]}"),
        "recipients[1].",
    ),
    "rule": Target(
        "POST",
        "/funding-jobs",
        FundingRule,
        {"ledger_id": "general_ledger_id", "amount": 1},
        "ledger_id amount",
        (_open_job(b'"rule": '), b"}"),
        "rule.",
    ),
    "rule's filter": Target(
        "POST",
        "/funding-jobs",
        FilterClause,
        {"field": "balance", "operator": "lt", "value": 5},
        "field operator value",
        (_open_job(b'"rule": {"amount": 1, "filters": ['), b"]}}"),
        "rule.filters[0].",
    ),
    "run": Target("POST", "/funding-jobs/{job}/run", RunRequest, {}, ""),
}
JUNK: dict[str, bytes] = {
    "null": b"null",
    "true": b"true",
    "zero": b"0",
    "one": b"1",
    "negative": b"-1",
    "fraction": b"0.5",
    "1e400": b"1e400",
    "1e999999999": b"1e999999999",
    "beyond Decimal": b"1e99999999999999999999999",
    "1e-999999999": b"1e-999999999",
    "1,001 digits": b"9" * 1001,
    "100,000 digits": b"9" * 100_000,
    "long fraction": b"0." + b"0" * 100_000 + b"1",
    "NaN": b"NaN",
    "Infinity": b"-Infinity",
    "empty": b'""',
    "blank": b'"  "',
    "text": b'"text"',
    "digits": b'"1"',
    "negative digits": b'"-1"',
    "100,000 digits as text": b'"' + b"9" * 100_000 + b'"',
    "underscored digits": b'"1_0"',
    "other digits": '"\u0661\uff12"'.encode(),
    "NaN as text": b'"NaN"',
    "sNaN as text": b'"sNaN"',
    "Infinity as text": b'"Infinity"',
    "100 kB": b'"' + b"x" * 100_000 + b'"',
    "@100 kB": b'"@' + b"x" * 100_000 + b'"',
    "@ alone": b'"@"',
    "@ with a space": b'"@a b"',
    "NUL": b'"@a\\u0000"',
    "raw NUL": b'"\x00"',
    "lone surrogate": b'"\\ud800"',
    "swapped surrogates": b'"\\udc00\\ud800"',
    "not UTF-8": b'"\xff"',
    "escape": b'"\\q"',
    "first day": b'"0001-01-01T00:00:00+14:00"',
    "last day": b'"9999-12-31T23:59:59-14:00"',
    "day 0": b'"0000-00-00T00:00:00Z"',
    "no zone": b'"2026-01-01T00:00:00"',
    "list": b"[]",
    "list of null": b"[null]",
    "list of lists": b"[[]]",
    "object": b"{}",
    "object with NUL": b'{"a": "\\u0000"}',
    "object with NUL key": b'{"\\u0000": 1}',
    "object with surrogate": b'{"a": "\\ud800"}',
    "object not UTF-8": b'{"a": "\xff"}',
    "object with 1e400": b'{"a": 1e400}',
    "object with 1e9999": b'{"a": 1e9999}',
    "object beyond Decimal": b'{"a": 1e99999999999999999999999}',
    "object with many digits": b'{"a": ' + b"9" * 100_000 + b"}",
    "object too deep": b'{"a": ' + b"[" * 150 + b"]" * 150 + b"}",
    "open brackets": b"[" * 100_000,
    "closed brackets": b"[" * 100_000 + b"]" * 100_000,
    "open braces": b'{"a":' * 100_000,
    "nothing": b"",
    "word": b"nothing",
}
SHORT_TEXT = (
    "text, digits, negative digits, underscored digits, other digits, NaN as text, sNaN as text, Infinity as text, @ alone, "
    "@ with a space, first day, last day, day 0, no zone"
)
CODE = "digits, negative digits, underscored digits"
NUMBER = "one, fraction, digits, 1e400"
FLAG = "null, true"
OBJECT = "null, object, object with 1e400"
ACCEPTED: dict[type[msgspec.Struct], dict[str, str]] = {
    TransactionRequest: {
        "amount": NUMBER,
        "precise_amount": "one, digits",
        "precision": "null, zero",
        "currency": CODE,
        "reference": SHORT_TEXT,
        "description": f"blank, {SHORT_TEXT}",
        "source": "",
        "destination": "",
        "allow_overdraft": FLAG,
        "apply_overdraft": FLAG,
        "overdraft_limit": f"null, zero, {NUMBER}",
        "inflight": FLAG,
        "skip_queue": FLAG,
        "atomic": FLAG,
        "effective_date": "null",
        "meta_data": OBJECT,
        "status": "null, empty",
        "sources": "null, list",
        "destinations": "null, list",
        "scheduled_for": "null, empty",
        "inflight_expiry_date": "null, empty",
        "inflight_commit_date": "null, empty",
        "dry_run": FLAG,
    },
    BulkRequest: {
        "transactions": "",
        **dict.fromkeys(("inflight", "atomic", "run_async", "skip_queue", "dry_run"), FLAG),
    },
    Leg: {
        "identifier": "",
        "distribution": "digits",
        "precise_distribution": "null, one, digits",
        "narration": f"null, empty, blank, {SHORT_TEXT}",
        "transaction_id": f"null, empty, blank, {SHORT_TEXT}",
    },
    SettleRequest: {
        "status": "",
        "amount": "null, zero, one, fraction, digits",
        "precise_amount": "null, one, digits",
        "reference": f"null, {SHORT_TEXT}",
        "skip_queue": FLAG,
        "dry_run": FLAG,
    },
    BulkSettlement: {},
    BulkCommitRequest: {"transactions": "", "skip_queue": FLAG, "dry_run": FLAG},
    BulkVoidRequest: {"transaction_ids": "", "skip_queue": FLAG, "dry_run": FLAG},
    RefundRequest: {
        "amount": "null, zero, one, fraction, digits",
        "precise_amount": "null, one, digits",
        "reference": f"null, {SHORT_TEXT}",
        "description": f"null, empty, {SHORT_TEXT}",
        "meta_data": OBJECT,
        "skip_queue": FLAG,
        "dry_run": FLAG,
    },
    LedgerRequest: {"name": SHORT_TEXT, "meta_data": OBJECT},
    CurrencyRequest: {"precision": "one"},
    BalanceRequest: {
        "ledger_id": "",
        "currency": CODE,
        "indicator": "null, empty",
        "identity_id": "null, empty",
        "allocation_strategy": "null, empty, blank",
        "track_fund_lineage": "null",
        "meta_data": OBJECT,
    },
    FundingRequest: {
        "name": SHORT_TEXT,
        "reference": f"null, {SHORT_TEXT}",
        "source": "",
        "currency": CODE,
        "precision": "null, zero",
        "description": f"null, {SHORT_TEXT}",
        "overdraft_limit": f"null, zero, {NUMBER}",
        "recipients": "",
        **dict.fromkeys(
            ("allow_overdraft", "apply_overdraft", "allow_duplicates", "atomic", "inflight", "dry_run"), FLAG
        ),
        "rule": "null",
        "inflight_commit_date": "null",
        "at": "null",
        "count": "null",
        "ends_at": "null",
    },
    Recipient: {
        "destination": "",
        "amount": NUMBER,
        "precise_amount": "null",
        "description": f"null, empty, blank, {SHORT_TEXT}",
        "meta_data": OBJECT,
    },
    FundingRule: {
        "ledger_id": "",
        "filters": "null",
        "amount": NUMBER,
        "precise_amount": "null",
        "top_up_to": "null",
        "precise_top_up_to": "null",
    },
    FilterClause: {"field": "", "operator": ""},
    RunRequest: {"reference": f"null, {SHORT_TEXT}"},
}
"""The values that a field accepts. A field that is not listed may accept or refuse any."""

ODD = [
    "%00",
    "a%00b",
    "%ff",
    "%ed%a0%80",
    "%F0%9F%92%B8",
    "x" * 100_000,
    "%25",
    "..%2f..",
    "'%22;--",
    "%0d%0aX-Bad:%201",
    "-17",
    "9" * 400,
    "nan",
    "0001-01-01T00:00:00%2B23:59",
    "9999-12-31T23:59:59-23:59",
    "2026-01-01T00:00:00%2B00:00:00.000001",
    "2026-01-01",
]
"""Odd segments of a path."""
