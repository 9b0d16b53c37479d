"""The one pass over plain transfers makes the drafts that the steps make, and leaves to them what they would refuse."""

import json
from datetime import datetime
from decimal import Decimal
from itertools import product
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from core.base import decoding
from core.base.actors import ALL_SCOPES, Actor, Reach, acting_for, rights_of
from core.base.errors import LedgerError
from core.ledger import intake, plain
from core.ledger.intake import Batch
from core.ledger.rules.model import BalanceRef, Draft
from core.ledger.rules.requests import BulkRequest, TransactionRequest
from tests.harness.factories import transaction
from tests.harness.searching import search
from tests.unit.ledger.test_intake import LATER, NOW, Known

ODD: dict[str, list[Any]] = {
    "amount": [Decimal("1.00"), Decimal("0.001"), Decimal(0), Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal(-1)],
    "precise_amount": [None, 0, -1, 2**63, 2**64, 10**999, 10**1001, "12", "-1", "1.5", "", "0"],
    "precision": [None, Decimal(10), Decimal("1E+2"), Decimal("sNaN"), Decimal(0), Decimal("100.0"), Decimal("0.5")],
    "currency": [None, "EUR", "XXX", "", " ", "usd", "L" * 33, "OLD MONEY"],
    "reference": [None, "", " ", "r", "r ", " r", "a b", "a\x00b", "e\u0301", "\u0301", "\u00a0", "\u200b", "x" * 512, "x" * 513],
    "description": [None, "", " ", "d" * 1025, "\u00e9" * 2049, "d" * 4096],
    "source": [None, "", "@", "@A", "bln_1", "bln_2", "bln_3", "bln_9", "@New", "@ A", "nobody", "@Long" + "g" * 255],
    "destination": [None, "@World", "bln_1", "bln_3", "@New", "\x00"],
    "allow_overdraft": [None, False],
    "apply_overdraft": [True, False],
    "overdraft_limit": [Decimal(0), Decimal(5), Decimal("sNaN"), Decimal(-1)],
    "inflight": [True, False],
    "skip_queue": [True],
    "effective_date": [LATER],
    "meta_data": [Raw(b'{"a": 1}'), Raw(b" null"), Raw(b"[]"), Raw(b'{"a": "\\u0000"}'), Raw(b'{"BLNK_GENERATED_BY": 1}')],
    "atomic": [True],
    "scheduled_for": [LATER],
    "inflight_expiry_date": [LATER],
    "inflight_commit_date": [LATER],
    "dry_run": [True],
    "status": ["", "APPLIED"],
    "balance_id": ["x"],
    "rate": [1, "2"],
    "sources": [[]],
    "destinations": [[]],
}  # fmt: skip
"""Values that a field may have instead of a plain one."""

_odd = st.one_of(*(st.tuples(st.just(name), st.sampled_from(values)) for name, values in ODD.items()))
_requests = st.lists(st.one_of(st.just({}), st.lists(_odd, max_size=2).map(dict)), min_size=1, max_size=4)

_ALL = rights_of(ALL_SCOPES)
_ACTORS = [
    Actor(key_id="api_key_1", owner="o", rights=_ALL),
    Actor(key_id="master", owner="o", rights=_ALL),
    Actor(key_id="api_key_2", owner="o", rights=_ALL - {"transactions:post_overdraft"}),
    Actor(key_id="api_key_3", owner="o", rights=_ALL, reach=Reach(indicators=("@World",))),
    Actor(key_id="api_key_4", owner="o", rights=_ALL, reach=Reach(largest_amount=Decimal(1))),
    Actor(key_id="api_key_5", owner="o", rights=_ALL, reach=Reach(largest_overdraft=Decimal(0))),
]


def test_every_field_is_tried() -> None:
    assert set(ODD) == set(TransactionRequest.__struct_fields__)


class Frozen(Known):
    """A directory whose clock stands still."""

    def now(self) -> datetime:
        return NOW


def _directory() -> Known:
    known = Frozen()
    others = [(name, currency) for name in ("@World", "@A") for currency in ("OLD MONEY", "L" * 33)]
    for key, (name, currency) in enumerate([("@Long" + "g" * 255, "USD"), *others], 7):
        known.balances[name, currency] = BalanceRef(key, f"bln_{key}", currency, name, key)
    known.precisions["L" * 33] = known.precisions["OLD MONEY"] = 100
    return known


def _made(
    draft: Any, requests: list[TransactionRequest | None], batch: Batch | None, *, check_precision: bool = True
) -> tuple[Any, ...]:
    """Draft, and return what came of it without the IDs, which are new each time."""
    directory = _directory()
    directory.check_precision = check_precision
    try:
        drafts: list[Draft] = draft(requests, directory, batch=batch)
    except LedgerError as error:
        return (
            type(error),
            error.code,
            error.message,
            getattr(error, "problems", None),
            error.details,
            directory.written,
        )
    assert len({each.row.id for each in drafts}) == len(drafts)
    return [replace(each, row=replace(each.row, id="")) for each in drafts], directory.written


@search(150)
@given(
    _requests, st.sampled_from([None, Batch("bulk_1"), Batch("bulk_1", decided_at_once=True)]), st.sampled_from(_ACTORS)
)
def test_both_ways_make_the_same_of_any_requests(
    fields: list[dict[str, Any]], batch: Batch | None, actor: Actor
) -> None:
    requests: list[TransactionRequest | None] = [_request(each) for each in fields]
    with acting_for(actor):
        assert _made(intake.draft_all, requests, batch) == _made(intake.draft_in_steps, requests, batch)


def _request(fields: dict[str, Any]) -> TransactionRequest:
    request = transaction()
    for name, value in fields.items():
        setattr(request, name, value)
    if "amount" in fields and "precise_amount" not in fields:
        request.precise_amount = None
    return request


@pytest.mark.parametrize("name", sorted(ODD))
@pytest.mark.parametrize("actor", _ACTORS[:3], ids=lambda actor: actor.key_id)
def test_both_ways_make_the_same_of_any_field(name: str, actor: Actor) -> None:
    for value, batch, checks in product(ODD[name], (None, Batch("bulk_1")), (True, False)):
        requests: list[TransactionRequest | None] = [transaction(), _request({name: value})]
        with acting_for(actor):
            both = (
                _made(draft, requests[batch is None :], batch, check_precision=checks)
                for draft in (intake.draft_all, intake.draft_in_steps)
            )
            assert next(both) == next(both), (value, batch, checks)


@pytest.mark.parametrize(
    "fields",
    [[{"amount": "1", "precise_amount": 100}], [{"reference": "r"}, {"reference": "r"}], [{}, None]],
    ids=["two amounts", "a repeated reference", "no request"],
)
def test_both_ways_refuse_alike(fields: list[dict[str, Any] | None]) -> None:
    requests = [None if each is None else transaction(**each) for each in fields]
    made = _made(intake.draft_all, requests, Batch("bulk_1"))
    assert issubclass(made[0], LedgerError)
    assert made == _made(intake.draft_in_steps, requests, Batch("bulk_1"))


PLAIN: list[dict[str, Any]] = [
    {},
    {"amount": "1.25"},
    {"precise_amount": "12"},
    {"precise_amount": 10**30},
    {"precision": None},
    {"source": "bln_1", "destination": "bln_2"},
    {"inflight": True, "allow_overdraft": False, "apply_overdraft": True, "skip_queue": True},
    {"meta_data": Raw(b'{"a": 1}')},
]


@pytest.mark.parametrize("fields", PLAIN, ids=lambda fields: ", ".join(fields) or "all")
def test_a_plain_transfer_takes_one_pass(fields: dict[str, Any]) -> None:
    requests = [transaction(), transaction(**fields)]
    assert plain.draft_plain(requests, _directory(), "bulk_1") is not None
    assert plain.draft_one(requests[1], _directory()) is not None
    both = (_made(draft, list(requests), Batch("bulk_1")) for draft in (intake.draft_all, intake.draft_in_steps))
    assert next(both) == next(both)


WRITTEN: dict[str, list[str]] = {
    "amount": [
        "1",
        "1.00",
        "0.001",
        "0",
        "-1",
        "1e2",
        '"1.5"',
        '"NaN"',
        '"1_0"',
        '""',
        "true",
        "[]",
        "1e9999999999999999999",
        "null",
    ],
    "precise_amount": ["0", "1.0", "1e2", "9223372036854775808", "18446744073709551616", '"12"', "true", "null"],
    "precision": ["10", "100.0", "1E+2", '"100"', "0", "null", "9223372036854775808"],
    "currency": ['"EUR"', '""', '"\\ud800"', '"\\u0000"', "1"],
    "reference": ['""', '"r"', '" r"', '"a\\nb"', '"\\u200b"', "null"],
    "description": ['""', '"\\u0000"', '"a \\" b"', "null"],
    "source": ['"bln_1"', '"bln_3"', '"@New"', '""'],
    "allow_overdraft": ["false", '"true"', "null"],
    "inflight": ["true", "null"],
    "meta_data": ['{"a": "\\u0000"}', '{"a": 1}', "null", "[]", '{"BLNK_GENERATED_BY": 1}'],
    "skip_queue": ["true"],
    "unknown": ["1"],
    "rate": ["2"],
}
"""The JSON of values that a field of an item may have instead of a plain one."""

_BULKS = msgspec.json.Decoder(BulkRequest)

_written = st.one_of(*(st.tuples(st.just(name), st.sampled_from(values)) for name, values in WRITTEN.items()))
_around = st.sampled_from(
    ["", ', "inflight": true', ', "inflight": false', ', "atomic": true', ', "odd": 1', ', "inflight": 1']
)


@search(150)
@given(
    st.lists(st.lists(_written, max_size=2).map(dict), min_size=1, max_size=3), _around, st.sampled_from(_ACTORS[:3])
)
def test_a_bulk_that_is_read_plainly_is_the_one_that_is_read_in_full(
    items: list[dict[str, str]], around: str, actor: Actor
) -> None:
    texts = (_item(number, each) for number, each in enumerate(items))
    body = f'{{"transactions": [{", ".join(texts)}]{around}}}'.encode()
    bulk = plain.read_plain(body)
    if bulk is None:
        return
    asked, unread = decoding.read(_BULKS, body)
    if unread:
        with acting_for(actor):
            assert plain.draft_bulk(bulk, _directory(), "bulk_1") is None
        return
    assert asked.transactions is not None
    assert (asked.inflight, asked.atomic) == (bulk.inflight, bulk.atomic)
    for request in asked.transactions:
        if request is not None and asked.inflight is not None:
            request.inflight = asked.inflight
    with acting_for(actor):
        drafts = plain.draft_bulk(bulk, _directory(), "bulk_1")
        if drafts is not None:
            made = [replace(each, row=replace(each.row, id="")) for each in drafts]
            assert (made, []) == _made(intake.draft_in_steps, asked.transactions, Batch("bulk_1"))


def _item(number: int, fields: dict[str, str]) -> str:
    plain_ones = {
        "precise_amount": "1",
        "precision": "100",
        "currency": '"USD"',
        "reference": f'"ref-{number}"',
        "description": '"a test"',
        "source": '"@World"',
        "destination": '"@A"',
        "allow_overdraft": "true",
    }
    if "amount" in fields:
        del plain_ones["precise_amount"]
    return f"{{{', '.join(f'{json.dumps(name)}: {value}' for name, value in (plain_ones | fields).items())}}}"


def test_plain_bulks_are_read_plainly() -> None:
    body = (
        f'{{"transactions": [{_item(1, {})}, {_item(2, {"amount": "1.50", "meta_data": "{}"})}], "skip_queue": true}}'
    )
    bulk = plain.read_plain(body.encode())
    assert bulk is not None
    assert plain.draft_bulk(bulk, _directory(), "bulk_1") is not None


@pytest.mark.parametrize(
    "body", [b"", b"[", b"{}", b'{"transactions": null}', b'{"transactions": [null]}', b"\xff", b'{"dry_run": true}']
)
def test_other_bodies_are_not_read_plainly(body: bytes) -> None:
    assert plain.read_plain(body) is None


@pytest.mark.parametrize("amount", ['"1_0"', '"1"', '""', "true", "[]", "{}", "18446744073709551616", "null"])
@pytest.mark.parametrize("minor", ["null", "5"])
def test_an_amount_that_is_no_number_is_left_to_the_steps(amount: str, minor: str) -> None:
    item = _item(1, {"amount": amount, "precise_amount": minor})
    bulk = plain.read_plain(f'{{"transactions": [{item}]}}'.encode())
    assert bulk is not None
    drafts = plain.draft_bulk(bulk, _directory(), "bulk_1")
    assert (drafts is None) == ((amount, minor) != ("null", "5"))
