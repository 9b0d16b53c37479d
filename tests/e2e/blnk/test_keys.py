"""Keys by Blnk's Python and TypeScript clients, unchanged, against the whole service."""

import json
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from blnk_sdk.types.api_keys import CreateApiKeyData, DeleteApiKeyOptions, ListApiKeysOptions
from blnk_sdk.types.transactions import CreateTransactions

from tests.harness.blnk import UNKNOWN, Client, data_of, error_of, new_name, new_reference
from tests.harness.keys import HEADERS, KEY

PROGRAM = Path(__file__).parents[2] / "harness" / "keys.mjs"


def asked(owner: str, *scopes: str) -> CreateApiKeyData:
    expires_at = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return CreateApiKeyData(name="till", owner=owner, scopes=list(scopes), expires_at=expires_at)


@pytest.mark.smoke
def test_the_python_client_makes_lists_and_deletes_keys(client: Client, service: str) -> None:
    owner = new_name("owner & sons").lstrip("@")
    wanted = asked(owner, "ledgers:read", "transactions:write")
    made = data_of(client.keys.create(wanted), 201)
    assert made["api_key_id"].startswith("api_key_")
    assert (made["scopes"], made["owner_id"], made["is_revoked"]) == (wanted.scopes, owner, False)
    holder = Client(service, made["key"])
    assert isinstance(data_of(holder.ledgers.list(), 200), list)
    error_of(holder.ledgers.create({"name": "L"}), 403, "AUTH_INSUFFICIENT_PERMISSIONS")
    listed = data_of(client.keys.list(ListApiKeysOptions(owner=owner)), 200)
    assert [(key["api_key_id"], key["key"]) for key in listed] == [(made["api_key_id"], "")]
    response = client.keys.delete(made["api_key_id"], DeleteApiKeyOptions(owner=owner))
    assert (response.status, response.data) == (204, None)
    (listed,) = data_of(client.keys.list(ListApiKeysOptions(owner=owner)), 200)
    assert listed["is_revoked"]
    assert error_of(client.keys.delete(f"api_key_{UNKNOWN}"), 404, "APIKEY_NOT_FOUND") == "API key not found"
    assert error_of(client.keys.list(), 400, "APIKEY_OWNER_REQUIRED") == "owner is required"
    assert "did you mean transactions:write?" in error_of(
        client.keys.create(asked(owner, "transaction:write")), 400, "GEN_VALIDATION_ERROR"
    )


def test_what_a_key_posts_is_stamped_through_the_worker(client: Client, service: str) -> None:
    made = data_of(client.keys.create(asked("stamps", "transactions:*", "balances:write", "balances:read")), 201)
    holder = Client(service, made["key"])
    posted = holder.done("@World", new_name("Stamped"), 100, allow_overdraft=True, meta_data={"order": 2**64 + 1})
    assert posted["meta_data"] == {"BLNK_GENERATED_BY": made["api_key_id"], "order": 2**64 + 1}
    assert (posted["status"], posted["created_by"]) == ("APPLIED", made["api_key_id"])


def test_a_revoked_key_is_refused_by_every_process_within_a_second(client: Client, service: str) -> None:
    made = data_of(client.keys.create(asked("revoked", "ledgers:read")), 201)

    def statuses(count: int) -> set[int]:
        """Ask over new connections, which the kernel spreads over the processes."""
        own = {"X-Blnk-Key": made["key"]}
        return {requests.get(f"{service}/ledgers", headers=own, timeout=10).status_code for _ in range(count)}

    assert statuses(20) == {200}
    data = client.keys.delete(made["api_key_id"])
    assert data.status == 204
    time.sleep(1.0)
    assert statuses(20) == {401}


def test_the_last_use_of_a_key_is_shown(client: Client, service: str) -> None:
    owner = new_name("used").lstrip("@")
    made = data_of(client.keys.create(asked(owner, "ledgers:read")), 201)
    assert requests.get(f"{service}/ledgers", headers={"X-Blnk-Key": made["key"]}, timeout=10).status_code == 200
    deadline = time.monotonic() + 30
    while True:
        (found,) = requests.get(f"{service}/api-keys", params={"owner": owner}, headers=HEADERS, timeout=10).json()
        if found["last_used_at"] >= found["created_at"]:
            return
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def test_a_key_without_the_right_cannot_overdraw(client: Client, service: str) -> None:
    made = data_of(client.keys.create(asked("careful", "transactions:write", "balances:write")), 201)
    given = {"source": "@World", "destination": new_name("Careful"), "currency": "USD", "precision": 100}
    request = CreateTransactions(
        precise_amount=5, reference=new_reference(), description="d", allow_overdraft=True, **given
    )
    message = error_of(Client(service, made["key"]).transactions.create(request), 403, "AUTH_INSUFFICIENT_PERMISSIONS")
    assert message == "Insufficient permissions for transactions:post_overdraft"


def test_the_typescript_client_makes_lists_and_deletes_keys(typescript: Path, service: str) -> None:
    owner = new_name("owner & sons").lstrip("@")
    command = ["node", str(PROGRAM), str(typescript), service, KEY, owner]
    seen: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)
    statuses = {name: answer["status"] for name, answer in seen.items()}
    assert statuses == {
        "created": 201, "allowed": 200, "denied": 403, "listed": 200, "misspelt": 400, "deleted": 204, "after": 200,
        "unknown": 404,
    }, seen  # fmt: skip
    made = seen["created"]["data"]
    assert made["api_key_id"].startswith("api_key_") and made["key"]
    assert [key["is_revoked"] for key in seen["listed"]["data"]] == [False]
    assert [(key["api_key_id"], key["is_revoked"]) for key in seen["after"]["data"]] == [(made["api_key_id"], True)]
