"""Hooks by Blnk's clients: every method of their service, against the whole service."""

import json
import subprocess
from pathlib import Path
from typing import Any

from blnk_sdk.types.hooks import CreateHookData, ListHooksOptions

from tests.harness.blnk import Client, data_of, error_of
from tests.harness.keys import KEY

PROGRAM = Path(__file__).parents[2] / "harness" / "hooks.mjs"
URL = "https://receiver.example/hook"


def test_every_method_for_hooks_works(client: Client) -> None:
    hooks = client.blnk.hooks
    asked = CreateHookData(name="Till", url=URL, type="POST_TRANSACTION", active=True, timeout=30, retry_count=3)
    made = data_of(hooks.create(asked), 201)
    hook = made["id"]
    assert hook.startswith("hook_")
    assert {name: made[name] for name in ("name", "url", "type", "active", "timeout", "retry_count")} == asked.to_dict()
    assert data_of(hooks.get(hook), 200) == made
    assert hook in [each["id"] for each in data_of(hooks.list(), 200)]
    assert hook in [each["id"] for each in data_of(hooks.list(ListHooksOptions(type="POST_TRANSACTION")), 200)]
    assert hook not in [each["id"] for each in data_of(hooks.list(ListHooksOptions(type="PRE_TRANSACTION")), 200)]
    asked.active = False
    assert data_of(hooks.update(hook, asked), 200)["active"] is False
    assert data_of(hooks.delete(hook), 200) == {"message": "hook deleted successfully"}
    error_of(hooks.get(hook), 404, "HOOK_NOT_FOUND")
    error_of(hooks.delete(hook), 404, "HOOK_NOT_FOUND")


def test_the_typescript_client_calls_hooks(typescript: Path, service: str) -> None:
    command = ["node", str(PROGRAM), str(typescript), service, KEY]
    seen: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)
    statuses = {name: answer["status"] for name, answer in seen.items()}
    assert statuses == {
        "created": 201,
        "read": 200,
        "listed": 200,
        "byType": 200,
        "updated": 200,
        "deleted": 200,
        "gone": 404,
    }
    assert seen["read"]["data"] == seen["created"]["data"]
    assert seen["updated"]["data"]["active"] is False
    assert [each["id"] for each in seen["byType"]["data"]] == [seen["created"]["data"]["id"]]
