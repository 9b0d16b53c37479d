"""Events reach receivers that are quick, slow, hanging, talkative, failing, gone or restarted: at least once, and signed."""

from collections.abc import Callable
from hashlib import sha256
from hmac import new
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import Engine, text
from standardwebhooks import WebhookVerificationError

from core.base.db import begin
from core.webhooks import store, turn
from core.webhooks.turn import Courier, Lost, Means
from tests.harness.api import Api, ok
from tests.harness.processes import wait_until
from tests.harness.receiver import Got, Handler, receiving, status
from tests.integration.webhooks.conftest import KEY, OPERATOR, QUICK, SAFE, Deliver, settle

HookUp = Callable[..., dict[str, Any]]
APPLIED = ["transaction.applied"]


@pytest.mark.smoke
def test_a_receiver_gets_every_event_with_blnks_body_and_both_signatures(
    api: Api, hook_up: HookUp, deliver: Deliver
) -> None:
    with receiving() as receiver:
        made = hook_up(receiver.url, headers={"Authorization": "Bearer of ours"})
        posted = api.done(precise_amount=2**70 + 1)
        ok(api.client.post("/ledgers", json={"name": "Customers"}), 201)
        deliver()
        got = receiver.wait_for(4)
        assert sorted(each.event for each in got) == [
            "balance.created", "balance.created", "ledger.created", "transaction.applied",
        ]  # fmt: skip
        (applied,) = [each for each in got if each.event == "transaction.applied"]
        assert applied.body.startswith(b'{"event":"transaction.applied","data":{"') and b'": ' not in applied.body
        assert str(2**70 + 1).encode() in applied.body
        assert applied.data == {**api.transaction(posted["transaction_id"]), **applied.data}
        for each in got:
            each.verify(made["secret"])
            stamp = each.headers["x-blnk-timestamp"]
            signed = new(made["secret"].encode(), f"{stamp}.".encode() + each.body, sha256).hexdigest()
            assert each.headers["x-blnk-signature"] == signed
            assert each.headers["webhook-id"] == each.event_id and each.attempt == 1
            assert each.headers["authorization"] == "Bearer of ours"
            assert each.headers["content-type"] == "application/json"
        assert len(set(receiver.ids())) == 4


def test_a_failed_attempt_is_repeated_with_the_same_id_and_body(api: Api, hook_up: HookUp, deliver: Deliver) -> None:
    answers = iter([500, 302, 429])

    def some(handler: Handler, _: Got) -> None:
        handler.say(next(answers, 200), Location="http://127.0.0.1:1/elsewhere")

    with receiving(some) as receiver:
        made = hook_up(receiver.url, events=APPLIED)
        api.done()
        deliver()
        got = receiver.wait_for(4)
        assert [each.attempt for each in got] == [1, 2, 3, 4]
        assert len(set(receiver.ids())) == len({each.body for each in got}) == 1
        for each in got:
            each.verify(made["secret"])
        wait_until(lambda: deliveries(api, made, status="delivered") != [])
        (delivery,) = deliveries(api, made)
        assert (delivery["status"], delivery["attempts"], delivery["response_status"]) == ("DELIVERED", 4, 200)


def test_after_the_last_attempt_a_delivery_has_failed_and_the_others_go_on(
    api: Api, hook_up: HookUp, deliver: Deliver
) -> None:
    with receiving(status(500)) as receiver:
        made = hook_up(receiver.url, events=APPLIED)
        api.done()
        deliver()
        wait_until(lambda: deliveries(api, made, status="failed") != [])
        assert [each.attempt for each in receiver.got] == [1, 2, 3, 4, 5]
        failing = settle(api, made["webhook_id"])
        assert failing["status"] == "failing" and failing["last_error"] == "the receiver answered 500"
        receiver.answer = status(204)
        api.done()
        receiver.wait_for(6)
        wait_until(lambda: settle(api, made["webhook_id"])["status"] == "active")


def test_a_receiver_that_is_killed_and_comes_back_misses_nothing(api: Api, hook_up: HookUp, deliver: Deliver) -> None:
    with receiving() as receiver:
        made = hook_up(receiver.url, events=APPLIED)
        deliver(plan=replace(QUICK, schedule_s=(600.0,) * 7))  # What failed comes when the receiver is seen to be back.
        api.done()
        receiver.wait_for(1)
        receiver.stop()
        posted = [api.done()["transaction_id"] for _ in range(30)]
        wait_until(lambda: settle(api, made["webhook_id"])["status"] == "failing")
        receiver.start()
        wait_until(lambda: {each.data["transaction_id"] for each in receiver.got} >= set(posted))


def test_an_ordered_endpoint_gets_one_at_a_time_in_the_order_of_acceptance(
    api: Api, hook_up: HookUp, deliver: Deliver
) -> None:
    failed: set[str] = set()

    def fail_each_once(handler: Handler, got: Got) -> None:
        first = got.event_id not in failed and len(failed) < 3
        failed.add(got.event_id)
        handler.say(500 if first else 200)

    with receiving(fail_each_once) as receiver:
        made = hook_up(receiver.url, events=APPLIED, ordered=True)
        posted = [api.done()["transaction_id"] for _ in range(12)]
        deliver()
        wait_until(lambda: len(deliveries(api, made, status="delivered", limit=100)) == 12)
        told = list(dict.fromkeys(each.data["transaction_id"] for each in receiver.got))
        assert told == posted
        assert len(receiver.got) == 15


def test_a_receiver_that_hangs_or_never_stops_answering_costs_the_others_nothing(
    api: Api, hook_up: HookUp, deliver: Deliver
) -> None:
    def endless(handler: Handler, _: Got) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(10 * 1024 * 1024))
        handler.end_headers()
        for _ in range(1024):
            handler.wfile.write(b"x" * 10_240)

    with receiving() as well, receiving() as hanging, receiving(endless) as talkative:
        hanging.answer = hanging.hang
        made = [hook_up(each.url, events=APPLIED) for each in (hanging, well, talkative)]
        deliver()
        posted = {api.done()["transaction_id"] for _ in range(20)}
        for each in (well, talkative):
            wait_until(lambda each=each: {got.data["transaction_id"] for got in each.got} == posted)  # type: ignore[misc]
        assert 1 <= len(hanging.got) <= 8
        wait_until(lambda: len(deliveries(api, made[2], status="delivered", limit=100)) == 20)
        assert deliveries(api, made[0], status="delivered") == []


def test_410_disables_an_endpoint_until_somebody_makes_it_active(api: Api, hook_up: HookUp, deliver: Deliver) -> None:
    with receiving(status(410)) as receiver:
        made = hook_up(receiver.url, events=APPLIED)
        api.done()
        deliver()
        wait_until(lambda: settle(api, made["webhook_id"])["status"] == "inactive")
        assert settle(api, made["webhook_id"])["disabled_why"] == "the receiver answered 410 Gone"
        api.done()
        receiver.answer = status(200)
        ok(api.client.put(f"/webhooks/{made['webhook_id']}", json={"active": True}), 200)
        wait_until(lambda: len(deliveries(api, made, status="delivered")) == 2)


def test_both_secrets_sign_after_a_rotation_until_the_overlap_ends(
    api: Api, hook_up: HookUp, deliver: Deliver, engine: Engine
) -> None:
    with receiving() as receiver:
        made = hook_up(receiver.url, events=APPLIED)
        deliver()
        rotated = ok(api.client.post(f"/webhooks/{made['webhook_id']}/rotate", json={"overlap_s": 600}), 201)
        api.done()
        (got,) = receiver.wait_for(1)
        for secret, header in ((rotated["secret"], ""), (made["secret"], "-previous")):
            got.verify(secret)
            stamp = got.headers["x-blnk-timestamp"]
            signed = new(secret.encode(), f"{stamp}.".encode() + got.body, sha256).hexdigest()
            assert got.headers[f"x-blnk-signature{header}"] == signed
        with begin(engine) as conn:
            conn.execute(text("UPDATE webhooks SET old_secret_ends_at = clock_timestamp()"))
        api.done()
        last = receiver.wait_for(2)[1]
        last.verify(rotated["secret"])
        with pytest.raises(WebhookVerificationError):
            last.verify(made["secret"])


def test_a_replay_sends_a_part_of_the_feed_once_more_with_the_same_ids(
    api: Api, hook_up: HookUp, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "PAGE_MAX", 2)  # A replay takes several turns.
    with receiving() as receiver:
        made = hook_up(receiver.url, events=APPLIED, ordered=True)
        for _ in range(5):
            api.done()
        deliver()
        wait_until(lambda: len(deliveries(api, made, status="delivered")) == 5)
        first = receiver.ids()
        positions = [each["position"] for each in reversed(deliveries(api, made))]
        asked = {"from": positions[0], "to": positions[3]}
        ok(api.client.post(f"/webhooks/{made['webhook_id']}/replay", json=asked), 202)
        receiver.wait_for(8)
        wait_until(lambda: not settle(api, made["webhook_id"])["replaying"])
        api.done()
        got = receiver.wait_for(9)
        assert receiver.ids()[5:8] == first[1:4]
        assert got[8].event_id not in first


def test_an_endpoint_of_another_process_is_taken_over_when_its_lease_ends(
    api: Api, hook_up: HookUp, deliver: Deliver, engine: Engine
) -> None:
    with receiving() as receiver:
        hook_up(receiver.url, events=APPLIED)
        with begin(engine) as conn:
            conn.execute(
                text("UPDATE webhooks SET lease_by = 'dead', lease_until = clock_timestamp() + interval '1 s'")
            )
        api.done()
        deliver("deliverer@test:2")
        receiver.wait_for(1)


def test_blnks_own_setting_is_the_endpoint_default_signed_with_the_master_key(
    api: Api, deliver: Deliver, engine: Engine
) -> None:
    with receiving() as receiver:
        api.done()
        headers = {"X-Team": "blue", "Content-Type": "application/vnd.blnk"}
        deliver(operator=replace(OPERATOR, url=receiver.url, headers=headers))
        wait_until(
            lambda: (
                settle(api, "default")["active"] if api.client.get("/webhooks/default").status_code == 200 else False
            )
        )
        api.done()
        got = receiver.wait_for(1)[0]
        assert got.event == "transaction.applied"
        stamp = got.headers["x-blnk-timestamp"]
        signed = new(KEY.encode(), f"{stamp}.".encode() + got.body, sha256).hexdigest()
        assert got.headers["x-blnk-signature"] == signed
        assert got.headers["x-team"] == "blue" and got.headers["content-type"] == "application/vnd.blnk"


def test_a_process_that_dies_after_it_has_sent_loses_nothing_and_sends_the_same_again(
    api: Api, hook_up: HookUp, deliver: Deliver, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """The process ends here."""

    def die(*_: object, **__: object) -> None:
        raise Killed

    with receiving() as receiver:
        made = hook_up(receiver.url, events=APPLIED)
        posted = [api.done()["transaction_id"] for _ in range(5)]
        with begin(engine) as conn:
            (key,) = store.claim(conn, "dies", 5)
        dying = Courier(Means(engine=engine, by="dies", safe=SAFE, operator=OPERATOR), key)
        monkeypatch.setattr(dying, "_write", die)
        with pytest.raises(Killed):
            dying.turn()
        dying.close()
        assert len(receiver.got) == 5 and deliveries(api, made) == []
        with begin(engine) as conn:
            conn.execute(text("UPDATE webhooks SET lease_until = clock_timestamp()"))
        deliver("deliverer@test:2")
        wait_until(lambda: len(deliveries(api, made, status="delivered")) == 5)
        assert len(receiver.got) == 10 and len(set(receiver.ids())) == 5
        assert {each.data["transaction_id"] for each in receiver.got} == set(posted)
        with pytest.raises(Lost):  # The one that was only slow finds that it has lost the lease.
            Courier(Means(engine=engine, by="dies", safe=SAFE, operator=OPERATOR), key).turn()


def deliveries(api: Api, made: dict[str, Any], **arguments: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get(f"/webhooks/{made['webhook_id']}/deliveries", **arguments)
    return found
