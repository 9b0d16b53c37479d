"""Every page can be measured with a past, and shows it."""

import pytest

from tests.harness import page_times
from tests.harness.databases import new_database


def test_every_page_is_measured_with_a_past(postgres: str, capsys: pytest.CaptureFixture[str]) -> None:
    url = new_database(postgres)
    page_times.fill(url, 300, customers=20)
    found = page_times.measure(url, times=1, warm=0)
    page_times.show(found)
    table = capsys.readouterr().out
    for page in (
        "Overview",
        "Money map",
        "the busiest balance, all",
        "one transaction, rejected",
        "the part now alone",
    ):
        assert page in table, table
    assert all(each.size for each in found)
