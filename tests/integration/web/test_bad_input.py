"""What no client should send: answered with 4xx that says what is wrong, never with 5xx, and nothing is written."""

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from io import BytesIO
from typing import Any, NamedTuple

import msgspec
import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool
from werkzeug.test import TestResponse

from core import migrations
from core.base.db import reading
from core.funding.requests import FundingRequest, FundingRule, Recipient, RunRequest
from core.ledger import intake
from core.ledger.append import Submission
from core.ledger.rules.requests import (
    BalanceRequest,
    BulkCommitRequest,
    BulkRequest,
    BulkSettlement,
    BulkVoidRequest,
    LedgerRequest,
    Leg,
    RefundRequest,
    SettleRequest,
    TransactionRequest,
)
from core.lists.requests import FilterClause
from tests.harness.factories import transaction
from web.accept.doorbell import Doorbell
from web.app import create_app
from web.http.errors import STATUS
from web.http.wire import MAX_BODY
from web.service import Service

_references = itertools.count(1)


class Target(NamedTuple):
    """An endpoint, the struct it reads, and a body that it takes, into which one thing is put that it must not take."""

    method: str
    path: str
    struct: type[msgspec.Struct]
    good: dict[str, Any]
    required: str
    around: tuple[bytes, bytes] = (b"", b"")
    """What the body is wrapped in."""
    place: str = ""
    """Where in that it is."""


def _good_transaction() -> dict[str, Any]:
    return {
        "precise_amount": 1,
        "precision": 100,
        "currency": "USD",
        "source": "@World",
        "destination": "@A",
        "description": "a test",
        "allow_overdraft": True,
    }


_SIBLING = json.dumps({**_good_transaction(), "reference": "sibling"}).encode()
_SPLIT = json.dumps(
    {**_good_transaction(), "precise_amount": 1000, "destination": None, "reference": "split", "dry_run": True}
).encode()[:-1]


def _good_job() -> dict[str, Any]:
    return {
        "name": "a test",
        "source": "@World",
        "currency": "USD",
        "precision": 100,
        "allow_overdraft": True,
        "recipients": [{"destination": "@A", "amount": 1}],
    }


def _open_job(beginning: bytes) -> bytes:
    """A good job but for its recipients, and how those begin."""
    terms = {name: value for name, value in _good_job().items() if name != "recipients"}
    return json.dumps(terms).encode()[:-1] + b", " + beginning


TARGETS = {
    "transaction": Target(
        "POST",
        "/transactions",
        TransactionRequest,
        _good_transaction(),
        "precise_amount reference description source destination currency",
    ),
    "bulk item": Target(
        "POST",
        "/transactions/bulk",
        TransactionRequest,
        _good_transaction(),
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
    "funding job": Target("POST", "/funding-jobs", FundingRequest, _good_job(), "name source currency recipients"),
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
    "text, digits, negative digits, NaN as text, sNaN as text, Infinity as text, @ alone, @ with a space, first day, "
    "last day, day 0, no zone"
)
LONG_TEXT = f"{SHORT_TEXT}, 100 kB, @100 kB, 100,000 digits as text"
NUMBER = "one, fraction, digits, 1e400"
FLAG = "null, true"
OBJECT = "null, object, object with 1e400"
ACCEPTED: dict[type[msgspec.Struct], dict[str, str]] = {
    TransactionRequest: {
        "amount": NUMBER,
        "precise_amount": "one, digits",
        "precision": "null, zero",
        "currency": SHORT_TEXT,
        "reference": SHORT_TEXT,
        "description": f"blank, {LONG_TEXT}",
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
        "narration": f"null, empty, blank, {LONG_TEXT}",
        "transaction_id": f"null, empty, blank, {LONG_TEXT}",
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
        "description": f"null, empty, {LONG_TEXT}",
        "meta_data": OBJECT,
        "skip_queue": FLAG,
        "dry_run": FLAG,
    },
    LedgerRequest: {"name": LONG_TEXT, "meta_data": OBJECT},
    BalanceRequest: {
        "ledger_id": "",
        "currency": SHORT_TEXT,
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
        "currency": SHORT_TEXT,
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
        "description": f"null, empty, blank, {LONG_TEXT}",
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
"""What of the junk is none for a field. Fields not listed here are only held to answer well."""


@pytest.fixture(scope="module")
def app(postgres: str) -> Iterator[Flask]:
    """The application without workers, on one database for all tests here: each looks only at what it changes."""
    admin = create_engine(postgres, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as conn:
        conn.execute(text("CREATE DATABASE bad_input"))
    url = make_url(postgres).set(database="bad_input").render_as_string(hide_password=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Doorbell, "ring", lambda self, queues: None)
        patch.setattr(Doorbell, "wake", lambda self, task: None)
        app = create_app({"DATABASE_URL": url})
        engine = app.extensions["pacioli"].engine
        migrations.upgrade(engine)
        yield app
    engine.dispose()


@pytest.fixture
def service(app: Flask) -> Service:
    service: Service = app.extensions["pacioli"]
    return service


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Used once already, so that USD has its precision."""
    client = app.test_client()
    assert _post(client, _good_transaction()).status_code == 201
    return client


# One field


@pytest.mark.parametrize(
    ("target", "field"),
    [(name, field.encode_name) for name, target in TARGETS.items() for field in msgspec.structs.fields(target.struct)],
)
def test_junk_in_a_field_is_refused_by_name_and_writes_nothing(
    client: FlaskClient, service: Service, target: str, field: str
) -> None:
    accepted = ACCEPTED[TARGETS[target].struct].get(field)
    for name, junk in JUNK.items():
        path, fields = _prepared(client, TARGETS[target])
        if field == "amount":
            fields.pop("precise_amount", None)
        before = _counts(service)
        response = _send(client, TARGETS[target], path, _text({**fields, field: junk}))
        if response.status_code >= 400:
            _assert_refused(response, field)
            assert _counts(service) == before, name
        if accepted is not None:
            # Good as well, but a target before had it.
            is_taken = response.status_code == 409 and field == "reference"
            is_good = response.status_code < 300 or is_taken
            assert is_good == (name in accepted.split(", ")), (name, response.text[:300])
    _assert_still_works(client)


@pytest.mark.parametrize(
    ("target", "field"), [(name, field) for name, target in TARGETS.items() for field in target.required.split()]
)
def test_a_missing_field_is_named(client: FlaskClient, service: Service, target: str, field: str) -> None:
    path, fields = _prepared(client, TARGETS[target])
    before = _counts(service)
    del fields[field]
    response = _send(client, TARGETS[target], path, _text(fields))
    assert response.status_code == 400
    _assert_refused(response, field.removeprefix("precise_"))
    assert _counts(service) == before


@pytest.mark.parametrize(
    ("target", "field"),
    [(name, field.encode_name) for name, target in TARGETS.items() for field in msgspec.structs.fields(target.struct)],
)
def test_a_misspelt_field_is_refused_with_the_right_spelling(
    client: FlaskClient, service: Service, target: str, field: str
) -> None:
    path, fields = _prepared(client, TARGETS[target])
    before = _counts(service)
    misspelt = field[:-2] + field[-1]
    response = _send(client, TARGETS[target], path, _text({**fields, misspelt: b"null"}))
    assert response.status_code == 400
    detail = response.get_json()["error_detail"]
    assert detail["details"]["field"] == TARGETS[target].place + misspelt
    assert f"did you mean {field}?" in detail["message"] or "amount" in field  # amunt is near to more than one
    assert _counts(service) == before


def test_a_name_that_looks_like_a_place_is_only_a_name(client: FlaskClient) -> None:
    name = "x` - at `$.transactions[0].meta_data.y"
    response = _send(client, TARGETS["ledger"], "/ledgers", _text({"name": b'"a"', name: b"1"}))
    assert response.status_code == 400
    _assert_refused(response, "unknown field")


def test_of_a_field_that_is_given_twice_the_last_counts(client: FlaskClient) -> None:
    fields = _text({**_encoded(_good_transaction()), "reference": b'"first"'})
    response = _send(client, TARGETS["transaction"], "/transactions", fields[:-1] + b', "reference": "last"}')
    assert response.status_code == 201
    assert response.get_json()["reference"] == "last"


@pytest.mark.parametrize("date", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-00:00"])
def test_the_ends_of_the_calendar_are_dates(client: FlaskClient, date: str) -> None:
    accepted = _post(client, {**_good_transaction(), "effective_date": date})
    assert accepted.status_code == 201
    read = client.get(f"/transactions/{accepted.get_json()['transaction_id']}")
    assert read.get_json()["effective_date"] == date.replace("-00:00", "Z")


# Splits

_BAD_SHARES: list[dict[str, Any]] = [
    {},
    *(
        {"distribution": text}
        for text in (
            *("", " ", "abc", "NaN", "nan", "Infinity", "-inf", "1e3", "1e999", "-1", "+5", "1_0", "1,5", ".5", "5."),
            *("0x10", "0", "0.00", "0.001", "٣", "９", "9" * 1001, "9" * 100_000, "0." + "0" * 600 + "1", "5\n"),
            *("%", "abc%", "NaN%", "-5%", "+5%", "1e2%", "0%", "0.0%", "5 %", "5%%", "٣%", "1000%", ".5%", "5.%"),
            *("9" * 1001 + "%", "0." + "3" * 100 + "%", "LEFT", "Left", " left", "left ", "l\u0000"),
        )
    ),
    *(
        {"precise_distribution": text, "distribution": "left"}
        for text in (
            *(
                "",
                "abc",
                "NaN",
                "1e3",
                "1.5",
                "1.0",
                "-5",
                "+5",
                "0",
                " 5",
                "1_0",
                "٣",
                "5%",
                "9" * 1001,
                "9" * 100_000,
            ),
            *(0, -5, -(10**30), 10**2000),
        )
    ),
]


@pytest.mark.parametrize("mode", [{}, {"skip_queue": True}, {"dry_run": True}], ids=str)
@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_share_that_is_none_is_refused_by_its_place(
    client: FlaskClient, service: Service, side: str, mode: dict[str, bool]
) -> None:
    before = _counts(service)
    for share in _BAD_SHARES:
        legs = [{"identifier": "@New1", "distribution": "10%"}, {"identifier": "@New2", **share}]
        response = _post(client, {**_good_transaction(), **mode, side: None, f"{side}s": legs})
        assert response.status_code == 400, share
        detail = response.get_json()["error_detail"]
        field = "precise_distribution" if "precise_distribution" in share else "distribution"
        assert detail["code"] == "TXN_INVALID_DISTRIBUTION"
        assert detail["message"].startswith(f"{side}s[1].{field}: failed to split transaction: "), share
        assert len(detail["message"]) < 2000 or len(str(share)) > 1000
        assert _counts(service) == before, share


@pytest.mark.parametrize(
    ("shares", "what"),
    [
        (["left", "left"], "multiple identifiers with 'left'"),
        (["60%", "60%"], "exceed"),
        (["101%"], "exceed"),
        (["100.01", "left"], "exceed"),
        (["100.00", "0.01%"], "exceed"),
        (["50%", "30%"], "less than the total"),
        (["99.99"], "less than the total"),
        (["99.999999999999%"], "less than the total"),
    ],
    ids=str,
)
def test_shares_that_do_not_add_up_are_refused(
    client: FlaskClient, service: Service, shares: list[str], what: str
) -> None:
    before = _counts(service)
    for side in ("source", "destination"):
        legs = [{"identifier": f"@New{place}", "distribution": share} for place, share in enumerate(shares)]
        asked = {**_good_transaction(), "precise_amount": 10_000, side: None, f"{side}s": legs}
        response = _post(client, asked)
        _assert_refused(response, f"{side}s")
        assert response.get_json()["error_detail"]["code"] == "TXN_INVALID_DISTRIBUTION"
        assert what in response.get_json()["error"]
    assert _counts(service) == before


@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_split_has_at_most_a_thousand_legs(client: FlaskClient, service: Service, side: str) -> None:
    legs = [{"identifier": f"@{side}{place}", "precise_distribution": 1} for place in range(1001)]
    asked = {**_good_transaction(), side: None, "precise_amount": 1001}
    before = _counts(service)
    response = _post(client, {**asked, f"{side}s": legs})
    assert response.get_json()["error"] == f"{side}s: at most 1000 are allowed."
    assert _counts(service) == before
    assert _post(client, {**asked, "precise_amount": 1000, f"{side}s": legs[1:]}).status_code == 201


def test_one_balance_is_on_one_side_under_whatever_name(client: FlaskClient, service: Service) -> None:
    applied = _post(client, {**_good_transaction(), "skip_queue": True}).get_json()
    ids = {"@World": applied["source"], "@A": applied["destination"]}
    before = _counts(service)
    for source, destination in (("@World", ids["@World"]), (ids["@A"], "@A"), ("@A", "@A"), (ids["@A"], ids["@A"])):
        sources, destinations = (
            [{"identifier": f"@Other{n}", "distribution": "50%"}, {"identifier": name, "distribution": "left"}]
            for n, name in enumerate((source, destination))
        )
        for sides in (
            {"source": source, "destination": destination},
            {"source": source, "destinations": destinations},
            {"sources": sources, "destination": destination},
            {"sources": sources, "destinations": destinations},
        ):
            response = _post(client, {**_good_transaction(), "source": None, "destination": None, **sides})
            text_ = "destination: source and destination cannot be the same balance."
            assert (response.status_code, response.get_json()["error"]) == (400, text_)
    assert _counts(service) == before


def test_each_side_is_given_once(client: FlaskClient, service: Service) -> None:
    before = _counts(service)
    legs = [{"identifier": "@B", "distribution": "left"}]
    for side in ("source", "destination"):
        wrong: list[dict[str, Any]] = [
            {f"{side}s": legs},
            {side: None},
            {side: None, f"{side}s": []},
            {side: "", f"{side}s": None},
        ]
        for fields in wrong:
            response = _post(client, {**_good_transaction(), **fields})
            _assert_refused(response, side)
            assert f"either {side} or {side}s is required, not both" in response.get_json()["error"]
        for name in ("", "nobody", "@", "@a b"):
            asked = {side: None, f"{side}s": [{**legs[0], "identifier": name}]}
            _assert_refused(_post(client, {**_good_transaction(), **asked}), f"{side}s")
    assert _counts(service) == before


# Dates

_BAD_DATES = [
    *("invalid-date", " ", "now", "0", "1700000000", "2026-01-01", "2026-01-01T00:00:00", "2026-01-01 00:00"),
    *("2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T24:00:01Z", "2026-01-01T00:60:00Z"),
    *("2016-12-31T23:59:60Z", "2026-01-01T00:00:00+99:00", "2026-01-01T00:00:00+00:00:01"),
    *(
        "2026-01-01T00:00:00.Z",
        "2026-1-1T00:00:00Z",
        "26-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "-001-01-01T00:00:00Z",
    ),
    *("0000-01-01T00:00:00Z", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "２０２６-01-01T00:00:00Z"),
    *("2026-01-01T00:00:00Z ", "2026-01-01T00:00:00Z\n", "2026-W01-1T00:00:00Z", "NaN", "@A", "\u0000", "x" * 100_000),
]


@pytest.mark.parametrize("mode", [{}, {"skip_queue": True}, {"dry_run": True}], ids=str)
@pytest.mark.parametrize("field", ["scheduled_for", "inflight_expiry_date", "inflight_commit_date", "effective_date"])
def test_a_date_that_is_none_is_refused_by_name(
    client: FlaskClient, service: Service, field: str, mode: dict[str, bool]
) -> None:
    before = _counts(service)
    for date in _BAD_DATES:
        response = _post(client, {**_good_transaction(), **mode, "inflight": True, field: date})
        assert response.status_code == 400, date
        assert field in response.get_json()["error"], date
        assert _counts(service) == before, date


@pytest.mark.parametrize(
    "date", ["2999-01-01t00:00:00z", "2999-01-01T00:00:00.123456789Z", "2999-01-01 00:00:00-23:59"]
)
def test_a_date_may_be_written_as_rfc_3339_allows(client: FlaskClient, date: str) -> None:
    asked = dict.fromkeys(("scheduled_for", "inflight_expiry_date", "inflight_commit_date"), date)
    accepted = _post(client, {**_good_transaction(), "inflight": True, **asked})
    assert (accepted.status_code, accepted.get_json()["status"]) == (201, "SCHEDULED")


@pytest.mark.parametrize("field", ["inflight_expiry_date", "inflight_commit_date"])
def test_a_date_of_a_hold_needs_a_hold(client: FlaskClient, service: Service, field: str) -> None:
    before = _counts(service)
    dated = {**_good_transaction(), field: "2999-01-01T00:00:00Z", "reference": f"dated {field}"}
    for fields in ({}, {"inflight": False}, {"dry_run": True}):
        response = _post(client, {**dated, **fields})
        assert (response.status_code, "needs inflight: true" in response.get_json()["error"]) == (400, True)
        _assert_refused(response, field)
    response = client.post(
        "/transactions/bulk", json={"transactions": [{**dated, "inflight": True}], "inflight": False}
    )
    _assert_refused(response, field)
    assert _counts(service) == before
    assert client.post("/transactions/bulk", json={"transactions": [dated], "inflight": True}).status_code == 201


def test_what_waits_for_a_date_is_not_decided_now(client: FlaskClient, service: Service) -> None:
    before = _counts(service)
    scheduled = {**_good_transaction(), "scheduled_for": "2999-01-01T00:00:00Z", "reference": "one day"}
    _assert_refused(_post(client, {**scheduled, "skip_queue": True}), "skip_queue")
    for fields in ({"atomic": True}, {"skip_queue": True}):
        response = client.post("/transactions/bulk", json={"transactions": [scheduled], **fields})
        assert response.status_code == 400
        assert response.get_json()["error"].startswith("transactions[0].scheduled_for: ")
    assert _counts(service) == before


# What follows a transaction


def test_only_what_is_scheduled_can_be_cancelled(client: FlaskClient, service: Service) -> None:
    scheduled = _post(client, {**_good_transaction(), "scheduled_for": "2999-01-01T00:00:00Z"}).get_json()
    path = f"/transactions/{scheduled['transaction_id']}"
    for _ in range(2):
        assert client.delete(path).get_json()["status"] == "VOID"
    before = _counts(service)
    for made, status in (({}, "APPLIED"), ({"inflight": True}, "INFLIGHT")):
        response = client.delete(f"/transactions/{_new(client, **made)}")
        assert response.status_code == 409
        text_ = f"only a SCHEDULED transaction can be cancelled, and this one is {status}"
        assert response.get_json()["error"] == text_
    assert _counts(service)["scheduled"] == before["scheduled"]
    # Its reference stays its own.
    other = _post(client, {**_good_transaction(), "reference": scheduled["reference"], "precise_amount": 2})
    assert other.get_json()["error_detail"]["code"] == "TXN_DUPLICATE_REFERENCE"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("DELETE", "/transactions/{}", None),
        ("PUT", "/transactions/inflight/{}", {"status": "commit"}),
        ("PUT", "/transactions/inflight/{}", {"status": "void", "dry_run": True}),
        ("POST", "/refund-transaction/{}", {}),
        ("POST", "/refund-transaction/{}", {"dry_run": True, "skip_queue": True}),
    ],
    ids=str,
)
def test_nothing_follows_what_is_not_there(
    client: FlaskClient, service: Service, method: str, path: str, body: Any
) -> None:
    before = _counts(service)
    for odd in [
        *_ODD,
        "txn_",
        "bulk_",
        "bulk_%25",
        "txn_00000000-0000-0000-0000-000000000000",
        "bln_1",
        "txn_" + "9" * 400,
    ]:
        response = client.open(path.format(odd), method=method, json=body)
        assert response.status_code == 404, odd
    assert _counts(service) == before


@pytest.mark.parametrize("mode", [{}, {"skip_queue": True}, {"dry_run": True}], ids=str)
def test_a_bad_item_of_many_settlements_fails_alone(
    client: FlaskClient, service: Service, mode: dict[str, bool]
) -> None:
    hold, applied = _new(client, inflight=True), _new(client)
    before = _counts(service)
    for amounts, code in (
        ({"precise_amount": 0}, "INVALID_AMOUNT"),
        ({"precise_amount": -1}, "INVALID_AMOUNT"),
        ({"precise_amount": "abc"}, "INVALID_AMOUNT"),
        ({"precise_amount": "9" * 1001}, "INVALID_AMOUNT"),
        ({"precise_amount": 10**6 + 1}, "INVALID_AMOUNT"),
        ({"amount": -1}, "INVALID_AMOUNT"),
        ({"amount": 0.001}, "INVALID_AMOUNT"),
        ({"amount": "NaN"}, "INVALID_AMOUNT"),
        ({"amount": "Infinity"}, "INVALID_AMOUNT"),
        ({"amount": "1e999"}, "INVALID_AMOUNT"),
        ({"transaction_id": applied}, "NOT_INFLIGHT"),
        ({"transaction_id": ""}, "NOT_FOUND"),
        ({"transaction_id": "\x01" + "x" * 10_000}, "NOT_FOUND"),
        ({"transaction_id": "txn_\x00"}, "NOT_FOUND"),
        ({"transaction_id": "bulk_\x00"}, "NOT_FOUND"),
        ({"transaction_id": "bulk_00000000-0000-0000-0000-000000000000"}, "NOT_FOUND"),
    ):
        items = [{"transaction_id": hold, **amounts}]
        response = client.post("/transactions/inflight/bulk/commit", json={"transactions": items, **mode})
        assert response.status_code == 200, amounts
        (result,) = response.get_json()["results"]
        if mode.get("dry_run"):
            assert (result["would_apply"], bool(result["rejection"]["message"])) == (False, True)
        else:
            assert (result["status"], result["code"]) == ("failed", code), amounts
        assert _counts(service) == before, amounts


@pytest.mark.parametrize("path", ["commit", "void"])
def test_many_settlements_are_at_most_a_hundred(client: FlaskClient, service: Service, path: str) -> None:
    holds = [_new(client, inflight=True) for _ in range(2)]
    name = "transactions" if path == "commit" else "transaction_ids"
    before = _counts(service)
    for count in (0, 101, 10_000):
        items: list[Any] = [holds[0]] * count
        if path == "commit":
            items = [{"transaction_id": id} for id in items]
        response = client.post(f"/transactions/inflight/bulk/{path}", json={name: items})
        _assert_refused(response, name)
    assert _counts(service) == before
    # One that is there twice is settled once.
    ids = [holds[0], holds[1], holds[0]]
    items = [{"transaction_id": id} for id in ids] if path == "commit" else ids
    response = client.post(f"/transactions/inflight/bulk/{path}", json={name: items, "skip_queue": True})
    results = response.get_json()["results"]
    assert [one["status"] for one in results] == ["succeeded", "succeeded", "failed"]
    assert (results[2]["code"], _counts(service)["log"]) == ("LOCKED", before["log"] + 2)


@pytest.mark.parametrize("mode", [{}, {"skip_queue": True}, {"dry_run": True}], ids=str)
def test_a_refund_that_makes_no_sense_moves_nothing(
    client: FlaskClient, service: Service, mode: dict[str, bool]
) -> None:
    applied = _new(client)
    before = _counts(service)
    for fields, named in (
        ({"precise_amount": 0}, "precise_amount"),
        ({"precise_amount": "x"}, "precise_amount"),
        ({"precise_amount": 10**6 + 1}, "amount"),
        ({"amount": -1}, "amount"),
        ({"amount": 0.001}, "amount"),
        ({"amount": "NaN"}, "amount"),
        ({"amount": "sNaN"}, "amount"),
        ({"amount": "Infinity"}, "amount"),
        ({"amount": "1e999999999"}, "amount"),
        ({"description": "  "}, "description"),
        ({"description": "\x00"}, "description"),
        ({"reference": ""}, "reference"),
        ({"reference": "x" * 513}, "reference"),
        ({"meta_data": []}, "meta_data"),
        ({"meta_data": {"\x00": 1}}, "meta_data"),
    ):
        response = client.post(f"/refund-transaction/{applied}", json={**fields, **mode})
        _assert_refused(response, named)
        assert _counts(service) == before, fields


@pytest.mark.parametrize("threshold", ["abc", "5", "5x", "-", " 5m", "NaN", "1e9h", "9" * 400 + "h", "5m5"])
def test_a_recovery_needs_a_duration(client: FlaskClient, threshold: str) -> None:
    response = client.post("/transactions/recover", query_string={"threshold": threshold})
    assert (response.status_code, "invalid threshold duration" in response.get_json()["error"]) == (400, True)


def test_an_odd_threshold_is_a_duration_too(client: FlaskClient) -> None:
    for threshold, printed in (("", "2m0s"), ("-5m", "-5m0s"), ("2562047h", "2562047h0m0s"), ("0", "0s")):
        response = client.post("/transactions/recover", query_string={"threshold": threshold})
        assert (response.status_code, response.get_json()["threshold"]) == (200, printed)


# The body as a whole


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b"1",
        b'"text"',
        b"{",
        b"{}}",
        b"{'a': 1}",
        b'{"a": 1,}',
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b"\x00",
        b'{"\xff": 1}',
        b'{"\\ud800": 1}',
        b'{"\\u0000": 1}',
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    ],
    ids=lambda body: repr(body[:12]),
)
def test_a_body_that_is_no_request_is_refused(client: FlaskClient, service: Service, target: str, body: bytes) -> None:
    if target in ("refund", "run") and not body:
        return  # All of it is optional.
    path, _ = _prepared(client, TARGETS[target])
    before = _counts(service)
    response = client.open(path, method=TARGETS[target].method, data=body, content_type="application/json")
    assert response.status_code == 400
    assert response.get_json()["error_detail"]["code"] in ("GEN_MALFORMED_REQUEST", "GEN_VALIDATION_ERROR")
    assert response.get_json()["error"]
    assert _counts(service) == before


@pytest.mark.parametrize("target", TARGETS)
def test_another_content_type_is_refused(client: FlaskClient, service: Service, target: str) -> None:
    path, fields = _prepared(client, TARGETS[target])
    before = _counts(service)
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp"):
        if (content_type, path) == ("multipart/form-data", "/funding-jobs"):
            continue  # It takes that as well.
        response = client.open(path, method=TARGETS[target].method, data=_text(fields), content_type=content_type)
        assert response.status_code == 415
        assert response.get_json()["error_detail"]["code"] == "GEN_UNSUPPORTED_MEDIA_TYPE"
        assert content_type in response.get_json()["error_detail"]["message"]
    assert _counts(service) == before


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON", None])
def test_json_by_any_name_is_taken(client: FlaskClient, content_type: str | None) -> None:
    assert client.post("/ledgers", data=b'{"name": "a"}', content_type=content_type).status_code == 201


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_413(client: FlaskClient, service: Service, target: str, chunked: bool) -> None:
    path, fields = _prepared(client, TARGETS[target])
    before = _counts(service)
    # With the end cut off, it would be a good request.
    body = b"".join((TARGETS[target].around[0], _text(fields), TARGETS[target].around[1])).ljust(6 * 1024 * 1024)
    method = TARGETS[target].method
    if chunked:  # As a server hands it on: no Content-Length, and a stream that ends by itself.
        environ = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
        response = client.open(
            path, method=method, input_stream=BytesIO(body), environ_overrides=environ, content_type="application/json"
        )
    else:
        response = client.open(path, method=method, data=body, content_type="application/json")
    assert response.status_code == 413
    assert response.get_json()["error_detail"]["code"] == "GEN_PAYLOAD_TOO_LARGE"
    assert str(MAX_BODY) in response.get_json()["error_detail"]["message"]
    assert _counts(service) == before
    _assert_still_works(client)


def test_a_bulk_has_at_most_10000(client: FlaskClient, service: Service) -> None:
    before = _counts(service)
    items = [{**_good_transaction(), "reference": f"many {number}"} for number in range(10_001)]
    response = client.post("/transactions/bulk", json={"transactions": items})
    assert response.status_code == 400
    assert response.get_json()["error_detail"]["code"] == "TXN_BULK_LIMIT_EXCEEDED"
    assert _counts(service) == before
    assert client.post("/transactions/bulk", json={"transactions": items[:10_000]}).status_code == 201


# Paths and queries

_ODD = [
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


@pytest.mark.parametrize(
    "path",
    [
        "/transactions/{}",
        "/transactions/txn_{}",
        "/transactions/reference/{}",
        "/balances/{}",
        "/balances/bln_{}",
        "/balances/{}/entries",
        "/balances/indicator/{}/currency/USD",
        "/balances/indicator/@A/currency/{}",
        "/ledgers/{}",
        "/{}",
    ],
)
def test_an_odd_path_names_nothing(client: FlaskClient, path: str) -> None:
    for odd in _ODD:
        response = client.get(path.format(odd))
        assert response.status_code == 404, odd
        if response.is_json:
            assert response.get_json()["error_detail"]["code"].endswith("_NOT_FOUND")
        assert "X-Bad" not in response.headers


@pytest.mark.parametrize(
    ("path", "arguments"),
    [
        ("/transactions", "limit offset after sort_by sort_order wait from unknown"),
        ("/transactions/{transaction}", "wait"),
        ("/transactions/reference/nothing", "wait"),
        ("/balances", "limit offset after"),
        ("/balances/{balance}", "with_queued"),
        ("/balances/{balance}/entries", "limit after from to"),
        ("/ledgers", "limit offset after"),
    ],
)
def test_an_odd_query_is_answered(client: FlaskClient, path: str, arguments: str) -> None:
    transaction = client.get("/transactions").get_json()[0]
    path = path.format(transaction=transaction["transaction_id"], balance=transaction["source"])
    for name in arguments.split():
        for odd in [*_ODD, "", "&" + name, "1e3", "%EF%BC%91"]:
            response = client.get(f"{path}?{name}={odd}")
            assert response.status_code in (200, 400, 404), (name, odd)
            if response.status_code == 400:
                assert name in response.get_json()["error_detail"]["message"] or "NUL" in response.get_json()["error"]


@pytest.mark.parametrize("path", ["/transactions?wait={}", "/transactions/inflight/{{hold}}?wait={}"])
def test_a_wait_that_is_none_is_refused_before_anything_is_written(
    client: FlaskClient, service: Service, path: str
) -> None:
    target = TARGETS["settle" if "inflight" in path else "transaction"]
    hold, fields = _prepared(client, target)
    before = _counts(service)
    for odd in ("x", "-1", "1h", "", "NaN", "inf", "9" * 400):
        address = path.format(odd).replace("/transactions/inflight/{hold}", hold)
        response = _send(client, target, address, _text(fields))
        assert response.status_code == 400
        _assert_refused(response, "wait")
    assert _counts(service) == before


def test_odd_headers_are_answered(client: FlaskClient) -> None:
    odd = ["\x7f", "x" * 10_000, "\xff", "{}", "*/*;q=x", ";;;", "text/csv;q=1e9"]
    balance = client.get("/balances").get_json()[0]["balance_id"]
    for value in odd:
        headers = dict.fromkeys(("Accept", "X-Request-Id", "X-Blnk-Key", "Range", "If-None-Match", "Cookie"), value)
        response = client.get(f"/balances/{balance}/entries", headers=headers)
        assert response.status_code == 200
        assert response.headers["X-Request-Id"] != "\xff"


# Whatever else JSON can say

_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from(["@A", "@B", "USD"]),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("target", TARGETS)
@settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_json_is_answered_and_what_is_refused_writes_nothing(
    client: FlaskClient, service: Service, target: str, data: st.DataObject
) -> None:
    names = [field.encode_name for field in msgspec.structs.fields(TARGETS[target].struct)]
    path, fields = _prepared(client, TARGETS[target])
    before = _counts(service)
    changes = data.draw(st.dictionaries(st.sampled_from(names) | st.text(max_size=5), _json, max_size=3))
    body = data.draw(
        st.just(_text({**fields, **_encoded(changes)})) | _json.map(lambda value: json.dumps(value).encode())
    )
    response = _send(client, TARGETS[target], path, body)
    assert response.status_code < 500
    if response.status_code >= 400:
        detail = response.get_json()["error_detail"]
        assert STATUS[detail["code"]] == response.status_code
        assert detail["message"]
        if "rejection" not in (detail.get("details") or {}):  # That one was accepted and is kept.
            assert _counts(service) == before
    else:
        json.loads(response.data)
        assert response.status_code in (200, 201, 202)


# One that is bad among others that are good


def test_one_conflict_among_requests_that_share_a_commit_leaves_the_others_accepted(
    app: Flask, client: FlaskClient, service: Service
) -> None:
    _post(client, {**_good_transaction(), "reference": "taken"})
    bodies = [{**_good_transaction(), "reference": f"shared {number}"} for number in range(15)]
    bodies.insert(7, {**_good_transaction(), "reference": "taken", "precise_amount": 2})
    statuses = _together(service, [partial(_status, app, body) for body in bodies])
    assert statuses == [201] * 7 + [409] + [201] * 8


def test_a_draft_that_the_database_refuses_does_not_fail_the_others_of_its_commit(
    client: FlaskClient, service: Service
) -> None:
    drafts = intake.draft_all([transaction() for _ in range(12)], service.directory)
    drafts[5] = drafts[5]._replace(description="\x00")  # Validation lets no such thing through.
    submissions = [Submission([draft]) for draft in drafts]

    def submit(submission: Submission) -> bool:
        with suppress(DBAPIError, psycopg.Error):
            service.committer.submit(submission)
            return True
        return False

    before = _counts(service)
    assert (
        _together(service, [partial(submit, submission) for submission in submissions])
        == [True] * 5 + [False] + [True] * 6
    )
    assert _counts(service)["log"] == before["log"] + 11
    _assert_still_works(client)


def _together(service: Service, calls: list[Callable[[], Any]]) -> list[Any]:
    """The results of calls that go into one commit: the committer is made to wait until all are there."""
    committer = service.committer
    gather = committer._gather
    are_all_there = threading.Event()

    def gather_all() -> Any:
        deadline = time.monotonic() + 5
        while not are_all_there.is_set() and len(committer._waiting) < len(calls) and time.monotonic() < deadline:
            time.sleep(0.005)
        are_all_there.set()
        return gather()

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(len(calls)) as pool:
        patch.setattr(committer, "_gather", gather_all)
        return [future.result(timeout=20) for future in [pool.submit(call) for call in calls]]


# Sending and looking


def _encoded(fields: dict[str, Any]) -> dict[str, bytes]:
    return {name: json.dumps(value).encode() for name, value in fields.items()}


def _text(fields: dict[str, bytes]) -> bytes:
    """An object whose values are JSON already, or are meant not to be."""
    return b"{" + b", ".join(json.dumps(name).encode() + b": " + value for name, value in fields.items()) + b"}"


def _post(client: FlaskClient, fields: dict[str, Any]) -> TestResponse:
    return client.post("/transactions", json={"reference": f"good {next(_references)}", **fields})


def _status(app: Flask, fields: dict[str, Any]) -> int:
    return _post(app.test_client(), fields).status_code


def _prepared(client: FlaskClient, target: Target) -> tuple[str, dict[str, bytes]]:
    """The path, and a body that is good once; with a fresh hold if it takes one."""
    fields = _encoded(target.good)
    if target.struct is TransactionRequest:
        fields["reference"] = f'"good {next(_references)}"'.encode()
    if target.struct is BulkRequest:
        fields = _encoded({"transactions": [{**_good_transaction(), "reference": f"good {next(_references)}"}]})
    if target.struct in (SettleRequest, BulkCommitRequest, BulkSettlement, BulkVoidRequest):
        hold = _new(client, inflight=True)
        item = {"transaction_id": hold}
        if target.struct is not SettleRequest:
            items = {"transactions": [item], "transaction_ids": [hold]}
            fields = _encoded(item if target.struct is BulkSettlement else {target.required: items[target.required]})
        return target.path.format(hold=hold), fields
    if target.struct is RunRequest:
        return target.path.format(job=client.post("/funding-jobs", json=_good_job()).get_json()["job_id"]), fields
    return target.path.format(applied=_new(client)) if target.struct is RefundRequest else target.path, fields


def _new(client: FlaskClient, **fields: Any) -> str:
    """The id of a transaction that is applied, or held, for 10,000.00."""
    done = _post(client, {**_good_transaction(), "precise_amount": 10**6, "skip_queue": True, **fields})
    assert done.status_code == 201
    transaction_id: str = done.get_json()["transaction_id"]
    return transaction_id


def _send(client: FlaskClient, target: Target, path: str, body: bytes) -> TestResponse:
    data = target.around[0] + body + target.around[1]
    return client.open(path, method=target.method, data=data, content_type="application/json")


def _assert_refused(response: TestResponse, field: str) -> None:
    """The answer says what was wrong in the shape of errors, and names the field unless it could not be read at all."""
    assert 400 <= response.status_code < 500, response.text[:500]
    detail = response.get_json()["error_detail"]
    message = detail["message"]
    assert STATUS[detail["code"]] == response.status_code
    assert response.get_json()["error"] == message
    unreadable = message == "Invalid input" and detail["details"]["reason"]
    unreadable = unreadable or message == "Invalid input: body: a number is out of range"
    unknown = detail["code"] == "BAL_NOT_FOUND" and message.startswith("Balance with ID '")
    unknown = unknown or message == "Ledger not found" or message.startswith("Invalid filter: balance: ")
    assert field.partition("_")[0] in message or unreadable or unknown, message[:500]


def _counts(service: Service) -> dict[str, int]:
    """What any write would change."""
    tables = ("log", "outcomes", "balances", "ledgers", "currencies", "holds", "refunds", "scheduled", "due")
    tables += ("funding_jobs", "funding_rows", "funding_runs")
    what = [f"(SELECT count(*) FROM {table})" for table in tables]
    what += ["(SELECT sum(version) FROM balances)", "(SELECT sum(hashtext(name)) FROM ledgers)"]
    with reading(service.engine) as conn:
        row = conn.execute(text(f"SELECT {', '.join(what)}")).one()
    return dict(zip([*tables, "versions", "names"], row, strict=True))


def _assert_still_works(client: FlaskClient) -> None:
    response = _post(client, {**_good_transaction(), "skip_queue": True})
    assert response.status_code == 201
    assert response.get_json()["status"] == "APPLIED"
