"""Currency and precision of a transaction."""

import pytest

from tests.harness.api import Api, close, refused
from web.accept.doorbell import Doorbell
from web.app import create_app


def test_a_missing_currency_is_that_of_the_one_balance_that_is_there(api: Api) -> None:
    euros = api.new_balance("EUR")
    assert api.done(currency=None, destination=euros)["currency"] == "EUR"
    assert api.done(currency=None, source=euros, destination="@Fees")["currency"] == "EUR"
    assert api.balance("@Fees", "EUR")["balance"] == 1
    other = api.new_balance("EUR")
    response = api.post(currency=None, source=euros, destination=other)
    refused(response, 400, "TXN_VALIDATION_ERROR", "currency: cannot be blank.")
    unknown = "bln_00000000-0000-0000-0000-000000000000"
    refused(api.post(currency=None, source=unknown), 404, "BAL_NOT_FOUND")


def test_the_currency_must_be_that_of_both_balances(api: Api) -> None:
    euros, dollars = api.new_balance("EUR"), api.new_balance("USD")
    for sides in ({"source": euros}, {"destination": euros}, {"source": euros, "destination": dollars}):
        detail = refused(api.post(**sides), 400, "TXN_CURRENCY_MISMATCH")
        side = "source" if "source" in sides else "destination"
        assert detail["message"] == f"currency: is USD, but the {side} balance is in EUR."
    assert {balance["balance_id"] for balance in api.get("/balances")} == {euros, dollars}


def test_the_first_use_of_a_currency_fixes_its_precision(api: Api) -> None:
    before = api.done(precision=None, amount=3)
    assert before["precision"] == 1  # and that fixes nothing
    assert api.done(precision=100)["precision"] == 100
    assert api.done(precision=None, amount=0.5)["precise_amount"] == 50
    assert api.done(precision=0)["precision"] == 100  # [12] 0 is none
    detail = refused(
        api.post(precision=1000), 400, "TXN_PRECISION_MISMATCH", "precision: is 1000, but USD has precision 100."
    )
    assert (detail["details"]["field"], detail["details"]["precision"]) == ("precision", 100)
    assert api.done(precision=1000, currency="KWD")["precision"] == 1000
    assert api.done(precision=3, currency="THIRDS", amount=2)["precise_amount"] == 6


def test_a_bulk_that_is_refused_fixes_no_precision(api: Api) -> None:
    response = api.bulk({"precision": 7}, {"precision": 7, "source": "nobody"})
    refused(response, 404, "BAL_NOT_FOUND")
    assert api.done(precision=100)["precision"] == 100


def test_the_precision_check_can_be_turned_off(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)
    app = create_app({"DATABASE_URL": database_url, "PACIOLI_PRECISION_CHECK": "off"})
    api = Api(app, app.test_client())
    assert [api.done(amount=1, precision=precision)["precise_amount"] for precision in (100, 1000, 0)] == [100, 1000, 1]
    close(app)
