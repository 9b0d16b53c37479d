"""Blnk's acceptance cases of the hash, and those that Blnk itself fails."""

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from core.ledger import intake
from core.ledger.rules import chain
from core.ledger.rules.log_row import digest_of
from tests.harness.acceptance import case
from tests.harness.api import Api, close, ok, refused
from tests.harness.factories import transaction
from tests.harness.keys import KEY
from tests.harness.steps import balances_of, commit, make_hold, post_split
from web.accept.doorbell import Doorbell
from web.app import create_app

# The hash


@case(98)
def test_a_hash_covers_what_was_accepted_and_not_what_became_of_it(api: Api) -> None:
    accepted = ok(api.post(inflight=True, meta_data={"a": 1}), 201)
    assert re.fullmatch("[0-9a-f]{64}", accepted["hash"])
    api.drain()
    held = api.transaction(accepted["transaction_id"])
    commit(api, held["transaction_id"])
    settled = api.transaction(accepted["transaction_id"])
    assert [one["status"] for one in (accepted, held, settled)] == ["QUEUED", "INFLIGHT", "APPLIED"]
    assert {one["hash"] for one in (accepted, held, settled)} == {accepted["hash"]}


@case(98)
@pytest.mark.parametrize(
    "change",
    [
        {"amount": Decimal("1.00000004")},
        {"reference": "S"},
        {"currency": "EUR"},
        {"source": "@B"},
        {"destination": "@B"},
        {"meta_data": b'{"a": 2}'},  # Blnk: metadata changes nothing.
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_hash_changes_with_each_field(api: Api, change: dict[str, Any]) -> None:
    directory = api.app.extensions["pacioli"].directory
    at = datetime(2026, 1, 1, tzinfo=UTC)

    def digest(**fields: Any) -> bytes:
        asked = transaction(reference="R", amount=Decimal("1.00000001"), precision=10**8)
        for name, value in fields.items():
            setattr(asked, name, value)
        (draft,) = intake.draft_all([asked], directory)
        return digest_of(replace(draft.row, id="one", seq=1, queue=1, accepted_at=at), chain.START)

    assert digest() == digest() != digest(**change)


# Cases that Blnk fails


@case(100)
def test_what_was_funded_before_can_be_spent_after(api: Api) -> None:
    # Blnk: 16 of 40 are rejected.
    ids = []
    for number in range(40):
        fund = {"source": f"@Pool{number}", "destination": f"@C{number}", "precise_amount": 10}
        spend = {"source": f"@C{number}", "destination": "@Shop", "precise_amount": 10, "allow_overdraft": None}
        ids += [ok(api.post(**fields), 201)["transaction_id"] for fields in (fund, spend)]
    api.drain()
    assert {api.transaction(id)["status"] for id in ids} == {"APPLIED"}
    assert balances_of(api, "@Shop") == [400]


@case(101)
def test_a_backlog_keeps_to_the_limit_of_each(api: Api) -> None:
    # Blnk: -400200.
    limited = {"source": "@A", "destination": "@B", "allow_overdraft": True, "overdraft_limit": 1.00}
    ok(api.bulk(*[{**limited, "precise_amount": 7} for _ in range(200)]), 201)
    api.drain()
    entries = api.get(f"/balances/{api.balance('@A')['balance_id']}/entries", limit=1000)
    assert [entry["precise_balance_after"] for entry in entries] == list(range(-7, -100, -7))


@case(102)
def test_a_reference_that_ends_in_q_is_its_own(api: Api) -> None:
    # Blnk: the money of X never moves.
    ids = [ok(api.post(reference=reference), 201)["transaction_id"] for reference in ("X", "X_q")]
    api.drain()
    for reference, id in zip(("X", "X_q"), ids, strict=True):
        found = api.get(f"/transactions/reference/{reference}")
        assert (found["transaction_id"], found["status"]) == (id, "APPLIED")
    assert balances_of(api, "@A") == [2]


@case(103)
def test_a_split_is_applied_once_however_it_is_sent(api: Api) -> None:
    # Blnk: twice.
    shares = [("@A", "30%"), ("@B", "left")]
    first = ok(post_split(api, 100, *shares, reference="R", skip_queue=None), 201)
    again = post_split(api, 100, *shares, reference="R")
    assert ok(again, 200)["transaction_id"] == first["transaction_id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.get_json()["status"] == "APPLIED"
    other = post_split(api, 100, ("@A", "40%"), ("@B", "left"), reference="R")
    assert refused(other, 409, "TXN_DUPLICATE_REFERENCE")["details"]["field"] == "destinations"
    assert balances_of(api, "@A", "@B", "@World") == [30, 70, -100]


@case(105)
def test_a_commit_of_a_hold_that_is_still_queued_takes_no_other(api: Api) -> None:
    # Blnk: it takes the money of the other hold.
    other = make_hold(api, 50)
    queued = ok(api.post(precise_amount=50, inflight=True), 201)["transaction_id"]
    ok(api.settle(queued, "commit"), 200)
    assert api.transaction(other)["status"] == "INFLIGHT"
    api.drain()
    assert [api.transaction(id)["status"] for id in (other, queued)] == ["INFLIGHT", "APPLIED"]
    assert api.sums("@A")[:2] == (50, 50)
    commit(api, other)
    assert api.sums("@A")[:2] == (100, 0)


@case(106)
@pytest.mark.parametrize("precise", [189207535698279123, "189207535698279123"])
def test_big_minor_units_are_exact_with_a_key(
    database_url: str, monkeypatch: pytest.MonkeyPatch, precise: int | str
) -> None:
    # Blnk: 189207535698279140 with an API key, and 400 for a string.
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)
    app = create_app({"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": KEY})
    client = app.test_client()
    client.environ_base["HTTP_X_BLNK_KEY"] = KEY
    accepted = Api(app, client).done(precise_amount=precise)
    response = client.get(f"/transactions/{accepted['transaction_id']}")
    assert '"precise_amount":189207535698279123,' in response.text
    close(app)


@case(107)
@pytest.mark.parametrize("skip_queue", [True, False])
def test_nine_kilobytes_of_metadata_are_kept(api: Api, skip_queue: bool) -> None:
    # Blnk: 500, or lost in silence.
    meta_data = {"text": "x" * 9000}
    accepted = ok(api.post(meta_data=meta_data, skip_queue=skip_queue), 201)
    api.drain()
    found = api.transaction(accepted["transaction_id"])
    assert (found["status"], found["meta_data"]) == ("APPLIED", meta_data)
    assert len(json.dumps(found)) > 9000
