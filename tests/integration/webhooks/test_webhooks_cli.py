"""``pacioli webhooks`` and the client's methods for webhooks."""

import json
from pathlib import Path

import pytest
from flask import Flask
from pacioli_client import Client

from core.webhooks.addresses import Guard
from core.webhooks.endpoints import Book
from core.webhooks.operator import Operator
from tests.harness.cli import HERE, Nearby, Run, failed, ok
from tests.harness.receiver import receiving, status
from tests.integration.webhooks.conftest import SAFE


@pytest.fixture(autouse=True)
def _can_keep(app: Flask) -> None:
    app.extensions["pacioli"].webhooks = Book(safe=SAFE, operator=Operator(guard=Guard(private=True)))


@pytest.mark.smoke
def test_a_webhook_is_made_listed_tested_rotated_and_deleted(run: Run, tmp_path: Path) -> None:
    assert "there are no webhooks" in ok(run("webhooks", "list"))
    with receiving() as receiver:
        saved = tmp_path / "secret"
        asked = ("webhooks", "create", receiver.url, "--event", "transaction.*", "--ordered", "--save", str(saved))
        made = json.loads(ok(run(*asked, "--json")))
        webhook, secret = made["webhook_id"], saved.read_text().strip()
        assert made["secret"] == "" and saved.stat().st_mode & 0o777 == 0o600
        assert receiver.url in ok(run("webhooks", "list"))
        shown = ok(run("webhooks", "show", webhook))
        assert "is active, and gets transaction.*" in shown and "in order" in shown and secret not in shown
        assert "the receiver answered 200" in ok(run("webhooks", "test", webhook))
        receiver.got[0].verify(secret)
        assert "no such deliveries" in ok(run("webhooks", "deliveries", webhook, "--status", "failed"))
        failed(run("webhooks", "replay", webhook, "5.0"), 2, "must be before the cursor")
        rotated = ok(run("webhooks", "rotate", webhook)).split()[-1]
        assert rotated.startswith("whsec_") and rotated != secret
        ok(run("webhooks", "test", webhook))
        for each in (secret, rotated):
            receiver.got[1].verify(each)
        receiver.answer = status(500)
        assert "answered 500" in run("webhooks", "test", webhook).output
        assert "is deleted" in ok(run("webhooks", "delete", webhook))
        failed(run("webhooks", "show", webhook), 1, f"Webhook with ID '{webhook}' not found")


def test_the_client_has_a_method_for_each_request(app: Flask) -> None:
    with receiving() as receiver, Client(HERE, "", transport=Nearby(app)) as client:
        made = client.webhooks.create(receiver.url, events=["transaction.applied"])
        webhook = made.webhook_id
        assert client.webhooks.update(webhook, description="the warehouse").description == "the warehouse"
        assert [each.webhook_id for each in client.webhooks.list()] == [webhook]
        assert client.webhooks.read(webhook).status == "active"
        assert client.webhooks.test(webhook).delivered
        assert client.webhooks.rotate(webhook, overlap_s=0).secret != made.secret
        assert list(client.webhooks.deliveries(webhook, status="failed")) == []
        client.webhooks.delete(webhook)
        assert client.webhooks.list() == []
