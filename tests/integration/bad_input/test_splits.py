"""Shares of a split that make no sense are refused."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.harness.bad_input import assert_refused, counts, post
from tests.harness.junk import good_transaction
from web.service import Service

_BAD_SHARES: list[dict[str, Any]] = [
    {},
    *(
        {"distribution": text}
        for text in (
            *("", " ", "abc", "NaN", "nan", "Infinity", "-inf", "1e3", "1e999", "-1", "+5", "1_0", "1,5", ".5", "5."),
            *("0x10", "0", "0.00", "0.001", "٣", "９", "9" * 1001, "9" * 100_000, "0." + "0" * 600 + "1", "5\n"),
            *("%", "abc%", "NaN%", "-5%", "+5%", "1e2%", "0%", "0.0%", "5 %", "5%%", "٣%", "1000%", ".5%", "5.%"),
            *("9" * 1001 + "%", "0." + "3" * 100 + "%", "LEFT", "Left", " left", "left "),
        )
    ),
    *(
        {"precise_distribution": text, "distribution": "left"}
        for text in (
            *(
                "",
                "abc",
                "NaN",
                "1e3",
                "1.5",
                "1.0",
                "-5",
                "+5",
                "0",
                " 5",
                "1_0",
                "٣",
                "5%",
                "9" * 1001,
                "9" * 100_000,
            ),
            *(0, -5, -(10**30), 10**2000),
        )
    ),
]


@pytest.mark.parametrize("mode", [{}, {"skip_queue": True}, {"dry_run": True}], ids=str)
@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_share_that_is_none_is_refused_by_its_place(
    client: FlaskClient, service: Service, side: str, mode: dict[str, bool]
) -> None:
    before = counts(service)
    for share in _BAD_SHARES:
        legs = [{"identifier": "@New1", "distribution": "10%"}, {"identifier": "@New2", **share}]
        response = post(client, {**good_transaction(), **mode, side: None, f"{side}s": legs})
        assert response.status_code == 400, share
        detail = response.get_json()["error_detail"]
        field = "precise_distribution" if "precise_distribution" in share else "distribution"
        assert detail["code"] == "TXN_INVALID_DISTRIBUTION"
        assert detail["message"].startswith(f"{side}s[1].{field}: failed to split transaction: "), share
        assert len(detail["message"]) < 2000 or len(str(share)) > 1000
        assert counts(service) == before, share


@pytest.mark.parametrize(
    ("shares", "what"),
    [
        (["left", "left"], "multiple identifiers with 'left'"),
        (["60%", "60%"], "exceed"),
        (["101%"], "exceed"),
        (["100.01", "left"], "exceed"),
        (["100.00", "0.01%"], "exceed"),
        (["50%", "30%"], "less than the total"),
        (["99.99"], "less than the total"),
        (["99.999999999999%"], "less than the total"),
    ],
    ids=str,
)
def test_shares_that_do_not_add_up_are_refused(
    client: FlaskClient, service: Service, shares: list[str], what: str
) -> None:
    before = counts(service)
    for side in ("source", "destination"):
        legs = [{"identifier": f"@New{position}", "distribution": share} for position, share in enumerate(shares)]
        asked = {**good_transaction(), "precise_amount": 10_000, side: None, f"{side}s": legs}
        response = post(client, asked)
        assert_refused(response, f"{side}s")
        assert response.get_json()["error_detail"]["code"] == "TXN_INVALID_DISTRIBUTION"
        assert what in response.get_json()["error"]
    assert counts(service) == before


@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_split_has_at_most_a_thousand_legs(client: FlaskClient, service: Service, side: str) -> None:
    legs = [{"identifier": f"@{side}{position}", "precise_distribution": 1} for position in range(1001)]
    asked = {**good_transaction(), side: None, "precise_amount": 1001}
    before = counts(service)
    response = post(client, {**asked, f"{side}s": legs})
    assert response.get_json()["error"] == f"{side}s: at most 1000 are allowed."
    assert counts(service) == before
    assert post(client, {**asked, "precise_amount": 1000, f"{side}s": legs[1:]}).status_code == 201


def test_one_balance_is_on_one_side_under_whatever_name(client: FlaskClient, service: Service) -> None:
    applied = post(client, {**good_transaction(), "skip_queue": True}).get_json()
    ids = {"@World": applied["source"], "@A": applied["destination"]}
    before = counts(service)
    for source, destination in (("@World", ids["@World"]), (ids["@A"], "@A"), ("@A", "@A"), (ids["@A"], ids["@A"])):
        sources, destinations = (
            [{"identifier": f"@Other{n}", "distribution": "50%"}, {"identifier": name, "distribution": "left"}]
            for n, name in enumerate((source, destination))
        )
        for sides in (
            {"source": source, "destination": destination},
            {"source": source, "destinations": destinations},
            {"sources": sources, "destination": destination},
            {"sources": sources, "destinations": destinations},
        ):
            response = post(client, {**good_transaction(), "source": None, "destination": None, **sides})
            text_ = "destination: source and destination cannot be the same balance."
            assert (response.status_code, response.get_json()["error"]) == (400, text_)
    assert counts(service) == before


def test_each_side_is_given_once(client: FlaskClient, service: Service) -> None:
    before = counts(service)
    legs = [{"identifier": "@B", "distribution": "left"}]
    for side in ("source", "destination"):
        wrong: list[dict[str, Any]] = [
            {f"{side}s": legs},
            {side: None},
            {side: None, f"{side}s": []},
            {side: "", f"{side}s": None},
        ]
        for fields in wrong:
            response = post(client, {**good_transaction(), **fields})
            assert_refused(response, side)
            both = fields.get(f"{side}s") == legs
            text_ = f"{side}: either {side} or {side}s is required{', not both' if both else ''}."
            assert response.get_json()["error"] == text_
        for name in ("", "nobody", "@", "@a b"):
            asked = {side: None, f"{side}s": [{**legs[0], "identifier": name}]}
            assert_refused(post(client, {**good_transaction(), **asked}), f"{side}s")
    assert counts(service) == before
