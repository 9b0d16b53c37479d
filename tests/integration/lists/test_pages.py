"""A filter in a query and in a body, its pages and its counts."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.harness.lists import Row, ok, transaction


@pytest.mark.smoke
def test_a_query_means_the_same_as_a_body(client: FlaskClient, one_of_each: dict[str, str]) -> None:
    world = client.get("/balances/indicator/@World/currency/USD").get_json()["balance_id"]
    for query, clause in {
        "status_eq=REJECTED": ("status", "eq", "REJECTED"),
        "status_in=VOID,QUEUED": ("status", "in", ["VOID", "QUEUED"]),
        "status_neq=APPLIED": ("status", "ne", "APPLIED"),
        "amount_between=0.1|10.01": ("amount", "between", [0.1, 10.01]),
        "amount_gteq=750.23": ("amount", "gte", "750.23"),
        "amount_lteq=0.01": ("amount", "lte", "0.01"),
        "reference_like=r-%25": ("reference", "like", "r-%"),
        "parent_transaction_isnull=": ("parent_transaction", "isnull", None),
        "effective_date_eq=2020-02-29": ("effective_date", "eq", "2020-02-29"),
        "effective_date_eq=2020-02-29T13:30:00%2B01:00": ("effective_date", "eq", "2020-02-29T12:30:00Z"),
        f"balance_id_ne={world}": ("balance_id", "ne", world),
        "meta_data.vip_eq=true": ("meta_data.vip", "eq", True),
        "meta_data.tier_gt=6": ("meta_data.tier", "gt", 6),
        "meta_data_eq=%7B%22name%22:%22Bea%22%7D": ("meta_data", "eq", {"name": "Bea"}),
    }.items():
        field, operator, value = clause
        body = {"field": field, "operator": operator, "values" if isinstance(value, list) else "value": value}
        expected = ok(client.post("/transactions/filter", json={"filters": [body], "limit": 100}), 200)
        assert expected, query
        assert ok(client.get(f"/transactions?limit=100&{query}"), 200) == expected, query
    both = client.get("/transactions?status_eq=VOID&status_eq=REJECTED&logical_operator=or&limit=100").get_json()
    assert {row["status"] for row in both} == {"VOID", "REJECTED"}
    assert client.get("/transactions?status_eq=VOID&status_eq=REJECTED").get_json() == []


def test_a_number_in_a_query_finds_text_of_the_same_digits_too(
    client: FlaskClient, one_of_each: dict[str, str]
) -> None:
    found_ids = {row["transaction_id"] for row in client.get("/transactions?meta_data.tier_eq=5").get_json()}
    assert found_ids == {one_of_each["paid in euros"]}  # The other 5 is a 9 by now.
    assert client.post("/transactions/filter", json=_asking("meta_data.tier", "eq", 5)).get_json() == []
    assert client.get("/transactions?reference_eq=0001").status_code == 200


def test_what_blnk_reserves_in_a_list_means_what_it_says(client: FlaskClient, one_of_each: dict[str, str]) -> None:
    plain = client.get("/transactions?limit=4").get_json()
    for ignored in ("instance_id=5", "org_id=5"):
        assert client.get(f"/transactions?limit=4&{ignored}").get_json() == plain
    for same in ("per_page=2&page=2", "pagesize=2&page=2", "limit=2&page=2", "limit=2&offset=2"):
        assert client.get(f"/transactions?{same}").get_json() == plain[2:], same
    upwards = client.get("/transactions?sort_by=reference&sort_order=asc").get_json()
    for same in ("sort=reference&order=asc", "order_by=reference&order_dir=asc"):
        assert client.get(f"/transactions?{same}").get_json() == upwards, same
    for wrong in ("page=0", "page=x", "page=2&offset=1", "page=2&after=7"):
        assert ok(client.get(f"/transactions?{wrong}"), 400)["error_detail"]["code"] == "GEN_BAD_REQUEST", wrong


def test_a_field_by_its_name_alone_is_equality(client: FlaskClient, one_of_each: dict[str, str]) -> None:
    rejected = client.get("/transactions?status_eq=REJECTED").get_json()
    assert {row["status"] for row in rejected} == {"REJECTED"}
    assert client.get("/transactions?status=REJECTED").get_json() == rejected
    for plain, full in (("reference=r-poor", "reference_eq=r-poor"), ("meta_data.vip=true", "meta_data.vip_eq=true")):
        rows = client.get(f"/transactions?{plain}").get_json()
        assert rows and rows == client.get(f"/transactions?{full}").get_json()
    assert client.get("/balances?indicator=@World&currency=USD").get_json()[0]["indicator"] == "@World"


def test_the_link_of_a_page_repeats_every_filter(client: FlaskClient, one_of_each: dict[str, str]) -> None:
    path, walked = "/transactions?status_eq=VOID&status_eq=REJECTED&logical_operator=or&limit=2", []
    whole = client.get(path.replace("limit=2", "limit=100")).get_json()
    assert {row["status"] for row in whole} == {"VOID", "REJECTED"}
    while path:
        response = client.get(path)
        walked += ok(response, 200)
        path = response.headers.get("Link", "<>")[1:].partition(">")[0]
    assert walked == whole


def test_a_count_is_of_all_that_match_also_when_nothing_does(client: FlaskClient, one_of_each: dict[str, str]) -> None:
    for things in ("transactions", "balances", "ledgers"):
        every = client.get(f"/{things}?limit=1000").get_json()
        all_of_them, last = len(every), every[-1][f"{things[:-1]}_id"]
        for answer in (
            client.get(f"/{things}?include_count=true&limit=1"),
            client.post(f"/{things}/filter", json={"include_count": True, "limit": 1, "offset": 1000}),
            client.post(f"/{things}/filter?after={last}", json={"include_count": True, "limit": 1}),
        ):
            assert ok(answer, 200)["total_count"] == all_of_them, things
        nothing = _asking("created_at", "lt", "2000") | {"include_count": True}
        assert client.post(f"/{things}/filter", json=nothing).get_json() == {"data": [], "total_count": 0}
        assert client.post(f"/{things}/filter", json=nothing | {"include_count": False}).get_json() == []
        assert client.get(f"/{things}?created_at_lt=2000").get_json() == []


def test_pages_stay_right_while_rows_are_added(client: FlaskClient, one_of_each: dict[str, str]) -> None:
    expected = [row["transaction_id"] for row in client.get("/transactions?limit=1000&reference_like=r%25").get_json()]
    walked, path = [], "/transactions?limit=5&reference_like=r%25&offset=0"
    while path:
        response = client.get(path)
        walked += [row["transaction_id"] for row in ok(response, 200)]
        path = response.headers.get("Link", "<>")[1:].partition(">")[0]
        ok(client.post("/transactions", json=transaction()), 201)
    assert walked == expected


def test_a_limit_below_one_is_the_default_in_a_body(client: FlaskClient, one_of_each: dict[str, str]) -> None:
    for limit in (0, -5, None):
        assert len(client.post("/transactions/filter", json={"limit": limit, "offset": -1}).get_json()) == 20
    assert client.post("/transactions/filter", json={"limit": 10**30, "offset": 10**30}).get_json() == []


def test_what_is_scheduled_is_listed_only_when_asked_for(client: FlaskClient, one_of_each: dict[str, str]) -> None:
    waiting = [one_of_each["scheduled split"], one_of_each["scheduled"]]

    def ids(**body: Any) -> list[str]:
        return [row["transaction_id"] for row in ok(client.post("/transactions/filter", json=body), 200)]

    assert not set(waiting) & set(ids(limit=1000))
    assert ids(**_asking("status", "eq", "SCHEDULED")) == waiting
    assert ids(**_asking("status", "eq", "SCHEDULED"), sort_order="asc") == waiting[::-1]
    assert one_of_each["cancelled"] not in ids(**_asking("status", "eq", "VOID"))
    both = ids(filters=[{"field": "status", "operator": "in", "values": ["SCHEDULED", "VOID"]}], limit=1000)
    assert both[:3] == [one_of_each["cancelled"], *waiting]
    assert one_of_each["voided"] in both[3:]


def _asking(field: str, operator: str, value: Any) -> Row:
    return {"filters": [{"field": field, "operator": operator, "value": value}]}
