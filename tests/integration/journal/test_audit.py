"""The audit log has a row for every write outside the log of transactions, in the same commit."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import Engine

from core import migrations
from core.base import actors
from core.base.db import begin, connect, reading
from core.journal import audit_store
from core.ledger import metadata
from core.ledger.queues import resize
from core.ledger.store import ledgers as ledger_store
from tests.harness.api import Api, ok
from tests.harness.cli import Run
from tests.harness.factories import Ledger

Json = dict[str, Any]


def rows(api: Api, **filters: Any) -> list[Json]:
    """Read the audit log, the oldest row first."""
    found: list[Json] = api.get("/audit", limit=1000, sort_order="asc", **filters)
    return found


def only(api: Api, action: str) -> Json:
    (row,) = rows(api, action=action)
    return row


@pytest.mark.smoke
def test_a_ledger_is_recorded_when_it_is_created_and_renamed(api: Api) -> None:
    created = ok(api.client.post("/ledgers", json={"name": "Cash", "meta_data": {"a": 1.50}}), 201)
    ok(api.client.put(f"/ledgers/{created['ledger_id']}", json={"name": "Bank"}), 200)
    first, second = rows(api, subject=created["ledger_id"])
    assert (first["action"], first["details"]) == (
        "ledger.created",
        {"after": {"name": "Cash", "meta_data": {"a": 1.5}}},
    )
    assert (second["action"], second["details"]) == (
        "ledger.renamed",
        {"before": {"name": "Cash"}, "after": {"name": "Bank"}},
    )
    assert [row["sequence"] for row in (first, second)] == [1, 2]


def test_who_asked_and_the_request_are_in_each_row(api: Api) -> None:
    api.client.post("/ledgers", json={"name": "A"}, headers={"X-Request-Id": "mine-7"})
    row = only(api, "ledger.created")
    assert (row["actor"], row["part"], row["request_id"]) == ("anonymous", "web", "mine-7")


def test_a_balance_is_recorded_by_a_request_and_by_a_posting(api: Api) -> None:
    balance = api.new_balance()
    assert only(api, "balance.created")["subject"] == balance
    api.done(source="@World", destination="@A", precision=100)
    named = [row["details"]["after"]["indicator"] for row in rows(api, action="balance.created")[1:]]
    assert sorted(named) == ["@A", "@World"]
    assert only(api, "currency.fixed")["details"] == {"after": {"precision": 100}}
    api.done(source="@World", destination="@A")
    assert len(rows(api)) == 4


def test_a_refused_or_dry_run_request_records_nothing(api: Api) -> None:
    api.client.post("/ledgers", json={"name": ""})
    api.post(source="@X", destination="@Y", dry_run=True)
    api.post(source="@X", destination="@X")
    api.client.post("/bln_0/metadata", json={"meta_data": {"a": 1}})
    assert rows(api) == []


def test_metadata_is_recorded_before_and_after(api: Api) -> None:
    balance = api.new_balance()
    for text in ('{"meta_data": {"tier": "gold", "limit": 12345678901234567890}}', '{"meta_data": {"tier": "silver"}}'):
        ok(api.client.post(f"/{balance}/metadata", data=text, content_type="application/json"), 200)
    _, second = rows(api, action="metadata.changed", subject=balance)
    assert second["details"] == {
        "before": {"tier": "gold", "limit": 12345678901234567890},
        "after": {"tier": "silver", "limit": 12345678901234567890},
    }


def test_metadata_of_a_batch_is_recorded_for_each_of_its_transactions(api: Api) -> None:
    batch = ok(api.bulk({}, {}, skip_queue=True), 201)["batch_id"]
    ids = [row["transaction_id"] for row in api.get("/transactions")]
    ok(api.client.post(f"/{ids[0]}/metadata", json={"meta_data": {"a": 1}}), 200)
    ok(api.client.post(f"/{batch}/metadata", json={"meta_data": {"a": 2}}), 200)
    changes = rows(api, action="metadata.changed")
    assert {row["subject"]: row["details"].get("before") for row in changes[1:]} == {ids[0]: {"a": 1}, ids[1]: {}}
    assert [row["details"].get("through") for row in changes] == [None, batch, batch]


def test_changes_of_metadata_at_once_follow_each_other(api: Api, ledger: Ledger, engine: Engine) -> None:
    """Each row's ``before`` is the ``after`` of the row before it."""
    ids = [api.new_balance(), api.done()["transaction_id"]]

    def change(number: int) -> None:
        with begin(engine) as conn:
            metadata.add_metadata(conn, ids[number % 2], f'{{"n": {number}}}')

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(change, range(40)))
    for subject in ids:
        changes = [row["details"] for row in rows(api, action="metadata.changed", subject=subject)]
        assert len(changes) == 20
        for earlier, later in pairwise(changes):
            assert later["before"] == earlier["after"]


def test_a_cancelled_schedule_is_recorded_once(api: Api) -> None:
    due = ok(api.post(scheduled_for="2999-01-01T00:00:00Z"), 201)["transaction_id"]
    for _ in range(2):
        api.client.delete(f"/transactions/{due}")
    assert only(api, "transaction.cancelled")["subject"] == due


def test_what_is_done_to_a_funding_job_is_recorded(api: Api) -> None:
    api.done(precise_amount=1000, destination="@Pool")
    asked = {
        "name": "rent", "reference": "rent", "source": "@Pool", "currency": "USD", "cron": "0 0 1 * *",
        "recipients": [{"destination": "@Tenant", "precise_amount": 5}],
    }  # fmt: skip
    job = ok(api.client.post("/funding-jobs", json=asked), 201)["job_id"]
    ok(api.client.post("/funding-jobs", json=asked), 200)
    for verb in ("run", "pause", "pause", "resume", "cancel", "cancel"):
        api.client.post(f"/funding-jobs/{job}/{verb}", json={} if verb == "run" else None)
    found = rows(api, subject=job)
    assert [row["action"] for row in found] == [
        "funding_job.created",
        "funding_job.run",
        "funding_job.paused",
        "funding_job.resumed",
        "funding_job.cancelled",
    ]
    created = found[0]["details"]["after"]
    assert (created["reference"], created["source"], created["rows"], created["amount"]) == ("rent", "@Pool", 1, 5)
    assert "@Tenant" in [row["details"]["after"]["indicator"] for row in rows(api, action="balance.created")]
    assert found[2]["details"]["before"]["status"] == "ACTIVE"


def test_what_operators_do_is_recorded(api: Api, run: Run, owner: Engine) -> None:
    ok(api.client.post("/transactions/recover"), 200)
    ok(api.client.get("/verify"), 200)
    with actors.acting_for(actors.SERVICE):
        assert resize(owner, 4) == 8
    assert only(api, "queues.recovered")["part"] == "web"
    assert only(api, "ledger.verified")["details"]["kind"] == "checkpoint"
    row = only(api, "queues.resized")
    assert (row["details"], row["part"]) == ({"before": {"queues": 8}, "after": {"queues": 4}}, "command")


def test_commands_on_the_database_are_recorded(run: Run, api: Api) -> None:
    run("currencies", "set", "USD", "100")
    run("currencies", "set", "USD", "100")
    assert only(api, "currency.fixed")["details"] == {"after": {"precision": 100}}
    run("verify")
    run("identity", "renew", "--yes")
    assert only(api, "ledger.verified")["details"]["kind"] == "full"
    ids = only(api, "identity.renewed")["details"]
    assert ids["before"] != ids["after"]


def test_a_migration_is_recorded(own_database_url: str) -> None:
    engine = connect(own_database_url)
    with reading(engine) as conn:
        (row,) = audit_store.read_range(conn, after=0, limit=10)
    assert (row.action, row.actor) == ("schema.migrated", "service")
    migrations.upgrade(engine)
    with reading(engine) as conn:
        assert audit_store.last_id(conn) == 1
    engine.dispose()


def test_a_change_and_its_row_are_one_commit(ledger: Ledger, engine: Engine) -> None:
    with begin(engine) as conn:
        metadata.add_metadata(conn, "general_ledger_id", '{"a": 1}')
        conn.rollback()
    with reading(engine) as conn:
        assert audit_store.last_id(conn) == 0
        found = ledger_store.find(conn, "general_ledger_id")
        assert found is not None
        assert found.meta_data is None


def test_many_writers_leave_no_gap_and_no_fork(ledger: Ledger, engine: Engine) -> None:
    def create(number: int) -> None:
        with actors.acting_for(actors.with_all_rights(f"key_{number % 3}")):
            ledger.directory.create([(f"@N{number % 50}", "USD")])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(create, range(100)))
    with reading(engine) as conn:
        found = audit_store.read_range(conn, after=0, limit=1000)
    assert [row.id for row in found] == list(range(1, 51))
    assert {row.actor for row in found} == {"key_0", "key_1", "key_2"}
    assert len({row.subject for row in found}) == 50


# The list


def test_the_list_has_pages_filters_counts_and_csv(api: Api) -> None:
    for number in range(5):
        ok(api.client.post("/ledgers", json={"name": f"L{number}"}), 201)
    page = api.client.get("/audit?limit=2")
    assert [row["sequence"] for row in page.get_json()] == [5, 4]
    following = api.client.get(page.headers["Link"].split(";")[0].strip("<>"))
    assert [row["sequence"] for row in following.get_json()] == [3, 2]
    counted = api.get("/audit", include_count="true", action_like="ledger.%", created_at_gte="2020-01-01")
    assert counted["total_count"] == 5
    assert ok(
        api.client.post("/audit/filter", json={"filters": [{"field": "sequence", "operator": "lte", "value": 2}]}), 200
    )
    text = api.client.get("/audit", headers={"Accept": "text/csv"}).text
    assert text.splitlines()[0].startswith(
        "sequence,created_at,actor,owner,part,request_id,action,subject,details,hash"
    )
    assert len(text.splitlines()) == 6
    for after in ("abc_00000000-0000-0000-0000-000000000000", "x"):
        refused = api.client.get(f"/audit?after={after}")
        assert refused.status_code == 400
        assert "after" in refused.get_json()["error"]


@pytest.mark.parametrize("sort_by", ["sequence", "actor", "owner", "part", "request_id", "action", "subject", "hash"])
def test_the_list_is_sorted_by_each_field(api: Api, sort_by: str) -> None:
    for number in range(3):
        ok(api.client.post("/ledgers", json={"name": f"L{number}"}), 201)
    page = api.client.get(f"/audit?limit=2&sort_by={sort_by}")
    rest = api.client.get(page.headers["Link"].split(";")[0].strip("<>"))
    assert sorted(row["sequence"] for row in page.get_json() + rest.get_json()) == [1, 2, 3]


def test_the_command_shows_the_list(run: Run, api: Api) -> None:
    created = ok(api.client.post("/ledgers", json={"name": "Cash"}), 201)["ledger_id"]
    ok(api.client.put(f"/ledgers/{created}", json={"name": "Bank"}), 200)
    shown = run("audit").output
    assert "name: Cash -> Bank" in shown
    assert run("audit", "--subject", created, "--action", "ledger.c%", "--json").output.count('"sequence"') == 1
    assert run("audit", "--since", "1h").output.count(created) == 2
    assert "nothing that matches" in run("audit", "--since", "2999-01-01").output
    assert run("audit", "--since", "soon").exit_code == 2
