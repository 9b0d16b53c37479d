"""Blnk's hooks: their object and routes, how they are told, and the veto that is asked before acceptance."""

import json
import time
from hashlib import sha256
from hmac import new
from typing import Any

import pytest

from core.webhooks import store, veto
from core.webhooks.veto import REMEMBERED_S
from tests.harness.api import ZERO_TIME, Api, ok, refused
from tests.harness.key_ring import later
from tests.harness.keys import KEY
from tests.harness.processes import wait_until
from tests.harness.receiver import Answer, Got, Handler, Receiver, receiving, status
from tests.integration.webhooks.conftest import Deliver

TOLD = {"name": "posted", "type": "POST_TRANSACTION", "active": True, "timeout": 30, "retry_count": 3}


def make(api: Api, url: str, **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = ok(api.client.post("/hooks", json={**TOLD, "url": url, **fields}), 201)
    return made


def test_a_hook_is_blnks_object(api: Api) -> None:
    url = "https://hooks.invalid/x"
    made = make(api, url)
    assert made.pop("id").startswith("hook_") and made.pop("created_at") > "2026"
    assert made == {**TOLD, "url": url, "last_run": ZERO_TIME, "last_success": ZERO_TIME}
    assert make(api, url, timeout=0, retry_count=-1) | {"id": "", "created_at": ""} == {
        **made, "id": "", "created_at": "", "timeout": 30, "retry_count": 3,
    }  # fmt: skip
    assert make(api, url, retry_count=99)["retry_count"] == 10
    assert len(api.get("/hooks")) == 3 and api.get("/hooks", type="PRE_TRANSACTION") == []
    hook_id = make(api, url, type="PRE_TRANSACTION")["id"]
    assert [each["id"] for each in api.get("/hooks", type="PRE_TRANSACTION")] == [hook_id]
    changed = ok(api.client.put(f"/hooks/{hook_id}", json={**TOLD, "url": url, "active": False, "timeout": 5}), 200)
    assert (changed["active"], changed["timeout"], changed["type"]) == (False, 5, "POST_TRANSACTION")
    assert ok(api.client.delete(f"/hooks/{hook_id}"), 200) == {"message": "hook deleted successfully"}
    for method in ("get", "put", "delete"):
        body = {"json": {**TOLD, "url": url}} if method == "put" else {}
        answer = getattr(api.client, method)(f"/hooks/{hook_id}", **body)
        refused(answer, 404, "HOOK_NOT_FOUND", "hook not found")
        assert answer.get_json()["code"] == "HOOK_NOT_FOUND" and answer.get_json()["message"] == "hook not found"


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": ""}, {"url": "ftp://x"}, {"url": "http://169.254.169.254/"}, {"type": "BEFORE"}, {"type": None},
        {"mode": "ask"}, {"mode": "veto"}, {"timeout_ms": 5}, {"on_error": "accept"}, {"timeout": 100_000},
        {"type": "PRE_TRANSACTION", "mode": "veto", "timeout_ms": 2001},
        {"type": "PRE_TRANSACTION", "mode": "veto", "on_error": "maybe"},
    ],
)  # fmt: skip
def test_a_wrong_hook_is_refused(api: Api, wrong: dict[str, Any]) -> None:
    answer = api.client.post("/hooks", json={**TOLD, "url": "https://hooks.invalid/", **wrong})
    assert "invalid hook data" in refused(answer, 400, "HOOK_INVALID")["message"]


def test_only_the_master_key_manages_hooks(api: Api) -> None:
    asked = {"name": "k", "owner": "o", "scopes": ["*:*"], "expires_at": later(days=90)}
    key = ok(api.client.post("/api-keys", json=asked), 201)["key"]
    for method, path in (("GET", "/hooks"), ("POST", "/hooks"), ("DELETE", "/hooks/x"), ("PUT", "/hooks/x")):
        answer = api.client.open(path, method=method, headers={"X-Blnk-Key": key}, json={})
        refused(answer, 403, "AUTH_MASTER_KEY_REQUIRED", "hook management requires master key")


def test_hooks_are_told_with_blnks_body_and_signature(api: Api, deliver: Deliver) -> None:
    with receiving() as before, receiving() as after:
        pre, post = make(api, before.url, type="PRE_TRANSACTION"), make(api, after.url)
        posted = api.done()
        api.spend(source="@Empty", precise_amount=5)  # It is rejected.
        deliver()
        wait_until(lambda: len(before.got) == 2 and len(after.got) == 1)
        told = {got_json(each)["transaction_id"]: each for each in before.got}
        assert len(told) == 2 and {got_json(each)["event"] for each in before.got} == {"transaction.queued"}
        for hook, got in ((pre, told[posted["transaction_id"]]), (post, after.got[0])):
            body = got_json(got)
            assert list(body) == ["transaction_id", "hook_type", "timestamp", "data", "event", "hook_id"]
            assert body["transaction_id"] == body["data"]["transaction_id"] == posted["transaction_id"]
            assert (body["hook_type"], body["hook_id"]) == (hook["type"], hook["id"])
            assert got.headers["x-hook-id"] == hook["id"] and got.headers["x-hook-type"] == hook["type"]
            signed = new(KEY.encode(), f"{got.headers['x-blnk-timestamp']}.".encode() + got.body, sha256)
            assert got.headers["x-blnk-signature"] == signed.hexdigest()
        wait_until(lambda: api.get(f"/hooks/{post['id']}")["last_success"] != ZERO_TIME)


@pytest.mark.parametrize(
    ("code", "body", "attempts"),
    [
        (200, b'{"success": false}', 2),
        (200, b"{}", 1),
        (204, b"", 1),
        (500, b'{"success": true}', 2),
        (200, b"<html>", 1),
    ],
)
def test_a_hook_has_succeeded_with_any_2xx_unless_its_body_says_otherwise(
    api: Api, deliver: Deliver, code: int, body: bytes, attempts: int
) -> None:
    with receiving(lambda handler, _: handler.say(code, body)) as receiver:
        hook = make(api, receiver.url, retry_count=1)
        api.done()
        deliver()
        receiver.wait_for(attempts)
        wait_until(lambda: api.get(f"/hooks/{hook['id']}")["last_run"] != ZERO_TIME)
        assert (api.get(f"/hooks/{hook['id']}")["last_success"] != ZERO_TIME) == (attempts == 1)
        time.sleep(0.2)
        assert len(receiver.got) == attempts


def got_json(got: Got) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(got.body)
    return found


# The veto


def says(*answers: bytes) -> Answer:
    """Answer with each of these in turn, and then with the last."""
    left = list(answers)

    def say(handler: Handler, _: Got) -> None:
        handler.say(200, left.pop(0) if len(left) > 1 else left[0])

    return say


NO = b'{"success": false, "message": "over the limit of the day"}'
YES = b'{"success": true}'


def asked_by(api: Api, receiver: Receiver, **fields: Any) -> str:
    """Make a veto, and let this process know it at once."""
    hook = make(api, receiver.url, type="PRE_TRANSACTION", mode="veto", **fields)
    api.app.extensions["pacioli"].vetoes._read_at = float("-inf")
    return str(hook["id"])


def test_a_veto_refuses_before_anything_is_accepted_or_created(api: Api) -> None:
    with receiving(says(NO, YES)) as receiver:
        hook_id = asked_by(api, receiver)
        answer = api.post(reference="vetoed", destination="@New", precise_amount=2**70)
        detail = refused(answer, 422, "TXN_VETOED")
        assert detail["details"] == {"hook_id": hook_id, "message": "over the limit of the day"}
        assert api.client.get("/transactions/reference/vetoed").status_code == 404
        assert api.client.get("/balances/indicator/@New/currency/USD").status_code == 404
        (data,) = got_json(receiver.got[0])["data"]
        assert (data["reference"], data["precise_amount"], data["source"]) == ("vetoed", 2**70, "@World")
        ok(api.post(reference="vetoed", destination="@New"), 201)


def test_a_veto_is_asked_once_for_a_batch_and_for_dry_runs(api: Api) -> None:
    with receiving(says(b'{"success": false, "message": "no", "index": 1}')) as receiver:
        asked_by(api, receiver)
        detail = refused(api.bulk({}, {}, {}), 422, "TXN_VETOED")
        assert detail["details"]["index"] == 1
        assert len(receiver.got) == 1 and len(got_json(receiver.got[0])["data"]) == 3
        for answer in (api.post(dry_run=True), api.bulk({}, dry_run=True)):
            refused(answer, 422, "TXN_VETOED")
        assert [got_json(each)["dry_run"] for each in receiver.got] == [False, True, True]
        receiver.answer = says(YES)
        ok(api.bulk({}, {}), 201)


@pytest.mark.parametrize(("on_error", "code"), [("accept", 201), ("reject", 422), (None, 422)])
def test_a_veto_that_does_not_answer_costs_its_deadline_and_then_on_error_counts(
    api: Api, monkeypatch: pytest.MonkeyPatch, on_error: str | None, code: int
) -> None:
    assert veto.BROKEN_S == 1.0
    monkeypatch.setattr(veto, "BROKEN_S", 600.0)
    with receiving() as receiver:
        receiver.answer = receiver.hang
        asked_by(api, receiver, timeout_ms=100, on_error=on_error)
        began = time.monotonic()
        answers = [api.post() for _ in range(3)]
        assert [each.status_code for each in answers] == [code] * 3
        assert time.monotonic() - began < 25  # A receiver that hangs does so for a minute.
        assert len(receiver.got) == 3
        assert api.post().status_code == code
        assert len(receiver.got) == 3, "a hook that fails is left alone for a second"
        receiver.answer = status(500)
        monkeypatch.setattr(veto, "BROKEN_S", 0.0)
        assert api.post().status_code == code
        assert len(receiver.got) == 4


def test_what_was_accepted_is_not_refused_when_it_comes_again(api: Api) -> None:
    with receiving(says(YES, NO)) as receiver:
        asked_by(api, receiver)
        first = ok(api.post(reference="again"), 201)
        assert ok(api.post(reference="again"), 200)["transaction_id"] == first["transaction_id"]
        refused(api.post(reference="other"), 422, "TXN_VETOED")


def test_without_a_veto_the_hooks_are_read_once_a_second(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    every = store.every
    monkeypatch.setattr(veto.store, "every", lambda *arguments: reads.append(1) or every(*arguments))  # type: ignore[func-returns-value]
    vetoes = api.app.extensions["pacioli"].vetoes
    vetoes._read_at = float("-inf")
    assert not any(vetoes.wanted() for _ in range(1000))
    assert len(reads) <= 2
    with receiving(says(NO)) as receiver:
        make(api, receiver.url, type="PRE_TRANSACTION", mode="veto")
        time.sleep(REMEMBERED_S)
        assert vetoes.wanted()
