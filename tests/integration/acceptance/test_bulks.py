"""Blnk's acceptance cases of bulks and of splits."""

import pytest

from tests.harness.acceptance import case
from tests.harness.api import Api, ok, refused
from tests.harness.steps import balances_of, give, is_empty, leg_amounts, legs_of, post_split

# Bulks


@case(64)
def test_a_bulk_is_one_to_ten_thousand_and_names_the_bad_item(api: Api) -> None:
    refused(api.bulk(), 400, "TXN_BULK_EMPTY", "transactions cannot be empty")
    response = api.bulk(*[{}] * 10_001)
    refused(response, 400, "TXN_BULK_LIMIT_EXCEEDED", "too many transactions; max is 10000")
    detail = refused(api.bulk({"precision": 10.5}, {}), 400, "TXN_VALIDATION_ERROR")
    assert "transactions[0]" in detail["message"]
    assert "precision must be an integer value" in detail["message"]
    assert is_empty(api)


@case(65)
def test_a_bulk_is_applied_when_it_is_answered(api: Api) -> None:
    answer = ok(api.bulk({}, {"precise_amount": 2}, skip_queue=True), 201)
    assert (answer["status"], answer["transaction_count"]) == ("applied", 2)
    assert balances_of(api, "@A", "@World") == [3, -3]


@case(66)
def test_a_bulk_that_is_not_atomic_keeps_what_went_well(api: Api) -> None:
    poor = {"source": "@Poor", "allow_overdraft": False}
    response = api.bulk({"precise_amount": 5}, poor, skip_queue=True)
    detail = refused(response, 400, "TXN_INSUFFICIENT_FUNDS")
    assert detail["message"].startswith("failed to queue transaction 2 ")
    assert detail["message"].endswith("Previous transactions were not rolled back.")
    assert response.get_json()["batch_id"].startswith("bulk_")
    assert balances_of(api, "@A") == [5]


@case(67)
@pytest.mark.parametrize("skip_queue", [True, False])
def test_an_atomic_bulk_that_fails_moves_nothing(api: Api, skip_queue: bool) -> None:
    # Blnk: applies, then refunds; and in the queue not even that.
    poor = {"source": "@Poor", "allow_overdraft": False}
    response = api.bulk({}, {}, poor, skip_queue=skip_queue, atomic=True)
    if skip_queue:
        detail = refused(response, 400, "TXN_INSUFFICIENT_FUNDS")
        assert detail["message"].endswith("No transaction of this batch was applied.")
    api.drain()
    assert [row["status"] for row in api.get("/transactions")] == ["REJECTED"] * 3
    assert [(sums["balance"], sums["version"]) for sums in api.get("/balances")] == [(0, 1)] * 3


@case(68)
def test_an_atomic_bulk_of_holds_that_fails_holds_nothing(api: Api) -> None:
    poor = {"source": "@Poor", "allow_overdraft": False}
    response = api.bulk({}, {}, poor, skip_queue=True, atomic=True, inflight=True)
    refused(response, 400, "TXN_INSUFFICIENT_FUNDS")
    assert api.sums("@A") == api.sums("@World") == (0, 0, 0, 0)


@case(69)
def test_an_asynchronous_bulk_is_taken_and_processing(api: Api) -> None:
    # Blnk: 429 while more than a hundred are under way. Here each is in the log, and there is no such bound.
    for _ in range(101):
        answer = ok(api.bulk({}, run_async=True), 202)
    assert (answer["status"], answer["message"]) == ("processing", "Bulk transaction processing started")
    api.drain()
    assert balances_of(api, "@A") == [101]


@case(70)
@pytest.mark.parametrize("skip_queue", [True, False])
def test_what_is_in_a_bulk_knows_its_batch(api: Api, skip_queue: bool) -> None:
    # Blnk: in the queue only by meta_data.QUEUED_PARENT_TRANSACTION.
    batch_id = ok(api.bulk({}, {}, skip_queue=skip_queue), 201)["batch_id"]
    assert [row["parent_transaction"] for row in api.get("/transactions")] == [batch_id] * 2
    api.drain()
    batch = api.transaction(batch_id)
    assert (batch["status"], batch["counts"]["APPLIED"], batch["progress"]) == ("APPLIED", 2, 1)


# Splits


@pytest.mark.smoke
@case(78)
def test_one_source_pays_several_destinations(api: Api) -> None:
    split = ok(post_split(api, 3_000_000, ("@A", "20%"), ("@B", "10000"), ("@C", "left")), 201)
    assert (split["status"], leg_amounts(split)) == ("APPLIED", [600_000, 1_000_000, 1_400_000])
    assert balances_of(api, "@World", "@A", "@B", "@C") == [-3_000_000, 600_000, 1_000_000, 1_400_000]


@case(79)
def test_several_sources_pay_one_destination(api: Api) -> None:
    sources = legs_of(("@X", "2.00"), ("@Y", "50%"), ("@Z", "left"))
    split = api.done(source=None, sources=sources, destination="@A", precise_amount=1000)
    assert leg_amounts(split) == [200, 500, 300]
    assert balances_of(api, "@X", "@Y", "@Z", "@A") == [-200, -500, -300, 1000]


def test_a_precise_share_is_answered_as_a_text_however_it_was_sent(api: Api) -> None:
    """Blnk's Go client, which reads a text, fails at a number."""
    legs = [
        {"identifier": "@A", "precise_distribution": 600},
        {"identifier": "@B", "precise_distribution": "300"},
        {"identifier": "@C", "distribution": "left"},
    ]
    split = api.done(source="@World", destination=None, destinations=legs, precise_amount=1000, allow_overdraft=True)
    for answer in (split, api.transaction(split["transaction_id"])):
        assert [leg.get("precise_distribution") for leg in answer["destinations"]] == ["600", "300", None]
    assert leg_amounts(split) == [600, 300, 100]


HOSTILE = [
    (150, ["50%", "45%", "left"], [75, 67, 8]),
    (10001, ["33.33%", "33.33%", "33.34%"], [3333, 3333, 3335]),
    (123456, ["500", "25%", "10%", "left"], [50000, 30864, 12345, 30247]),
    (1001, ["50%", "50%"], [500, 501]),
    (7, ["33.33%", "33.33%", "left"], [2, 2, 3]),
    (100, ["0.01%", "left"], [100]),
    (10**30 + 1, ["14.2857%"] * 6 + ["left"], [142857 * 10**24] * 6 + [142858 * 10**24 + 1]),
]


@case(80)
@pytest.mark.parametrize(("total", "shares", "amounts"), HOSTILE, ids=str)
@pytest.mark.parametrize("side", ["sources", "destinations"])
def test_legs_add_up_whatever_the_shares(
    api: Api, total: int, shares: list[str], amounts: list[int], side: str
) -> None:
    # Blnk gives the remainder to the largest leg, be it a fixed one.
    legs = legs_of(*[(f"@P{position}", share) for position, share in enumerate(shares)])
    split = api.done(precise_amount=total, reference="R", **{side[:-1]: None, side: legs})
    assert leg_amounts(split) == amounts
    assert sum(amounts) == total
    assert [leg["reference"] for leg in split["legs"]] == [f"R_{n}" for n in range(1, len(amounts) + 1)]
    assert balances_of(api, "@A" if side == "sources" else "@World") == [total if side == "sources" else -total]


@case(81)
@pytest.mark.parametrize("shares", [("60%", "60%"), ("6.00", "5.00"), ("6.00", "50%"), ("10.01", "left")], ids=str)
def test_shares_of_more_than_there_is_are_refused(api: Api, shares: tuple[str, str]) -> None:
    detail = refused(post_split(api, 1000, ("@A", shares[0]), ("@B", shares[1])), 400, "TXN_INVALID_DISTRIBUTION")
    text = "failed to split transaction: total distributions exceed 100% or total amount"
    assert text in detail["message"]
    assert is_empty(api)


@case(82)
def test_shares_of_exactly_all_are_enough(api: Api) -> None:
    assert leg_amounts(ok(post_split(api, 1000, ("@A", "60%"), ("@B", "40%")), 201)) == [600, 400]
    assert leg_amounts(ok(post_split(api, 1000, ("@A", "7.00"), ("@B", "3.00")), 201)) == [700, 300]
    # Blnk: the first gets it. Here the remainder goes to the last percentage, and a leg of 0 takes no part.
    single = ok(post_split(api, 1, ("@C", "50%"), ("@D", "50%")), 201)
    assert leg_amounts(single) == [1]
    assert balances_of(api, "@C", "@D") == [0, 1]


@case(83)
@pytest.mark.parametrize("skip_queue", [True, False])
def test_legs_are_numbered_in_the_order_of_the_list(api: Api, skip_queue: bool) -> None:
    # Blnk: with skip_queue, in random order.
    shares = [("@A", "10%"), ("@B", "20%"), ("@C", "left")]
    split = ok(post_split(api, 100, *shares, reference="R", skip_queue=skip_queue), 201)
    api.drain()
    for number, (name, amount) in enumerate([("@A", 10), ("@B", 20), ("@C", 70)], 1):
        leg = api.get(f"/transactions/reference/R_{number}")
        named = (leg["precise_amount"], leg["destination"], leg["parent_transaction"], leg["status"])
        assert named == (amount, api.balance(name)["balance_id"], split["transaction_id"], "APPLIED")
    assert api.transaction(split["transaction_id"])["status"] == "APPLIED"


@case(84)
@pytest.mark.parametrize("skip_queue", [True, False])
def test_an_atomic_split_with_a_leg_that_is_short_moves_nothing(api: Api, skip_queue: bool) -> None:
    give(api, "@Rich", 1000)
    sources = legs_of(("@Rich", "60%"), ("@Poor", "40%"))
    fields = {"source": None, "sources": sources, "allow_overdraft": None, "atomic": True, "reference": "R"}
    response = api.post(precise_amount=100, skip_queue=skip_queue, **fields)
    if skip_queue:
        refused(response, 400, "TXN_INSUFFICIENT_FUNDS")
    api.drain()
    split = api.get("/transactions/reference/R")
    assert split["status"] == "REJECTED"
    assert [leg["rejection"]["reason"] for leg in split["legs"]] == ["atomic_group", "insufficient_funds"]
    assert balances_of(api, "@Rich", "@Poor", "@A") == [1000, 0, 0]
