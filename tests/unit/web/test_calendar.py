"""The calendar of funding puts each run on its day, whatever month it is."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.searching import search
from web.dashboard import calendar

TODAY = date(2026, 11, 27)
JOB = {"job_id": "fund_1", "name": "Salaries"}


@search(50)
@given(first=st.dates(date(1971, 1, 1), date(2200, 1, 1)), days=st.lists(st.integers(-40, 40), max_size=20))
def test_each_run_of_the_month_is_on_its_day_once(first: date, days: list[int]) -> None:
    first = first.replace(day=1)
    times = [datetime(first.year, first.month, 1, 6, tzinfo=UTC) + timedelta(days=number) for number in days]
    month = calendar.make(first, TODAY, [calendar.Run({"job_id": str(at)}, at) for at in times])
    wanted = {at.date() for at in times if (at.year, at.month) == (first.year, first.month)}
    assert {day.date for day in month.days if day.runs} == wanted
    assert month.days[0].date.isoweekday() == month.weekday
    before, after = (calendar.month_of(text, TODAY) for text in (month.before, month.after))
    assert before is not None and after is not None and before < first < after
    assert month.has_runs == bool(wanted)


def test_runs_of_one_job_on_a_day_are_one_entry() -> None:
    hours = [datetime(2026, 11, 3, hour, tzinfo=UTC) for hour in (9, 7, 8)]
    month = calendar.make(date(2026, 11, 1), TODAY, [calendar.Run(JOB, at) for at in hours])
    (run,) = month.days[2].runs
    assert (run.at.hour, run.count) == (7, 3)
    assert [day.date.day for day in month.days if day.is_today] == [27]


def test_no_month_is_that_of_today() -> None:
    assert calendar.month_of("", TODAY) == date(2026, 11, 1)


@pytest.mark.parametrize("text", ["nonsense", "2026-13", "0001-01", "9999-12", "2026-1\0"])
def test_a_text_that_is_no_month_is_none(text: str) -> None:
    assert calendar.month_of(text, TODAY) is None
