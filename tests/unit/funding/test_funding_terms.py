"""The problems of a funding job's terms that can be found without a database."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from core.funding.requests import FundingRequest, FundingRule
from core.funding.terms import terms_problems


@pytest.mark.parametrize("text", ["NaN", "Infinity", "0", "-1"])
@pytest.mark.parametrize("name", ["amount", "top_up_to"])
def test_an_amount_of_a_rule_that_is_none_is_named(name: str, text: str) -> None:
    rule = FundingRule("ldg_x", **{name: Decimal(text)})
    request = FundingRequest("a job", source="@Pool", currency="USD", rule=rule)
    assert terms_problems(request, False, datetime.now(UTC)) == [(f"rule.{name}", "must be greater than zero")]


@pytest.mark.parametrize(
    ("rule", "has_file", "text"),
    [
        (None, False, "is required, unless a rule or a file says whom to fund"),
        (FundingRule("ldg_x", amount=Decimal(1)), True, "only one of recipients, rule and a file may say whom to fund"),
    ],
)
def test_whom_to_fund_is_said_once(rule: FundingRule | None, has_file: bool, text: str) -> None:
    request = FundingRequest("a job", source="@Pool", currency="USD", rule=rule)
    assert ("recipients", text) in [problem[:2] for problem in terms_problems(request, has_file, datetime.now(UTC))]
