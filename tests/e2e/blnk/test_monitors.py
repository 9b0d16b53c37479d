"""Monitors by Blnk's clients: every method of their service, against the whole service."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from blnk_sdk.types.balance_monitor import MonitorCondition, MonitorData

from tests.harness.blnk import Client, data_of, error_of
from tests.harness.keys import KEY

PROGRAM = Path(__file__).parents[2] / "harness" / "resources.mjs"


def test_every_method_for_monitors_works(client: Client) -> None:
    monitors, balance = client.blnk.balance_monitor, client.new_balance()
    condition = MonitorCondition(field="credit_balance", operator=">", value=1000, precision=100)
    asked = MonitorData(
        balance_id=balance, condition=condition, description="rich", call_back_url="https://example.com/"
    )
    made = data_of(monitors.create(asked), 201)
    monitor = made["monitor_id"]
    assert monitor.startswith("mon_")
    assert made["condition"]["precise_value"] == 100_000
    assert data_of(monitors.get(monitor), 200) == made
    assert monitor in [each["monitor_id"] for each in data_of(monitors.list(), 200)]
    assert [each["monitor_id"] for each in data_of(monitors.list_by_balance_id(balance), 200)] == [monitor]
    lower = MonitorCondition(field="credit_balance", operator=">=", value=0.5, precision=100)
    updated = data_of(monitors.update(monitor, MonitorData(balance_id=balance, condition=lower)), 200)
    assert updated["message"] == "BalanceMonitor updated successfully"
    assert (updated["monitor_id"], updated["condition"]["precise_value"]) == (monitor, 50)
    client.done("@World", balance, 50, allow_overdraft=True)
    assert _fired(client, monitor) == 1
    gone = data_of(monitors.delete(monitor), 200)
    assert gone["message"] == "BalanceMonitor deleted successfully"
    error_of(monitors.get(monitor), 404, "BAL_MONITOR_NOT_FOUND")
    error_of(monitors.delete(monitor), 404, "BAL_MONITOR_NOT_FOUND")


def _fired(client: Client, monitor: str) -> Any:
    """Read how often a monitor has fired. A posting that is decided has fired it."""
    deadline = time.monotonic() + 30
    while True:
        fired = data_of(client.blnk.balance_monitor.get(monitor), 200)["state"]["fired"]
        if fired or time.monotonic() > deadline:
            return fired
        time.sleep(0.05)


def test_the_typescript_client_calls_monitors_and_identities(typescript: Path, service: str) -> None:
    command = ["node", str(PROGRAM), str(typescript), service, KEY]
    seen: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)
    statuses = {name: answer["status"] for name, answer in seen.items()}
    assert statuses == {
        "created": 201, "read": 200, "listed": 200, "updated": 200, "deleted": 200, "gone": 404,
        "person": 201, "personRead": 200, "personListed": 200, "personUpdated": 200, "tokenizedField": 200,
        "tokenized": 200, "fields": 200, "clearField": 200, "clear": 200, "linked": 200, "kept": 409,
    }, seen  # fmt: skip
    assert seen["created"]["data"]["condition"]["precise_value"] == 1050
    assert seen["read"]["data"] == seen["created"]["data"]
    assert seen["updated"]["data"]["condition"]["precise_value"] == 0
    assert seen["clearField"]["data"] == {"field": "FirstName", "value": "Ada"}
    assert seen["clear"]["data"] == {"fields": {"LastName": "L."}}
