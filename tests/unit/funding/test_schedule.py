"""The times at which a job runs, compared with a plain enumeration of every minute."""

from bisect import bisect_right
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import accumulate, islice, takewhile
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.funding.missed import MOST, MOST_SKIPPED, Due, Missed, due
from core.funding.schedule import GRACE, Schedule, occurrences, schedule_problems

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _some(cron: str, zone: str, after: str, *, many: int = 3) -> list[str]:
    found = islice(occurrences(Schedule(cron=cron, zone=zone), after=_utc(after)), many)
    return [time.isoformat(" ").removesuffix(":00+00:00") for time in found]


# Schedules that are understood


@pytest.mark.parametrize(
    "cron",
    [
        "* * * * *",
        "*/15 9-17 1,15 JAN-JUN mon-fri",
        "0 0 L * *",
        "0 0 LW * *",
        "0 0 * * 5L",
        "0 0 * 2 MON#5",
        "0 0 29 2 *",
        "0 0 31 2 1",
        "  5\t4 * * 7 ",
        ",".join(["*"] * 124) + " * * * *",
    ],
)
def test_an_expression_that_comes_some_day_is_fine(cron: str) -> None:
    assert schedule_problems(cron, None) == []


@pytest.mark.parametrize(("cron", "many"), [("", 0), ("@daily", 1), ("* * * *", 4), ("* * * * * *", 6)])
def test_an_expression_has_five_fields(cron: str, many: int) -> None:
    ((field, text),) = schedule_problems(cron, None)
    assert field == "cron" and "five fields" in text and f"has {many}" in text


@pytest.mark.parametrize(
    ("cron", "named"),
    [
        ("60 * * * *", ["minute '60'"]),
        ("*/0 * * * *", ["minute '*/0'"]),
        ("* 24 * * *", ["hour '24'"]),
        ("* * 0 * *", ["day of month '0'"]),
        ("* * ? * *", ["day of month '?'"]),
        ("* * * FEB-JAN *", ["month 'FEB-JAN'"]),
        ("* * * ſep *", ["month 'ſep'"]),
        ("* * * * 8", ["day of week '8'"]),
        ("* * * * L", ["day of week 'L'"]),
        ("\0 * * * *", ["minute '\\x00'"]),
        ("\ud800 * * * *", ["minute '\\ud800'"]),
        ("x 9 y * *", ["minute 'x'", "day of month 'y'"]),
    ],
)
def test_the_field_that_is_not_understood_is_named(cron: str, named: list[str]) -> None:
    problems = schedule_problems(cron, None)
    assert [text.partition(" is not understood: it takes ")[0] for _, text in problems] == named
    assert all(field == "cron" and ", as in " in text for field, text in problems)


def test_the_example_in_every_message_is_right() -> None:
    examples = [text.rpartition(" as in ")[2] for _, text in schedule_problems("x x x x x", None)]
    assert len(examples) == 5 and schedule_problems(" ".join(examples), None) == []


@pytest.mark.parametrize(
    "cron",
    ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "* * */20 * 1L", "0 0 */30 2,4 1#5", "0 0 LW * */7"],
)
def test_an_expression_that_never_comes_is_refused(cron: str) -> None:
    ((field, text),) = schedule_problems(cron, None)
    assert field == "cron" and text.startswith("never matches")


@pytest.mark.parametrize("cron", ["1" * 10_000, ",".join(["1"] * 128) + " * * * *", "* " * 5_000])
def test_a_long_expression_is_not_looked_into(cron: str) -> None:
    assert schedule_problems(cron, None) == [("cron", "must not be longer than 255 characters")]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Asia/Kolkata", "EST5EDT"])
def test_a_zone_is_an_iana_name(zone: str) -> None:
    assert schedule_problems(None, zone) == []


@pytest.mark.parametrize(
    "zone",
    [
        *(
            "",
            " ",
            ".",
            "../x",
            "/etc/localtime",
            "UTC\0",
            "\0",
            "\ud800",
            "America",
            "America/",
            "localtime",
            "Factory",
        ),
        *("posixrules", "posix/UTC", "right/UTC", "zone.tab", "UTC ", "+02:00", "x" * 255, "x" * 10_000),
    ],
)
def test_what_is_no_zone_is_refused(zone: str) -> None:
    ((field, text),) = schedule_problems(None, zone)
    assert field == "timezone" and text.startswith("must be the name of an IANA time zone")


@pytest.mark.parametrize(
    ("zone", "near"),
    [("europe/berlin", "Europe/Berlin"), ("Berlin", "Europe/Berlin"), ("Asia/Calcuta", "Asia/Calcutta")],
)
def test_an_unknown_zone_is_answered_with_names_near_it(zone: str, near: str) -> None:
    ((_, text),) = schedule_problems(None, zone)
    assert f"; did you mean {near}" in text


def test_every_problem_is_told_at_once_and_what_is_not_given_is_not_looked_at() -> None:
    assert [field for field, _ in schedule_problems("x x * * *", "Mars/Base")] == ["cron", "cron", "timezone"]
    assert schedule_problems(None, None) == []


# The clock on the wall


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        # 02:00 to 03:00 does not exist in Berlin on 31 March 2024.
        ("30 2 * * *", "Europe/Berlin", "2024-03-30 12:00", ["2024-03-31 01:00", "2024-04-01 00:30"]),
        ("*/20 2 * * *", "Europe/Berlin", "2024-03-31 00:00", ["2024-03-31 01:00", "2024-04-01 00:00"]),
        (
            "*/30 * * * *",
            "Europe/Berlin",
            "2024-03-31 00:00",
            ["2024-03-31 00:30", "2024-03-31 01:00", "2024-03-31 01:30"],
        ),
        (
            "45 * * * *",
            "Europe/Berlin",
            "2024-03-31 00:00",
            ["2024-03-31 00:45", "2024-03-31 01:00", "2024-03-31 01:45"],
        ),
        ("30 2,3 * * *", "Europe/Berlin", "2024-03-31 00:00", ["2024-03-31 01:00", "2024-03-31 01:30"]),
        # Half an hour: 02:00 to 02:30.
        ("15 2 * * *", "Australia/Lord_Howe", "2024-10-05 12:00", ["2024-10-05 15:30", "2024-10-06 15:15"]),
        # The gap begins at midnight.
        ("0 0 * * *", "America/Sao_Paulo", "2018-11-03 12:00", ["2018-11-04 03:00", "2018-11-05 02:00"]),
        ("0 0 * * *", "Africa/Cairo", "2024-04-25 12:00", ["2024-04-25 22:00", "2024-04-26 21:00"]),
        ("10 0 * * *", "Asia/Beirut", "2024-03-30 12:00", ["2024-03-30 22:00", "2024-03-31 21:10"]),
        # The whole of 30 December 2011.
        ("0 8 * * *", "Pacific/Apia", "2011-12-29 12:00", ["2011-12-29 18:00", "2011-12-30 10:00", "2011-12-30 18:00"]),
        ("* 9-10 30 12 *", "Pacific/Apia", "2011-12-01 00:00", ["2011-12-30 10:00", "2012-12-29 19:00"]),
    ],
)
def test_a_time_that_the_clock_skips_runs_at_the_first_moment_after_the_gap(
    cron: str, zone: str, after: str, expected: list[str]
) -> None:
    assert _some(cron, zone, after, many=len(expected)) == expected


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        # 02:00 to 03:00 comes twice in Berlin on 27 October 2024, from 00:00 and from 01:00 UTC.
        ("30 2 * * *", "Europe/Berlin", "2024-10-26 12:00", ["2024-10-27 00:30", "2024-10-28 01:30"]),
        ("*/30 * * * *", "Europe/Berlin", "2024-10-27 00:00", ["2024-10-27 00:30", "2024-10-27 02:00"]),
        ("0 * * * *", "Europe/Berlin", "2024-10-26 23:30", ["2024-10-27 00:00", "2024-10-27 02:00"]),
        ("15 1 * * *", "Australia/Lord_Howe", "2024-04-06 00:00", ["2024-04-06 14:15", "2024-04-07 14:45"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2024-04-06 00:00", ["2024-04-06 14:45", "2024-04-07 15:15"]),
        ("30 23 * * *", "America/Sao_Paulo", "2018-02-17 12:00", ["2018-02-18 01:30", "2018-02-19 02:30"]),
    ],
)
def test_a_time_that_comes_twice_runs_the_first_time(cron: str, zone: str, after: str, expected: list[str]) -> None:
    assert _some(cron, zone, after, many=len(expected)) == expected


def test_within_the_second_pass_of_an_hour_nothing_comes_again() -> None:
    # At 01:10 UTC the clock shows 02:10 for the second time.
    assert _some("*/30 * * * *", "Europe/Berlin", "2024-10-27 01:10", many=2) == [
        "2024-10-27 02:00",
        "2024-10-27 02:30",
    ]
    schedule = Schedule(cron="*/30 * * * *", zone="Europe/Berlin")
    asked = due(schedule, next_due=_utc("2024-10-26 12:00"), now=_utc("2024-10-27 01:10"), missed=Missed.ONCE, made=0)
    assert asked.runs == [_utc("2024-10-27 00:30")], "the latest on the clock, not 02:00 which it shows again"


def test_times_are_strictly_after_the_moment_that_is_asked_for() -> None:
    schedule = Schedule(cron="*/5 * * * *")
    noon = _utc("2024-05-01 12:00")
    for after in (noon, noon + timedelta.resolution, noon + 299 * SECOND, noon + 5 * MINUTE - timedelta.resolution):
        assert next(occurrences(schedule, after=after)) == noon + 5 * MINUTE
    assert next(occurrences(schedule, after=noon - timedelta.resolution)) == noon


def test_nothing_comes_after_the_end_and_what_comes_at_the_end_does() -> None:
    schedule = Schedule(cron="0 * * * *", ends_at=_utc("2024-05-01 02:00"), count=1)
    found = list(occurrences(schedule, after=_utc("2024-05-01 00:00")))
    assert found == [_utc("2024-05-01 01:00"), _utc("2024-05-01 02:00")], "count is not looked at"
    schedule = schedule._replace(ends_at=_utc("2024-05-01 01:59:59"))
    assert list(occurrences(schedule, after=_utc("2024-05-01 00:00"))) == [_utc("2024-05-01 01:00")]


def test_one_time_comes_once() -> None:
    at = _utc("2024-05-01 12:00:30.5")
    assert list(occurrences(Schedule(at=at), after=at - timedelta.resolution)) == [at]
    assert list(occurrences(Schedule(at=at), after=at)) == []
    assert list(occurrences(Schedule(at=at, ends_at=at), after=at - DAY)) == [at]
    assert list(occurrences(Schedule(at=at, ends_at=at - SECOND), after=at - DAY)) == []


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Pacific/Auckland"])
@pytest.mark.parametrize(("cron", "after"), [("0 0 29 2 *", "9990-01-01"), ("0 * * * *", "9999-12-31 20:30")])
def test_times_end_with_the_calendar(cron: str, after: str, zone: str) -> None:
    assert len(list(occurrences(Schedule(cron=cron, zone=zone), after=_utc(after)))) < 5


def test_an_expression_that_never_comes_ends_at_once() -> None:
    assert list(occurrences(Schedule(cron="* * */20 * 1L"), after=_utc("2024-05-01"))) == []


def test_the_rarest_day_comes_after_forty_years() -> None:
    assert _some("0 0 * 2 MON#5", "UTC", "2072-03-01", many=1) == ["2112-02-29 00:00"]


# Due runs

HOURLY = Schedule(cron="0 * * * *")
ONE = _utc("2024-05-01 01:00")


@pytest.mark.parametrize("missed", Missed)
def test_before_its_time_nothing_has_come(missed: Missed) -> None:
    for schedule in (HOURLY, Schedule(at=ONE)):
        asked = due(schedule, next_due=ONE, now=ONE - timedelta.resolution, missed=missed, made=0)
        assert asked == Due([], ONE, 0)


@pytest.mark.parametrize("missed", Missed)
def test_a_run_in_time_runs_whatever_is_done_about_missed_ones(missed: Missed) -> None:
    for now in (ONE, ONE + GRACE):
        assert due(HOURLY, next_due=ONE, now=now, missed=missed, made=0) == Due([ONE], ONE + HOUR, 0)
        assert due(Schedule(at=ONE), next_due=ONE, now=now, missed=missed, made=0) == Due([ONE], None, 0)


@pytest.mark.parametrize(
    ("missed", "late", "expected"),
    [
        (Missed.ALL, 59 * MINUTE, Due([ONE, ONE + HOUR, ONE + 2 * HOUR], ONE + 3 * HOUR, 0)),
        (Missed.ONCE, 59 * MINUTE, Due([ONE + 2 * HOUR], ONE + 3 * HOUR, 2)),
        (Missed.SKIP, timedelta(0), Due([ONE + 2 * HOUR], ONE + 3 * HOUR, 2)),
        (Missed.SKIP, GRACE, Due([ONE + 2 * HOUR], ONE + 3 * HOUR, 2)),
        (Missed.SKIP, GRACE + timedelta.resolution, Due([], ONE + 3 * HOUR, 3)),
    ],
)
def test_missed_runs_are_made_up_for_as_asked(missed: Missed, late: timedelta, expected: Due) -> None:
    assert due(HOURLY, next_due=ONE, now=ONE + 2 * HOUR + late, missed=missed, made=0) == expected


def test_one_time_that_is_late_runs_all_the_same_unless_it_is_to_be_skipped() -> None:
    schedule, now = Schedule(at=ONE), ONE + 400 * DAY
    assert due(schedule, next_due=ONE, now=now, missed=Missed.ALL, made=0) == Due([ONE], None, 0)
    assert due(schedule, next_due=ONE, now=now, missed=Missed.ONCE, made=0) == Due([ONE], None, 0)
    assert due(schedule, next_due=ONE, now=now, missed=Missed.SKIP, made=0) == Due([], None, 1)


def test_no_more_runs_than_the_count_are_given() -> None:
    three, now = HOURLY._replace(count=3), ONE + 9 * HOUR
    assert due(three, next_due=ONE, now=now, missed=Missed.ALL, made=1) == Due([ONE, ONE + HOUR], None, 0)
    assert due(three, next_due=ONE, now=now, missed=Missed.ONCE, made=2) == Due([now], None, 9)
    assert due(three, next_due=ONE, now=now, missed=Missed.ONCE, made=1) == Due([now], now + HOUR, 9)
    for missed in Missed:
        assert due(three, next_due=ONE, now=now, missed=missed, made=3) == Due([], None, 0)


def test_skipped_runs_do_not_count() -> None:
    asked = due(HOURLY._replace(count=1), next_due=ONE, now=ONE + 150 * MINUTE, missed=Missed.SKIP, made=0)
    assert asked == Due([], ONE + 3 * HOUR, 3)


@pytest.mark.parametrize("missed", Missed)
def test_a_schedule_that_has_ended_has_nothing_next(missed: Missed) -> None:
    ending = HOURLY._replace(ends_at=ONE)
    assert due(ending, next_due=ONE, now=ONE, missed=missed, made=0) == Due([ONE], None, 0)
    assert due(ending, next_due=ONE + HOUR, now=ONE + DAY, missed=missed, made=0) == Due([], None, 0)


def test_the_latest_is_not_looked_for_after_the_end() -> None:
    ending = HOURLY._replace(ends_at=ONE + 90 * MINUTE)
    assert due(ending, next_due=ONE, now=ONE + DAY, missed=Missed.ONCE, made=0) == Due([ONE + HOUR], None, 1)
    assert due(ending, next_due=ONE, now=ONE + DAY, missed=Missed.SKIP, made=0) == Due([], None, 2)


def test_a_moment_that_the_schedule_does_not_name_never_runs() -> None:
    for missed in Missed:
        asked = due(HOURLY, next_due=ONE + MINUTE, now=ONE + 2 * MINUTE, missed=missed, made=0)
        assert asked == Due([], ONE + HOUR, 0)


def test_one_call_gives_so_many_runs_and_says_where_to_go_on() -> None:
    schedule, now, given = Schedule(cron="* * * * *"), ONE + 249 * MINUTE, []
    at: datetime | None = ONE
    while at is not None and at <= now:
        asked = due(schedule, next_due=at, now=now, missed=Missed.ALL, made=len(given))
        assert len(asked.runs) == min(MOST, 250 - len(given))
        given, at = given + asked.runs, asked.next_due
    assert given == [ONE + minutes * MINUTE for minutes in range(250)] and at == now + MINUTE


def test_a_call_that_gives_the_most_it_may_and_ends_the_schedule_says_so() -> None:
    schedule = Schedule(cron="* * * * *", count=MOST)
    assert due(schedule, next_due=ONE, now=ONE + DAY, missed=Missed.ALL, made=0).next_due is None


@pytest.mark.parametrize("missed", [Missed.ONCE, Missed.SKIP])
def test_ten_years_of_downtime_are_not_walked_through(missed: Missed, monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for = []
    wall = ZoneInfo.fromutc

    class Counting(ZoneInfo):
        def fromutc(self, moment: datetime) -> datetime:
            asked_for.append(moment)
            return wall(self, moment)

    monkeypatch.setattr("core.funding.schedule.ZoneInfo", Counting)
    schedule, now = Schedule(cron="* * * * *", zone="Europe/Berlin"), _utc("2034-05-01 01:00:30")
    assert due(schedule, next_due=ONE, now=now, missed=missed, made=0) == Due(
        [now - 30 * SECOND], now + 30 * SECOND, MOST_SKIPPED
    )
    assert len(asked_for) < 2 * MOST_SKIPPED


def test_skipped_ones_are_counted_so_far_and_no_further() -> None:
    schedule, now = Schedule(cron="* * * * *", ends_at=ONE + DAY), ONE + 2 * DAY
    assert due(schedule, next_due=ONE, now=now, missed=Missed.SKIP, made=0) == Due([], None, MOST_SKIPPED)


# The plain enumeration

_NASTY = (
    *("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "America/Sao_Paulo"),
    *("Africa/Cairo", "Asia/Beirut", "America/St_Johns", "Asia/Kathmandu", "Africa/Casablanca", "Antarctica/Troll"),
    *("Antarctica/Casey", "Asia/Tehran", "Asia/Gaza", "America/Havana", "Asia/Pyongyang", "America/Caracas"),
    *("Pacific/Chatham", "Pacific/Kwajalein", "Pacific/Kiritimati", "Asia/Amman", "Atlantic/Azores", "Europe/Dublin"),
)
_LIMITS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_NAMES = {
    3: ["", *("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")],
    4: ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
}


def _values(text: str, position: int) -> set[int]:
    low, high = _LIMITS[position]
    found: set[int] = set()
    for term in text.upper().split(","):
        span, _, step = term.partition("/")
        first, _, last = ("*", "", "") if span == "*" else span.partition("-")
        start, end = (low, high) if span == "*" else (_value(first, position), _value(last or first, position))
        found.update(range(start, (high if step and not last else end) + 1, int(step or 1)))
    return {value % 7 for value in found} if position == 4 else found


def _value(text: str, position: int) -> int:
    return int(text) if text.isdigit() else _NAMES[position].index(text)


def _enumerated(cron: str, zone: str, *, after: datetime, until: datetime) -> list[datetime]:
    """Every minute after a moment at which the clock on the wall first shows or passes a time of the expression."""
    fields = cron.split()
    minutes, hours, days, months, weekdays = (_values(text, position) for position, text in enumerate(fields))
    both = fields[2].startswith("*") or fields[4].startswith("*")

    @cache
    def on(day: date) -> bool:
        of_month, of_week = day.day in days, day.isoweekday() % 7 in weekdays
        return day.month in months and ((of_month and of_week) if both else (of_month or of_week))

    clock = ZoneInfo(zone)
    # A day earlier, to know how far the clock has been by then.
    moment = after.replace(second=0, microsecond=0) - DAY
    furthest = moment.astimezone(clock).replace(tzinfo=None)
    found = []
    while (moment := moment + MINUTE) <= until:
        shown = moment.astimezone(clock).replace(tzinfo=None)
        comes = False
        while furthest < shown:
            furthest += MINUTE
            comes |= furthest.minute in minutes and furthest.hour in hours and on(furthest.date())
        if comes and moment > after:
            found.append(moment)
    return found


@cache
def _changes(zone: str, year: int) -> list[datetime]:
    """Midnights of UTC before the clock changes in a year."""
    days = [datetime(year, 1, 1, tzinfo=UTC) + number * DAY for number in range(366)]
    offsets = [day.astimezone(ZoneInfo(zone)).utcoffset() for day in days]
    return [day for day, before, after in zip(days, offsets, offsets[1:], strict=False) if before != after]


@st.composite
def _terms(draw: st.DrawFn, position: int, near: list[int]) -> str:
    low, high = _LIMITS[position]

    def written(value: int) -> str:
        names = _NAMES.get(position, [])
        name = names[value] if value < len(names) and draw(st.booleans()) else str(value)
        return name.lower() if draw(st.booleans()) else name

    one = st.one_of(st.integers(low, high), st.sampled_from(near))
    step = st.one_of(st.just(""), st.integers(1, high + 2).map(lambda number: f"/{number}"))
    kind = draw(st.sampled_from(["star", "one", "range"]))
    if kind == "star":
        return "*" + draw(step)
    if kind == "one":
        return written(draw(one)) + draw(step)
    start, end = sorted((draw(one), draw(one)))
    # A range of one value with a step is that one value to cron, and also every further one to cronsim.
    return f"{written(start)}-{written(end)}" + (draw(step) if start < end else "")


@st.composite
def _expressions(draw: st.DrawFn, start: datetime) -> str:
    """Five fields, of which the last three often match in the days after a start, so that something happens."""
    days = [(start + number * DAY).date() for number in range(4)]
    nearby = (
        [0, 1, 29, 30, 59],
        [0, 1, 2, 3, 23],
        [day.day for day in days],
        [day.month for day in days],
        [day.isoweekday() % 7 for day in days],
    )
    fields = []
    for position, near in enumerate(nearby):
        if position >= 2 and draw(st.integers(0, 2)):
            fields.append("*")
        else:
            fields.append(",".join(draw(st.lists(_terms(position, near), min_size=1, max_size=3))))
    return " ".join(fields)


@st.composite
def _cases(draw: st.DrawFn) -> tuple[Schedule, datetime, list[datetime]]:
    """A schedule without an end, a moment, and the moments after it at which somebody asks what is due."""
    zone = draw(st.one_of(st.sampled_from(_NASTY), st.sampled_from(sorted(available_timezones() - {"localtime"}))))
    year = draw(st.integers(1990, 2037))
    days = [datetime(year, 1, 1, tzinfo=UTC) + draw(st.integers(0, 364)) * DAY]
    day = draw(st.sampled_from(_changes(zone, year) * 9 + days))
    after = (
        day
        + draw(st.integers(-24 * 3600, 48 * 3600)) * SECOND
        + draw(st.sampled_from([0, 1, 500_000])) * timedelta.resolution
    )
    gaps = st.one_of(
        st.integers(1, 90).map(lambda number: number * SECOND),
        st.integers(1, 90).map(lambda number: number * MINUTE),
        st.integers(1, 30).map(lambda number: number * HOUR),
        st.floats(0, 1, exclude_max=True).map(lambda part: part * DAY),
    )
    asked_at = accumulate(draw(st.lists(gaps, min_size=1, max_size=12)), initial=after)
    asked_at = takewhile(lambda moment: moment <= after + 3 * DAY, asked_at)
    return Schedule(cron=draw(_expressions(after), label="cron"), zone=zone), after, list(asked_at)


def _asked(schedule: Schedule, next_due: datetime | None, now: datetime, missed: Missed, made: int) -> Due:
    """Return all that is due by now, over as many calls as that takes."""
    runs, skipped = [], 0
    while next_due is not None:
        asked = due(schedule, next_due=next_due, now=now, missed=missed, made=made + len(runs))
        assert len(asked.runs) <= MOST
        runs, next_due, skipped = runs + asked.runs, asked.next_due, skipped + asked.skipped
        if len(asked.runs) < MOST:
            break
    return Due(runs, next_due, skipped)


@given(case=_cases(), missed=st.sampled_from(Missed), data=st.data())
def test_every_run_is_that_of_the_plain_enumeration(
    case: tuple[Schedule, datetime, list[datetime]], missed: Missed, data: st.DataObject
) -> None:
    schedule, after, asked_at = case
    assert schedule.cron
    until = asked_at[-1] + HOUR
    every = _enumerated(schedule.cron, schedule.zone, after=after, until=until)
    ends_at = data.draw(st.one_of(st.none(), st.sampled_from([*every, *asked_at])), label="ends_at")
    schedule = schedule._replace(
        ends_at=ends_at and ends_at + data.draw(st.sampled_from([-1, 0, 1])) * timedelta.resolution,
        count=data.draw(st.one_of(st.none(), st.integers(1, 5), st.integers(6, 150)), label="count"),
    )
    if schedule.ends_at:
        every = [time for time in every if time <= schedule.ends_at]
    assert list(takewhile(lambda time: time <= until, occurrences(schedule, after=after))) == every

    made: list[datetime] = []
    next_due = next(occurrences(schedule, after=after), None)
    dealt_with = 0
    for now in asked_at:
        runs, next_due, skipped = _asked(schedule, next_due, now, missed, len(made))
        came = every[dealt_with : bisect_right(every, now)]
        finished = schedule.count is not None and len(made) >= schedule.count
        dealt_with += len(came)
        if finished:
            expected = []
        elif missed is Missed.ALL:
            expected = came if schedule.count is None else came[: schedule.count - len(made)]
        elif missed is Missed.ONCE:
            expected = came[-1:]
        else:
            expected = [time for time in came[-1:] if now - time <= GRACE]
        assert runs == expected
        assert skipped == (0 if finished or missed is Missed.ALL else min(len(came) - len(runs), MOST_SKIPPED))
        made += runs
        if schedule.count is not None and len(made) >= schedule.count:
            assert next_due is None
        elif dealt_with < len(every):
            assert next_due == every[dealt_with]
        else:
            assert next_due is None or next_due > until
    assert len(set(made)) == len(made) and made == sorted(made)
    assert schedule.count is None or len(made) <= schedule.count
