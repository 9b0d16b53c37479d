"""Health about the notary: nothing of a ledger that never had one, and the age of the newest signature otherwise."""

from datetime import UTC, datetime
from typing import Any

from core.upkeep.heartbeats import Heartbeat, State
from core.upkeep.probes import Sealed
from web.probing import facts
from web.probing.facts import Facts

SEALED = Sealed(number=3, at=datetime(2026, 1, 2, tzinfo=UTC), age_s=75.0, last_seq=9, unsealed=0, unsealed_s=0.0)


def told(sealed: Sealed | None, *beats: Heartbeat) -> list[str]:
    given: dict[str, Any] = {"heartbeats": list(beats), "ticks": [], "oldest_age_s": None, "verified": None}
    return [each.what for each in facts._notary(Facts(**given, sealed=sealed))]


def beat(age_s: float, problem: str | None = None) -> Heartbeat:
    return Heartbeat("notary@a:1", "notary", "a", age_s, 0.0, State(pid=1, up_s=1.0, problem=problem))


def test_a_ledger_that_never_had_a_notary_misses_none() -> None:
    assert told(None) == []


def test_a_notary_that_lives_and_has_nothing_to_sign_is_no_trouble() -> None:
    assert told(SEALED, beat(2.0)) == []


def test_a_dead_notary_is_told_with_the_age_of_the_newest_signature() -> None:
    for beats in ([], [beat(60.0)]):
        (what,) = told(SEALED._replace(unsealed=4), *beats)
        assert "the newest signature is 75 s old, and 4 rows after it are not signed" in what
    (what,) = told(None, beat(60.0))
    assert "there is no signature" in what


def test_a_notary_that_signs_nothing_more_is_told_with_its_reason() -> None:
    (what,) = told(SEALED, beat(2.0, "row 6 of the log is not right; nothing more is signed"))
    assert "row 6 of the log" in what


def test_a_row_that_is_not_signed_in_time_is_told() -> None:
    late = SEALED._replace(unsealed=2, unsealed_s=61.0)
    (what,) = told(late, beat(2.0))
    assert "a row has not been signed for 61 s" in what
    assert told(late._replace(unsealed_s=20.0), beat(2.0)) == []
