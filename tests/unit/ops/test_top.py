"""The page of ``pacioli top`` fits its terminal, and shows what matters first."""

import io
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import click
import pytest
from msgspec import UNSET
from msgspec.structs import replace
from pacioli_client.answers.funding import Run
from pacioli_client.answers.service import (
    Checks,
    Health,
    LastSeal,
    LastVerification,
    PartChild,
    Parts,
    Problem,
    Process,
    Queue,
    TickDone,
)
from rich.console import Console

from ops.cli import top
from ops.cli.service import Where
from ops.cli.show.top import Page, Seen

AT = datetime(2026, 5, 17, 12, 0, tzinfo=UTC)


def process(part: str, host: str, **fields: Any) -> Process:
    values: dict[str, Any] = {"heard_s": Decimal("0.4"), "clock_off_s": Decimal("0.001"), "up_s": Decimal(90)}
    values |= {"consuming": True, "standing_in": False, "children": [], **fields}
    return Process(name=f"{part}@{host}:1", part=part, host=host, **values)


def child(pid: int, task: str | None, *, answers: bool = True) -> PartChild:
    return PartChild(pid=pid, answers=answers, task=task, busy_s=Decimal("3.2") if task else Decimal(0), ended=7)


RUN = Run(
    run_id="run_01a218a6-f597-71a2-bfd2-cc2a3338bbe8", job_id="job_1", status="RUNNING", due_at=AT, occurrence="1",
    retry_of="", retried_by="", rows_total=4_000, rows_accepted=3_000, amount_total=None, precise_amount_total=None,
    amount_accepted=Decimal(0), precise_amount_accepted=0, limit_reached=False, refusal=None, created_at=AT,
    started_at=AT, ended_at=None, rows_applied=1_000, rows_rejected=1_000, rate_per_s=Decimal(512),
)  # fmt: skip

BUSY = Seen(
    url="http://127.0.0.1:5001",
    health=Health(
        status="DEGRADED",
        reason="a clock is off",
        checks=Checks(database="UP"),
        problems=[
            Problem(part=f"part{number}", status="DEGRADED", since=AT, what="what is wrong", advice="what to do")
            for number in range(5)
        ],
    ),
    queues=[
        Queue(
            number=number, depth=number * 100, oldest_age_s=Decimal(number), cursor=9, last_drained_at=AT,
            rate_per_s=Decimal(5), decided=1_000_000 + number,
        )
        for number in range(64)
    ],
    parts=Parts(
        known=True,
        processes=[
            process("web", "a"),
            process("worker", "b", children=[child(1, "pacioli.drain"), child(2, None, answers=False)]),
            process("worker", "c", heard_s=Decimal(40), clock_off_s=Decimal(-61), consuming=False, standing_in=True),
            *(process("web", f"host-{number}") for number in range(30)),
        ],
        ticks=[
            TickDone(name="sweep", at=AT, ago_s=Decimal(75), by="beat@a"),
            TickDone(name="verify", at=None, ago_s=None, by=""),
        ],
        verification=LastVerification(kind="slice", at=AT, ago_s=Decimal(30), last_sequence=12_345, problem_count=2),
    ),
    runs=[RUN],
    accepted_per_s=1234.5,
    decided_per_s=1200.0,
    rates={63: 40.0},
)  # fmt: skip


def drawn(page: Page, width: int, height: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, height=height, markup=False, highlight=False).print(page)
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (120, 40), (140, 50), (60, 24)])
def test_a_page_fits_its_terminal(width: int, height: int) -> None:
    lines = drawn(Page(BUSY), width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for part in ("DEGRADED", "accepted 1,234/s", "decided 1,200/s", "part0", "what to do", "2,000 of 4,000", "6,300"):
        assert part in text
    assert "\x1b" not in text


def test_a_page_says_what_is_not_right() -> None:
    text = "\n".join(drawn(Page(BUSY, whole=True), 140, 24))
    for part in (
        "1 of 2 stuck, 1 of 2 busy, drain 3.2 s", "40 s  ", "-61.0 s", "no broker, ticks itself",
        "sweep 75 s ago", "verify never", "2 problems up to 12,345, 30 s ago", "the oldest 63 s", "part4", "host-29",
    ):  # fmt: skip
        assert part in text, part


def test_a_page_says_how_far_the_notary_has_signed_and_that_none_runs() -> None:
    seal = LastSeal(number=3, at=AT, ago_s=Decimal(9), last_sequence=12_000, unsealed=345)
    signed = "signed  up to 12,000, 9.0 s ago"
    for processes, sealed, told in (
        (BUSY.parts.processes, None, "signed  by nobody"),
        (BUSY.parts.processes, seal, f"{signed}, no notary runs"),
        ([process("notary", "a"), *BUSY.parts.processes], seal, signed),
    ):
        page = Page(replace(BUSY, parts=replace(BUSY.parts, processes=processes, seal=sealed)), whole=True)
        (line,) = (line for line in drawn(page, 140, 24) if "signed  " in line)
        assert line.endswith(told)


def test_a_service_that_is_away_is_said_over_what_was_seen_last() -> None:
    assert drawn(Page(None, trouble="cannot reach it \x1b[2J"), 80, 24) == [
        "cannot reach it \N{REPLACEMENT CHARACTER}[2J"
    ]
    lines = drawn(Page(BUSY, trouble="cannot reach it"), 80, 24)
    assert lines[0] == "cannot reach it"
    assert len(lines) <= 24


def test_a_ledger_at_rest_has_a_page() -> None:
    rest = replace(
        BUSY,
        health=Health(status="UP", checks=Checks(database="UP")),
        queues=[],
        parts=Parts(known=False, processes=[], ticks=[], verification=None),
        runs=[replace(RUN, rows_total=None, rows_applied=UNSET, rows_rejected=UNSET, rate_per_s=UNSET)],
        accepted_per_s=None,
        decided_per_s=None,
    )
    text = "\n".join(drawn(Page(rest), 80, 24))
    assert "accepted …  decided …  waiting 0" in text
    assert "cannot be read" in text


class Serving:
    """A client whose service decides 100 and accepts 150 in each second."""

    url = "http://127.0.0.1:5001"

    def __init__(self) -> None:
        self.seconds = 0

    def health(self) -> Health:
        return Health(status="UP", checks=Checks(database="UP"))

    def parts(self) -> Parts:
        return BUSY.parts

    def queues(self) -> list[Queue]:
        return [replace(BUSY.queues[3], depth=50 * self.seconds, decided=100 * self.seconds)]


def test_rates_are_those_of_the_last_seconds(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    client = Serving()
    watch = top.Watch(Where(None, None, tmp_path), clock=lambda: float(client.seconds))
    monkeypatch.setattr(watch, "_runs", lambda _: [])
    assert watch._look(client).decided_per_s is None  # type: ignore[arg-type]
    for client.seconds in range(1, 20):
        seen = watch._look(client)  # type: ignore[arg-type]
        assert (seen.accepted_per_s, seen.decided_per_s, seen.rates) == (150.0, 100.0, {3: 100.0})
    assert len(watch._before) <= top.OVER_S + 2


def test_no_service_is_one_sentence(tmp_path: Any) -> None:
    with pytest.raises(click.ClickException, match="no instance runs"):
        top.Watch(Where(None, None, tmp_path)).look()
