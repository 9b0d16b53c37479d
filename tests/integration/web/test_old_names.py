"""Names and codes from before the rule of ``core/base/names.py`` still work, and verify warns of them. New ones are refused."""

from typing import Any

import pytest

from core.ledger.rules import validation
from core.verification.verify import verify_all, verify_since_checkpoint
from tests.harness.api import Api, ok, refused

POOL, ANA, REFERENCE = "@Po\u200bol", "@Ana\u0301", "first\nline"
USD = {"currency": "usd", "precision": 100}
JOB = {"name": "may\u2028", "source": POOL, "currency": "usd", "allow_overdraft": True, "reference": "\u00a0may"}
ROWS = [{"destination": ANA, "amount": 1}]


@pytest.fixture
def old(api: Api, monkeypatch: pytest.MonkeyPatch) -> Api:
    """A ledger that an earlier release has written, which had no such rule."""
    with monkeypatch.context() as patch:
        for rule in ("unclear", "currency_problem"):
            patch.setattr(validation, rule, lambda text: None)
            patch.setattr("core.ledger.resolve." + rule, lambda text: None)
        patch.setattr("core.ledger.intake.unclear", lambda text: None)
        api.done(source=POOL, destination=ANA, reference=REFERENCE, precise_amount=500, **USD)
        ok(api.client.post("/ledgers", json={"name": " mine "}), 201)
        ok(api.client.post("/funding-jobs", json={**JOB, "cron": "0 8 * * *", "recipients": ROWS}), 201)
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
        ({**USD, "currency": "eur", "destination": "@New"}, "currency"),
        ({**USD, "destination": "@New\u200b"}, "destination"),
        ({"destination": ANA}, "destination"),
        ({"source": POOL}, "source"),
        ({"reference": "second\nline"}, "reference"),
        ({**USD, "currency": "eur", "destination": "@New", "description": ""}, "currency"),
    ],
)
def test_a_name_that_a_request_would_create_is_refused(old: Api, fields: dict[str, Any], name: str) -> None:
    detail = refused(old.post(**fields), 400, "TXN_VALIDATION_ERROR")
    assert f"{name}: must " in detail["message"]
    detail = refused(old.post(**fields, dry_run=True), 400, "TXN_VALIDATION_ERROR")
    assert f"{name}: must " in detail["message"]


def test_a_currency_that_the_ledger_uses_gets_new_balances_in_every_way(old: Api) -> None:
    first = old.done(source=POOL, destination="@Bob", precise_amount=100, **USD)
    assert (first["status"], old.balance("@Bob", "usd")["balance"]) == ("APPLIED", 100)
    customer = old.new_balance("usd")
    assert old.done(source="@Bob", destination=customer, precise_amount=1, **USD)["status"] == "APPLIED"
    named = {"ledger_id": "general_ledger_id", "currency": "usd", "indicator": "@Eve"}
    ok(old.client.post("/balances", json=named), 201)
    ok(old.bulk({**USD, "destination": "@Bulk1"}, {**USD, "destination": "@Bulk2"}), 201)
    assert old.post(**USD, destination="@Tried", dry_run=True).status_code == 200
    rows = [{"destination": "@New1", "amount": 1}, {"destination": "@New2", "amount": 2}]
    job = {"name": "may", "source": "@OtherPool", "currency": "usd", "allow_overdraft": True, "recipients": rows}
    ok(old.client.post("/funding-jobs", json=job), 201)
    for asked in ({"currency": "eur"}, {"currency": "eur", "indicator": "@Eve"}):
        wrong = old.client.post("/balances", json={"ledger_id": "general_ledger_id", **asked})
        assert "currency: must be" in refused(wrong, 400, "GEN_VALIDATION_ERROR")["message"]
    refused(
        old.client.post("/funding-jobs", json={**job, "currency": "eur", "precision": 100}), 400, "GEN_VALIDATION_ERROR"
    )


def test_a_retry_under_an_unclear_reference_gets_what_it_made_before(old: Api) -> None:
    asked = {"source": POOL, "destination": ANA, "reference": REFERENCE, "precise_amount": 500, **USD}
    again = old.post(**asked, skip_queue=True)
    assert again.headers["Idempotent-Replayed"] == "true"
    first = ok(again, 200)
    assert first["transaction_id"] == old.get("/transactions/reference/first%0Aline")["transaction_id"]
    refused(old.post(**{**asked, "precise_amount": 501}), 409, "TXN_DUPLICATE_REFERENCE")
    bulk = old.bulk(asked, {**asked, "reference": "new\nline"})
    assert "transactions[1]" in refused(bulk, 400, "TXN_VALIDATION_ERROR")["message"]
    made = ok(old.client.get("/funding-jobs/reference/%C2%A0may"), 200)
    replayed = old.client.post("/funding-jobs", json={**JOB, "cron": "0 8 * * *", "recipients": ROWS})
    assert ok(replayed, 200)["job_id"] == made["job_id"]


def test_a_retried_commit_void_refund_or_run_under_an_unclear_reference_is_found(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = api.done(precise_amount=100)["transaction_id"]
    holds = [api.done(precise_amount=50, inflight=True)["transaction_id"] for _ in range(2)]
    job = {"name": "may", "source": "@World", "currency": "USD", "cron": "0 8 * * *", "allow_overdraft": True}
    made = api.client.post("/funding-jobs", json={**job, "recipients": [{"destination": "@A", "amount": 1}]})
    job_id = ok(made, 201)["job_id"]

    def asked(name: str) -> list[Any]:
        return [
            api.settle(holds[0], "commit", reference=f"commit{name}", precise_amount=20),
            api.settle(holds[1], "void", reference=f"void{name}"),
            api.client.post(f"/refund-transaction/{first}", json={"reference": f"refund{name}", "precise_amount": 10}),
            api.client.post(f"/funding-jobs/{job_id}/run", json={"reference": f"run{name}"}),
        ]

    with monkeypatch.context() as patch:
        patch.setattr(validation, "unclear", lambda text: None)
        before = asked("\u200b")
    again = asked("\u200b")
    assert [response.status_code for response in before] == [200, 200, 201, 201]
    assert [response.status_code for response in again] == [200, 200, 200, 200]
    for one, other in zip(before, again, strict=True):
        ids = ("child_transaction", "run_id", "transaction_id")
        assert next(one.json[key] for key in ids if key in one.json) == next(
            other.json[key] for key in ids if key in other.json
        )
    for response in asked("\u200c")[2:]:
        assert "reference: must not contain" in response.json["error"]
        assert response.status_code == 400


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
