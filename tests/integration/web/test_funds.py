"""Whether there is enough money. Numbers in brackets are Blnk's acceptance cases."""

from tests.harness.api import Api, ok, refused


def test_money_moves_and_is_found_by_its_reference(api: Api) -> None:  # [20] [21]
    api.done(amount=5)
    for asked in ({"amount": 1.25}, {"precise_amount": 125}):
        applied = ok(api.spend(**asked, reference=f"by {asked}"), 201)
        assert applied["status"] == "APPLIED"
        assert api.get(f"/transactions/reference/by {asked}")["status"] == "APPLIED"
    assert [api.balance(name)["balance"] for name in ("@World", "@A", "@B")] == [-500, 250, 250]


def test_insufficient_funds_at_once_are_400_and_kept(api: Api) -> None:  # [29] Blnk keeps no row
    api.done(precise_amount=30)
    response = api.spend(reference="r", precise_amount=100, meta_data={"a": 1})
    text = "failed to apply transaction to balances: insufficient funds in source balance"
    detail = refused(response, 400, "TXN_INSUFFICIENT_FUNDS", text)
    kept = api.get("/transactions/reference/r")
    assert kept["transaction_id"] == detail["details"]["transaction_id"]
    assert kept["status"] == "REJECTED"
    assert kept["meta_data"] == {"a": 1, "blnk_rejection_reason": "insufficient funds in source balance"}
    assert kept["rejection"] == detail["details"]["rejection"]
    assert kept["rejection"] == {
        "reason": "insufficient_funds",
        "message": "insufficient funds in source balance: available USD0.30, asked USD1.00, short by USD0.70",
        "available": 30,
        "requested": 100,
        "held": 0,
        "overdraft_limit": None,
        "short_by": 70,
    }
    assert [step["status"] for step in kept["timeline"]] == ["QUEUED", "REJECTED"]
    assert api.balance("@A")["balance"] == 30


def test_insufficient_funds_in_the_queue_move_the_same_id_to_rejected(api: Api) -> None:  # [30]
    accepted = ok(api.spend(skip_queue=None, reference="R"), 201)
    assert accepted["status"] == "QUEUED"
    api.drain()
    for path in (accepted["transaction_id"], "reference/R", "reference/R_q"):
        read = api.get(f"/transactions/{path}")
        assert read["transaction_id"] == accepted["transaction_id"]
        assert read["status"] == "REJECTED"
        assert read["meta_data"]["blnk_rejection_reason"] == "insufficient funds in source balance"
    assert api.balance("@B")["balance"] == 0


def test_exactly_enough_is_enough(api: Api) -> None:  # [31]
    api.done(precise_amount=100)
    refused(api.spend(precise_amount=101), 400, "TXN_INSUFFICIENT_FUNDS")
    assert ok(api.spend(precise_amount=100), 201)["status"] == "APPLIED"
    assert api.balance("@A")["balance"] == 0


def test_an_overdraft_goes_to_its_limit(api: Api) -> None:  # [33]
    limited = {"allow_overdraft": True, "overdraft_limit": 10}
    detail = refused(
        api.spend(precise_amount=1001, **limited),
        400,
        "TXN_VALIDATION_ERROR",
        "failed to apply transaction to balances: transaction exceeds overdraft limit",
    )
    assert detail["details"]["rejection"] == {
        "reason": "overdraft_limit",
        "message": "transaction exceeds overdraft limit: available USD0.00, overdraft limit USD10.00, asked USD10.01, "
        "short by USD0.01",
        "available": 0,
        "requested": 1001,
        "held": 0,
        "overdraft_limit": 1000,
        "short_by": 1,
    }
    applied = ok(api.spend(precise_amount=1000, **limited), 201)
    assert applied["overdraft_limit"] == 10
    assert api.balance("@A")["balance"] == -1000


def test_a_limit_counts_without_the_flag_and_zero_is_a_limit(api: Api) -> None:
    assert ok(api.spend(precise_amount=29, overdraft_limit=0.29), 201)["status"] == "APPLIED"  # [34]
    detail = refused(api.spend(allow_overdraft=True, overdraft_limit=0), 400, "TXN_VALIDATION_ERROR")
    assert detail["details"]["rejection"]["overdraft_limit"] == 0
    assert ok(api.spend(precise_amount=10**30, allow_overdraft=True), 201)["status"] == "APPLIED"  # [36]


def test_what_is_held_cannot_be_spent_again(api: Api) -> None:  # [35] [37]
    api.done(precise_amount=1000)
    ok(api.spend(precise_amount=600, inflight=True), 201)
    detail = refused(api.spend(precise_amount=500), 400, "TXN_INSUFFICIENT_FUNDS")
    assert detail["details"]["rejection"]["message"] == (
        "insufficient funds in source balance: available USD4.00, held USD6.00, asked USD5.00, short by USD1.00"
    )
    assert ok(api.spend(precise_amount=400), 201)["status"] == "APPLIED"
    limited = {"currency": "CHF", "precision": 1, "allow_overdraft": True, "overdraft_limit": 500}
    api.done(currency="CHF", precision=1, precise_amount=500)
    ok(api.spend(currency="CHF", precision=1, precise_amount=300, inflight=True), 201)
    refused(api.spend(precise_amount=800, **limited), 400, "TXN_VALIDATION_ERROR")
    ok(api.spend(precise_amount=600, **limited), 201)
    assert api.balance("@A", "CHF")["available_balance"] == -400
