"""Names and codes from before the rule of ``core/base/names.py`` still work, and verify warns of them. New ones are refused."""

from typing import Any

import pytest

from core.ledger.rules import validation
from core.verification.verify import verify_all, verify_since_checkpoint
from tests.harness.api import Api, ok, refused

POOL, ANA, REFERENCE = "@Po\u200bol", "@Ana\u0301", "first\nline"
USD = {"currency": "usd", "precision": 100}


@pytest.fixture
def old(api: Api, monkeypatch: pytest.MonkeyPatch) -> Api:
    """A ledger that an earlier release has written, which had no such rule."""
    with monkeypatch.context() as patch:
        for rule in ("unclear", "currency_problem"):
            patch.setattr(validation, rule, lambda text: None)
            patch.setattr("core.ledger.resolve." + rule, lambda text: None)
        api.done(source=POOL, destination=ANA, reference=REFERENCE, precise_amount=500, **USD)
        ok(api.client.post("/ledgers", json={"name": " mine "}), 201)
        job = {
            "name": "may\u2028",
            "source": POOL,
            "currency": "usd",
            "allow_overdraft": True,
            "reference": "\u00a0may",
        }
        made = {**job, "cron": "0 8 * * *", "recipients": [{"destination": ANA, "amount": 1}]}
        ok(api.client.post("/funding-jobs", json=made), 201)
    return api


def test_a_name_that_exists_is_read_paid_held_and_refunded(old: Api) -> None:
    first = old.get("/transactions/reference/first%0Aline")
    assert first["reference"] == REFERENCE
    ana = old.balance(ANA, "usd")
    assert (ana["balance"], ana["currency"]) == (500, "usd")
    spent = old.done(source=ANA, destination=POOL, precise_amount=100, allow_overdraft=None, **USD)
    by_id = old.done(source=first["destination"], destination=POOL, precise_amount=50, currency=None, precision=None)
    hold = old.done(source=ANA, destination=POOL, precise_amount=50, inflight=True, **USD)
    assert (spent["status"], by_id["status"], hold["status"]) == ("APPLIED", "APPLIED", "INFLIGHT")
    assert ok(old.settle(hold["transaction_id"], "commit", skip_queue=True), 200)["status"] == "APPLIED"
    asked = {"skip_queue": True, "precise_amount": 100}
    ok(old.client.post(f"/refund-transaction/{first['transaction_id']}", json=asked), 201)
    job = old.get("/funding-jobs/reference/%C2%A0may")
    assert job["name"] == "may\u2028"
    ok(old.client.post(f"/funding-jobs/{job['job_id']}/run", json={}), 201)
    split = {"source": None, "sources": [{"identifier": ANA, "distribution": "left"}], "destination": POOL}
    assert old.done(**split, precise_amount=1, **USD)["status"] == "APPLIED"


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({**USD, "destination": "@New"}, "currency"),
        ({**USD, "destination": "@New\u200b"}, "destination"),
        ({"destination": ANA}, "destination"),
        ({"source": POOL}, "source"),
        ({"reference": REFERENCE}, "reference"),
        ({**USD, "destination": "@New", "description": ""}, "currency"),
    ],
)
def test_a_name_that_a_request_would_create_is_refused(old: Api, fields: dict[str, Any], name: str) -> None:
    detail = refused(old.post(**fields), 400, "TXN_VALIDATION_ERROR")
    assert f"{name}: must " in detail["message"]
    detail = refused(old.post(**fields, dry_run=True), 400, "TXN_VALIDATION_ERROR")
    assert f"{name}: must " in detail["message"]


def test_verify_lists_old_names_as_warnings_and_the_ledger_is_sound(old: Api) -> None:
    engine = old.app.extensions["pacioli"].engine
    for report in (verify_all(engine), verify_since_checkpoint(engine)):
        assert report.ok
        assert report.warning_count == len(report.warnings) == 7
        found = [(warning.table, warning.what, warning.message.partition(":")[0]) for warning in report.warnings]
        assert sorted(found) == [
            (
                "balances",
                "currency",
                'must be a code of A-Z, 0-9, dot, underscore and hyphen, such as USD, and not "usd"; did you mean USD?',
            ),
            ("balances", "indicator", "must be in the form NFC of Unicode"),
            (
                "balances",
                "indicator",
                "must not contain a character without a shape of its own, U+200B ZERO WIDTH SPACE, as character 4",
            ),
            ("funding_jobs", "name", "must not contain a line break, U+2028 LINE SEPARATOR, as character 4"),
            ("funding_jobs", "reference", "must not contain an unusual blank, U+00A0 NO-BREAK SPACE, as character 1"),
            ("ledgers", "name", "must not begin or end with a blank"),
            ("log", "reference", "must not contain a control character, U+000A, as character 6"),
        ]
    body = old.get("/verify")
    assert (body["ok"], body["problem_count"], body["warning_count"]) == (True, 0, 7)
    assert body["warnings"][-1]["key"] == "seq 1"
