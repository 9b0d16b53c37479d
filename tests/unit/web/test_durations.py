"""Durations as Go reads and prints them."""

import pytest

from web.http.durations import parse, text_of

S = 10**9


@pytest.mark.parametrize(
    ("text", "duration", "printed"),
    [
        ("24h", 86400 * S, "24h0m0s"),
        ("5m", 300 * S, "5m0s"),
        ("2m0s", 120 * S, "2m0s"),
        ("30s", 30 * S, "30s"),
        ("90s", 90 * S, "1m30s"),
        ("1h30m", 5400 * S, "1h30m0s"),
        ("1.5h", 5400 * S, "1h30m0s"),
        ("61.25s", 61 * S + S // 4, "1m1.25s"),
        (".5s", S // 2, "500ms"),
        ("1.s", S, "1s"),
        ("1500us", 1_500_000, "1.5ms"),
        ("7ns", 7, "7ns"),
        ("2µs", 2000, "2µs"),
        ("1s1ns", S + 1, "1.000000001s"),
        ("0", 0, "0s"),
        ("-1m", -60 * S, "-1m0s"),
        ("+1m", 60 * S, "1m0s"),
        ("9223372036854775807ns", 2**63 - 1, "2562047h47m16.854775807s"),
    ],
)
def test_a_duration_is_read_and_printed_as_go_does(text: str, duration: int, printed: str) -> None:
    assert parse(text) == duration
    assert text_of(duration) == printed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "5",
        "5x",
        "m",
        "-",
        ".",
        ".s",
        "5m x",
        " 5m",
        "5 m",
        "1e3s",
        "--5m",
        "NaN",
        "٥m",
        "9223372036854775808ns",
    ],
)
def test_what_is_no_duration_is_refused_in_gos_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"^time: invalid duration") as refused:
        parse(text)
    assert str(refused.value) == f'time: invalid duration "{text}"'
