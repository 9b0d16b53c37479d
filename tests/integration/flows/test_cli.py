"""``pacioli flows``: a picture and a table for each currency, at each width and without colours."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pacioli_client import Client

from core.flows import rollups
from ops.cli.show import text
from tests.harness.cli import HERE, Nearby, Run, failed, ok
from tests.harness.factories import Ledger, name_in
from tests.harness.history import tamper


@pytest.fixture
def shop(run: Run, ledger: Ledger) -> Run:
    """A ledger in which money went from the world to customers, and on to sales and tax."""
    customers = json.loads(ok(run("ledger", "create", "Customers", "--json")))["ledger_id"]
    ada, bob = (
        json.loads(ok(run("balance", "create", "--ledger", customers, "--currency", "USD", "--json")))["balance_id"]
        for _ in range(2)
    )
    for source, destination, amount in (
        ("@World", ada, 100_000), ("@World", bob, 50_000), (ada, bob, 20_000), (bob, "@Sales", 32_000),
        ("@Sales", ada, 10_000), ("@Sales", "@Tax", 5_000),
    ):  # fmt: skip
        ledger.post(source=source, destination=destination, precise_amount=amount)
        ledger.drain()
    ledger.post(source="@World", destination="@Sales", currency="EUR", precise_amount=700)
    ledger.drain()
    rollups.add_new(ledger.engine)
    return run


@pytest.mark.smoke
def test_each_currency_has_a_picture_and_a_table(shop: Run) -> None:
    out = ok(shop("flows"))
    assert "EUR  7.00 in 1 transaction" in out and "USD  2,170.00 in 6 transactions" in out
    assert re.search(r"@World ━━━━━+ +Customers", out) and re.search(r"1,500\.00 ━━━━━+ +1,800\.00", out)
    assert re.search(r"@Sales +│? *Customers +│? *100\.00 +│? *1", out), out
    assert "complete up to" not in out


@pytest.mark.parametrize("width", [60, 80, 160])
def test_the_picture_fits_and_needs_no_colour(shop: Run, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "PIPE_WIDTH", width)
    out = ok(shop("flows", "--currency", "USD"))
    assert max(len(line) for line in out.splitlines()) <= width
    assert "\x1b" not in out
    for word in ("@World", "Customers", "@Sales", "@Tax", "1,500.00", "1,800.00", "320.00", "150.00", "50.00"):
        assert word in out


def test_json_is_that_of_the_service(shop: Run, client: FlaskClient) -> None:
    found, answer = json.loads(ok(shop("flows", "--nodes", "2", "--json"))), client.get("/flows?limit=2").get_json()
    assert (found["flows"], found["others"]) == (answer["flows"], answer["others"])
    assert {node["name"] for node in found["nodes"]} > {"others"}


def test_a_node_is_named_as_people_name_it(shop: Run) -> None:
    out = ok(shop("flows", "--node", "@Tax"))
    assert "@Sales" in out and "@World" not in out
    assert "@Tax" not in ok(shop("flows", "--node", "Customers"))
    assert "others (4)" in ok(shop("flows", "--nodes", "1", "--currency", "USD")).replace("others (3)", "others (4)")
    failed(shop("flows", "--node", "Nobody"), 1, "there is no such node")
    failed(shop("flows", "--node", "@Nobody"), 1, "there is no balance @Nobody")
    failed(shop("flows", "--node", "@World"), 2, "@World has several currencies")


def test_a_time_in_which_nothing_moved_says_so(shop: Run) -> None:
    assert "nothing moved within this time" in ok(shop("flows", "--to", "2020-01-01"))
    failed(shop("flows", "--from", "tomorrow", "--to", "yesterday"), 2, "from: must be before to")


def test_a_queue_that_stands_still_is_told(run: Run, ledger: Ledger) -> None:
    ledger.post(source=name_in(ledger, 0))
    rollups.add_new(ledger.engine)
    end = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert "complete up to" in ok(run("flows", "--to", end))


def test_hostile_names_steer_no_terminal(run: Run, ledger: Ledger) -> None:
    ledger.post(destination="@Red")
    ledger.drain()
    tamper(ledger, "UPDATE balances SET indicator = '@' || chr(27) || '[31mred' || chr(8238) WHERE indicator = '@Red'")
    rollups.add_new(ledger.engine)
    out = ok(run("flows"))
    assert "\x1b" not in out and "‮" not in out and "@\N{REPLACEMENT CHARACTER}[31mred" in out


def test_the_client_reads_all_of_it(shop: Run, app: Flask) -> None:
    with Client(HERE, transport=Nearby(app)) as client:
        found = client.flows.read(currency="USD")
        (customers,) = (node.id for node in found.nodes if node.kind == "ledger")
        inside = client.flows.of_node(customers, limit=1)
        assert (inside.node.name, inside.truncated, len(inside.balances)) == ("Customers", True, 1)
        assert sum(minute.applied for minute in client.flows.activity(step="minute").minutes) == 7
