"""A transaction says which key asked for it, and which part of the service accepted it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from core.base import actors
from core.ledger import due
from tests.harness.api import Api, ok


@pytest.mark.parametrize("fields", [{}, {"skip_queue": True}, {"source": "@Poor", "allow_overdraft": False}])
def test_every_answer_names_the_key_that_asked(api: Api, fields: dict[str, Any]) -> None:
    first = api.post(reference="r", **fields).get_json()
    api.drain()
    again = api.post(reference="r", **fields).get_json()
    for answer in (first, again, api.transaction(first["transaction_id"]), api.get("/transactions")[0]):
        assert (answer["created_by"], answer["created_through"]) == ("anonymous", "web")


def test_what_was_due_names_the_key_that_scheduled_it_and_the_tick(api: Api) -> None:
    waiting = ok(api.post(scheduled_for="2999-01-01T00:00:00Z"), 201)
    assert waiting["created_by"] == "anonymous"
    read = api.transaction(waiting["transaction_id"])
    assert (read["created_by"], read.get("created_through")) == ("anonymous", None)
    with actors.acting_for(actors.TICK):
        due.accept_due(api.app.extensions["pacioli"].engine, datetime(2999, 1, 2, tzinfo=UTC))
    found = api.transaction(waiting["transaction_id"])
    assert (found["created_by"], found["created_through"]) == ("anonymous", "tick")


def test_the_list_is_filtered_and_sorted_by_who_asked(api: Api) -> None:
    api.done()
    assert len(api.get("/transactions", created_by="anonymous")) == 1
    assert api.get("/transactions", created_by="key_x") == []
    assert len(api.get("/transactions", sort_by="created_by")) == 1


def test_the_list_of_what_is_scheduled_is_too(api: Api) -> None:
    ok(api.post(scheduled_for="2999-01-01T00:00:00Z"), 201)
    for who, count in (("anonymous", 1), ("key_x", 0)):
        found = api.get("/transactions", status="SCHEDULED", created_by=who, sort_by="created_by")
        assert [row["created_by"] for row in found] == ["anonymous"] * count
