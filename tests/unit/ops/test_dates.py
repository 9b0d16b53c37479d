"""The reader of dates: what people type is read as they mean it, or refused with what would be right."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import click
import pytest
from click.testing import CliRunner

from ops.cli.dates import Unread, When, read_when
from ops.cli.show.text import clock

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 12, 23, 22, 30, tzinfo=UTC)  # A Wednesday; 23:30 in Berlin.


def read(text: str) -> str:
    return read_when(text, now=NOW, zone=BERLIN).astimezone(BERLIN).strftime("%Y-%m-%d %H:%M:%S %z")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-12-24 08:00", "2026-12-24 08:00:00 +0100"),
        ("2026-12-24 8:00", "2026-12-24 08:00:00 +0100"),
        ("2026-12-24T08:00:30", "2026-12-24 08:00:30 +0100"),
        ("2026-12-24T08:00:00Z", "2026-12-24 09:00:00 +0100"),
        ("2026-12-24T08:00:00+01:00", "2026-12-24 08:00:00 +0100"),
        ("2026-12-24 08:00 UTC", "2026-12-24 09:00:00 +0100"),
        ("2026-12-24 08:00 America/New_York", "2026-12-24 14:00:00 +0100"),
        ("2026-12-24", "2026-12-24 00:00:00 +0100"),
        ("2026-07-01 8am", "2026-07-01 08:00:00 +0200"),
        ("today 17:30", "2026-12-23 17:30:00 +0100"),
        ("Tomorrow 8:00", "2026-12-24 08:00:00 +0100"),
        ("tomorrow at 8 pm", "2026-12-24 20:00:00 +0100"),
        ("tomorrow", "2026-12-24 00:00:00 +0100"),
        ("12am", None),
        ("tomorrow 12am", "2026-12-24 00:00:00 +0100"),
        ("tomorrow 12pm", "2026-12-24 12:00:00 +0100"),
        ("friday 9:00", "2026-12-25 09:00:00 +0100"),
        ("wednesday 9:00", "2026-12-30 09:00:00 +0100"),
        ("yesterday 9:00", "2026-12-22 09:00:00 +0100"),
        ("23:45", "2026-12-23 23:45:00 +0100"),
        ("now", "2026-12-23 23:30:00 +0100"),
        ("in 2 hours", "2026-12-24 01:30:00 +0100"),
        ("+90 min", "2026-12-24 01:00:00 +0100"),
        ("3 days ago", "2026-12-20 23:30:00 +0100"),
        ("2 hours", None),
        ("in 2 hours ago", None),
        ("tomorrow 8", None),
        ("tomorrow 25:00", None),
        ("tomorrow 13pm", None),
        ("2026-02-30 08:00", None),
        ("24.12.2026 08:00", None),
        ("12/24/2026", None),
        ("soon", None),
        ("", None),
        ("in 999999 weeks", None),
        ("9999-12-31 23:59:59", "9999-12-31 23:59:59 +0100"),
        ("0001-01-01 00:00", None),
        ("2026-12-24 08:00 Mars/Olympus", None),
        ("2026-03-29 02:30", None),
        ("2026-10-25 02:30", None),
    ],
)
def test_a_time_is_read_as_meant_or_refused(text: str, meant: str | None) -> None:
    if meant is not None:
        assert read(text) == meant
    else:
        with pytest.raises(Unread):
            read(text)


def test_a_refusal_says_what_would_be_right() -> None:
    for text, says in (
        ("24.12.2026", "is not a time: write one such as 2026-12-24 08:00"),
        ("tomorrow 8", "write 8:00, or 8am"),
        ("2026-03-29 02:30", "does not exist: the clocks are set forward then"),
        ("2026-10-25 02:30", "2026-10-25T00:30:00+00:00 or 2026-10-25T01:30:00+00:00"),
        ("2026-12-24 08:00 Mars/Olympus", "there is no time zone 'Mars/Olympus'"),
    ):
        with pytest.raises(Unread) as caught:
            read(text)
        assert says in str(caught.value)


def test_an_option_reads_a_time_in_the_zone_of_its_command() -> None:
    @click.command()
    @click.option("--timezone", is_eager=True)
    @click.option("--at", type=When(lambda: NOW))
    def command(timezone: str | None, at: datetime) -> None:
        click.echo(at.isoformat())

    given = ["--timezone", "Asia/Tokyo", "--at", "2026-12-24 08:00"]
    assert CliRunner().invoke(command, given).output == "2026-12-24T08:00:00+09:00\n"
    refused = CliRunner().invoke(command, ["--at", "soon"])
    assert refused.exit_code == 2, refused.exception
    assert "'soon' is not a time" in refused.output


def test_a_time_is_shown_back_with_its_zone() -> None:
    assert clock(datetime(2026, 12, 24, 7, tzinfo=UTC), BERLIN) == "Thu 2026-12-24 08:00 CET, 07:00 UTC"
    assert clock(datetime(2026, 12, 23, 23, 30, tzinfo=UTC), BERLIN) == "Thu 2026-12-24 00:30 CET, Wed 23:30 UTC"
    assert clock(NOW, UTC) == "Wed 2026-12-23 22:30 UTC"
    assert clock(NOW, ZoneInfo("America/Sao_Paulo")) == "Wed 2026-12-23 19:30 UTC-0300, 22:30 UTC"
