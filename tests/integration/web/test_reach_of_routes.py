"""Each route that names something: what is out of reach answers as what does not exist, whatever is asked of it."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from tests.harness.api import close, ok
from tests.harness.bounds import Two
from tests.harness.key_ring import Keys, later
from tests.harness.keys import KEY
from web.accept.doorbell import Doorbell
from web.app import create_app
from web.http.rights import WITHIN_REACH

NOTHING = "00000000-0000-7000-8000-000000000000"

BODIES: dict[str, dict[str, Any]] = {
    "PUT /transactions/inflight/<transaction_id>": {"status": "void"},
    "PUT /balances/<balance_id>/identity": {"identity_id": None},
    "PUT /balances/<balance_id>/limits": {"floor": 1},
    "PUT /ledgers/<ledger_id>": {"name": "Mine"},
    "POST /<entity_id>/metadata": {"meta_data": {"a": 1}},
    "POST /identities/<identity_id>/detokenize": {"fields": ["FirstName"]},
    "POST /funding-jobs/<job_id>/approve": {"digest": "0" * 64},
    "PUT /balance-monitors/<monitor_id>": {
        "condition": {"field": "balance", "operator": "<", "value": 5, "precision": 100}
    },
}
"""Bodies that are right, so that it is not they that are refused."""


@pytest.fixture
def two(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Two]:
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)
    monkeypatch.setattr(Doorbell, "wake", lambda self, task: None)
    app: Flask = create_app({"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": KEY})
    yield Two(Keys(app))
    close(app)


def foreign_things(two: Two) -> dict[str, list[str]]:
    """The things that are there and out of reach, by the name that a path gives it."""
    date: dict[str, Any] = {"scheduled_for": later(days=1), "skip_queue": False}
    bulk = {"transactions": [two.body("@Tills", each, allow_overdraft=True) for each in (two.own, two.foreign)]}
    person = two.made("POST /identities", first_name="Bob")["identity_id"]
    ok(two.master.ask(f"PUT /balances/{two.foreign}/identity", json={"identity_id": person}), 200)
    job = two.made(
        "POST /funding-jobs",
        name="Theirs", source="@Tills", currency="USD", precision=100, allow_overdraft=True, reference="their job",
        recipients=[{"destination": each, "precise_amount": 5} for each in (two.own, two.foreign)],
    )  # fmt: skip
    watched = {
        "balance_id": two.foreign,
        "condition": {"field": "balance", "operator": "<", "value": 5, "precision": 100},
    }
    posted = [
        two.moved["@Secret", two.foreign],
        two.moved["@Tills", two.foreign],
        two.post(two.master, "@Secret", two.own, inflight=True),
        two.post(two.master, "@Secret", two.own, **date),
        two.split(two.master, "@Tills", two.own, two.foreign, inflight=True),
        two.split(two.master, "@Tills", two.own, two.foreign, **date),
        ok(two.master.ask("POST /transactions/bulk", json=bulk), 201)["batch_id"],
    ]
    reference = ok(two.master.ask(f"GET /transactions/{posted[0]}"), 200)["reference"]
    secret = ok(two.master.ask("GET /balances/indicator/@Secret/currency/USD"), 200)["balance_id"]
    return {
        "transaction_id": posted,
        "balance_id": [two.foreign],
        "node_id": [two.ledgers[1], secret],
        "ledger_id": [two.ledgers[1]],
        "indicator": ["@Secret"],
        "reference": [reference, "their job"],
        "identity_id": [person],
        "job_id": [job["job_id"]],
        "monitor_id": [two.made("POST /balance-monitors", **watched)["monitor_id"]],
        "key_id": [two.keys.make("ledgers:read").key_id],
        "entity_id": [*posted, two.foreign, two.ledgers[1]],
        "run_id": [job["run"]["run_id"]],
    }


OTHERS = {"currency": "USD", "field": "FirstName"}


def unknown(id: str) -> str:
    """An ID of the same kind that names nothing."""
    return f"{id.rpartition('_')[0]}_{NOTHING}" if re.search(r"_[0-9a-f-]{36}$", id) else f"{id[:1]}nothing"


def answer(two: Two, route: str, id: str, run: str) -> tuple[int, str]:
    """Ask a route of the first thing that its path names, and of a run. Returns the answer without their names."""
    values = iter([id, run])
    path = re.sub(r"<(?:\w+:)?(\w+)>", lambda name: OTHERS.get(name[1]) or next(values), route)
    body = {"json": BODIES.get(route, {})} if not route.startswith(("GET", "DELETE")) else {}
    response = two.holder.ask(path, **body)
    return response.status_code, response.text.replace(id, "X").replace(run, "Y")


def test_what_is_out_of_reach_answers_as_what_does_not_exist_on_each_route(two: Two) -> None:
    things = foreign_things(two)
    asked = 0
    for route in sorted(WITHIN_REACH):
        names = [name for name in re.findall(r"<(?:\w+:)?(\w+)>", route) if name not in OTHERS]
        if not names:
            continue
        first, *others = names

        for id in things[first]:
            run = things[others[0]][0] if others else "-"
            there = answer(two, route, id, run)
            nowhere = answer(two, route, unknown(id), unknown(run) if others else "-")
            assert there == nowhere, (route, id)
            # A monitor of no balance is an empty list, as in Blnk.
            assert there[0] in (404, 403, 400) or there == (200, "[]"), (route, there)
            asked += 1
    assert asked > 60
    for id in things["transaction_id"]:
        found = ok(two.master.ask(f"GET /transactions/{id}"), 200)
        assert "VOID" not in str(found.get("status")) and not (found.get("meta_data") or {}).get("a")
    job = ok(two.master.ask(f"GET /funding-jobs/{things['job_id'][0]}"), 200)
    assert job["status"] == "ACTIVE"
