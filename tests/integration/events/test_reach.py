"""A key sees in the feed what it reaches, and needs the scope of the feed."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from tests.harness.api import close, ok, refused
from tests.harness.key_ring import Keys
from tests.harness.keys import KEY
from tests.integration.web.test_reach import Two
from web.accept.doorbell import Doorbell
from web.app import create_app


@pytest.fixture
def app(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)
    monkeypatch.setattr(Doorbell, "wake", lambda self, task: None)
    app = create_app({"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": KEY})
    yield app
    close(app)


def events(answer: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ok(answer, 200)["events"]
    return found


def test_a_bound_key_sees_what_it_reaches_and_no_trace_of_the_rest(app: Flask) -> None:
    keys = Keys(app)
    two = Two(keys)
    later = {"scheduled_for": "2099-01-01T00:00:00Z", "skip_queue": False}
    own = ok(two.master.ask("POST /transactions", json=two.body("@Tills", two.own, **later)), 201)
    foreign = ok(two.master.ask("POST /transactions", json=two.body("@Secret", two.own, **later)), 201)
    ok(two.master.ask(f"POST /{two.own}/metadata", json={"meta_data": {"a": 1}}), 200)
    ok(two.master.ask(f"POST /{two.foreign}/metadata", json={"meta_data": {"a": 1}}), 200)
    for index in range(2):
        ok(two.master.ask(f"PUT /ledgers/{two.ledgers[index]}", json={"name": f"renamed {index}"}), 200)
    ok(two.master.ask("POST /identities", json={"first_name": "Ada"}), 201)
    whole = events(two.master.ask("GET /events?limit=1000"))
    answer = two.holder.ask("GET /events?limit=1000")
    seen = events(answer)
    assert [each for each in whole if each in seen] == seen
    ids = [each["data"].get("transaction_id") for each in seen if each["type"].startswith("transaction.")]
    assert ids == [two.moved["@Tills", two.own], own["transaction_id"]]
    others = [each["type"] for each in seen if not each["type"].startswith("transaction.")]
    assert list(dict.fromkeys(others)) == ["ledger.created", "balance.created", "metadata.changed", "ledger.updated"]
    assert [others.count(each) for each in ("ledger.created", "metadata.changed", "ledger.updated")] == [1, 1, 1]
    text = answer.get_data(as_text=True)
    assert [hidden for hidden in [*two.hidden, foreign["transaction_id"]] if hidden in text] == []
    pages, after = [], "0.0"
    while True:
        page = ok(two.holder.ask(f"GET /events?limit=2&after={after}"), 200)
        pages += page["events"]
        after = page["next"]
        if not page["more"]:
            break
    assert pages == seen


def test_the_feed_needs_its_scope(app: Flask) -> None:
    keys = Keys(app)
    refused(keys.make("transactions:read", "balances:*").ask("GET /events"), 403, "AUTH_INSUFFICIENT_PERMISSIONS")
    assert events(keys.make("events:read").ask("GET /events")) == []
