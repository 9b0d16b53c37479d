"""``pacioli monitors`` and the client's methods for monitors and identities."""

import json

import pytest
from pacioli_client import Client

from tests.harness.api import Api
from tests.harness.cli import HERE, Nearby, Run, failed, ok


@pytest.mark.smoke
def test_a_monitor_is_made_listed_shown_and_deleted(api: Api, run: Run) -> None:
    assert "there are no monitors" in ok(run("monitors", "list"))
    api.done(destination="@Pool", precise_amount=500)
    pool = ("@Pool", "available_balance", "<", "2.50", "--currency", "USD")
    made = ok(run("monitors", "create", *pool, "--hysteresis", "1", "--description", "low"))
    assert "watches @Pool: available_balance < 2.50 (edge). It is armed now." in made
    monitor = made.split()[0]
    api.done(source="@Pool", destination="@Shop", precise_amount=300)
    assert "available_balance < 2.50 (edge)" in ok(run("monitors", "list", "--balance", "@Pool"))
    shown = ok(run("monitors", "show", monitor))
    assert "low" in shown and "triggered since" in shown and "2.00" in shown
    assert "5.00" in ok(run("monitors", "events", monitor))
    (firing,) = json.loads(ok(run("monitors", "events", monitor, "--json")))
    assert (firing["crossed"]["from"], firing["crossed"]["to"]) == (500, 200)
    assert "is deleted" in ok(run("monitors", "delete", monitor))
    failed(run("monitors", "show", monitor), 1, f"Monitor with ID '{monitor}' not found")


def test_a_monitor_that_is_true_already_says_so(api: Api, run: Run) -> None:
    api.done(destination="@Pool", precise_amount=500)
    asked = ("monitors", "create", "@Pool", "balance", ">", "0", "--once")
    assert "It is at rest now." in ok(run(*asked))
    assert "It is triggered now." in ok(run(*asked[:-1], "--not-now", "--level"))
    failed(run("monitors", "create", "@Pool", "balance", ">", "0.001"), 2, "is not a whole number of minor units")


def test_the_client_has_all_methods(api: Api) -> None:
    balance = api.new_balance()
    api.done(destination=balance, precise_amount=500)
    with Client(HERE, transport=Nearby(api.app)) as client:
        made = client.monitors.create(balance, "balance", ">", 1, precision=100, mode="level")
        assert (made.state.fired, made.mode) == (1, "level")
        changed = client.monitors.update(made.monitor_id, balance, "balance", "<", 1)
        assert client.monitors.read(made.monitor_id) == changed
        assert [each.monitor_id for each in client.monitors.of_balance(balance)] == [made.monitor_id]
        assert [each.monitor_id for each in client.monitors.list(balance_id=balance)] == [made.monitor_id]
        assert [each.crossed.reason for each in client.monitors.events(made.monitor_id)] == ["already true"]
        assert client.monitors.delete(made.monitor_id) == "BalanceMonitor deleted successfully"

        person = client.identities.create(first_name="Ada", country="GB")
        assert client.identities.update(person.identity_id, city="London").city == "London"
        assert client.identities.link(balance, person.identity_id) == "Balance identity updated successfully"
        assert [each.identity_id for each in client.identities.list(country="GB")] == [person.identity_id]
        assert client.identities.link(balance, None) == "Balance identity updated successfully"
        assert client.identities.erase(person.identity_id).first_name == ""
        assert client.identities.tokenized_fields(person.identity_id) == []
        assert client.identities.delete(person.identity_id) == "Identity deleted successfully"
