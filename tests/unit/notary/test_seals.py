"""Seals: what is signed, what each says of the one before, and how a key is replaced."""

from typing import Any

from msgspec.structs import replace

from core.notary import published
from core.notary.seals import FORM, Keypair, Line, Seal, Statement, is_signed, is_signed_text, keypair, read, sign

OURS, NEXT, OTHER = keypair(bytes(32)), keypair(b"\1" * 32), keypair(b"\2" * 32)


def statement(**fields: Any) -> Statement:
    given: dict[str, Any] = {
        "form": FORM,
        "ledger": "a ledger",
        "number": 1,
        "before": "",
        "key": OURS.public,
        "at": "2026-01-02T03:04:05.000006Z",
        "first_seq": 1,
        "last_seq": 3,
        "digest": "ab" * 32,
        "root": "cd" * 32,
        "versions": {2: 3},
        "queues": {4: (3, "ef" * 32)},
        "decided": 1,
        "decided_root": "01" * 32,
    }
    return Statement(**given | fields)


def after(seal: Seal, key: Keypair = OURS, **fields: Any) -> Seal:
    last = read(seal)
    assert last is not None
    given = {"number": last.number + 1, "before": seal.hash, "first_seq": last.last_seq + 1, "key": key.public}
    return sign(statement(**given | {"last_seq": last.last_seq + 1} | fields), key)


def wrong(*seals: Seal, pinned: tuple[str, ...] = ()) -> list[str]:
    line, found = Line(pinned), []
    for seal in seals:
        text = read(seal)
        found += [each.what for each in line.follow(text.number if text is not None else 9, seal)[1]]
    return found


FIRST = sign(statement(), OURS)


def test_a_seal_is_checked_with_the_public_key_alone() -> None:
    assert read(FIRST) == statement()
    assert is_signed(FIRST, OURS.public)
    assert not is_signed(FIRST, OTHER.public)
    assert not is_signed(replace(FIRST, statement=FIRST.statement.replace("ab", "ba", 1)), OURS.public)
    assert not is_signed(replace(FIRST, signature="no"), OURS.public)


def test_seals_that_follow_each_other_are_right() -> None:
    second = after(FIRST)
    assert wrong(FIRST, second, after(second)) == []


def test_each_way_of_forging_a_line_of_seals_is_named() -> None:
    second, third = after(FIRST), after(after(FIRST))
    assert wrong(FIRST, third) == ["row"]
    assert wrong(FIRST, sign(statement(number=2, before="", first_seq=4, last_seq=4), OURS)) == ["before"]
    assert wrong(FIRST, after(FIRST, first_seq=5)) == ["first_seq"]
    assert wrong(FIRST, after(FIRST, OTHER)) == ["key"]
    forged = read(second)
    assert forged is not None
    assert wrong(FIRST, sign(forged, OTHER)) == ["signature"]
    assert wrong(Seal("{}", "")) == ["statement"]
    assert wrong(sign(statement(before="ab"), OURS)) == ["before"]


def test_a_key_is_replaced_by_a_seal_of_the_old_one() -> None:
    handing_over = after(FIRST, next_key=NEXT.public)
    assert wrong(FIRST, handing_over, after(handing_over, NEXT)) == []
    assert wrong(FIRST, handing_over, after(handing_over)) == ["key"]
    assert wrong(FIRST, after(FIRST, NEXT)) == ["key"]


def test_a_pinned_key_is_found_before_and_after_it_was_replaced() -> None:
    handing_over = after(FIRST, next_key=NEXT.public)
    seals = FIRST, handing_over, after(handing_over, NEXT)
    for key, is_pinned in ((OURS, True), (NEXT, True), (OTHER, False)):
        line = Line([key.public])
        for number, seal in enumerate(seals, 1):
            line.follow(number, seal)
        assert line.is_pinned == is_pinned


def test_what_was_published_is_read_again() -> None:
    lines = [
        FIRST.line,
        "",
        f"Jan  2 03:04:05 host pacioli-notary: {published.brief_of(FIRST)}",
        '{"timestamp_of": "x"}',
    ]
    whole, brief = published.read_lines(lines)
    assert (whole.number, whole.hash, whole.seal) == (1, FIRST.hash, FIRST)
    assert (brief.number, brief.hash, brief.seal) == (1, FIRST.hash, None)


def test_seals_that_were_checked_are_looked_back_at_without_their_signatures() -> None:
    first = sign(statement(at="2026-02-03T04:05:06.000007Z"), OURS)
    second = after(first, at="2026-02-03T04:05:07.000008Z")
    counts = []
    for _ in range(2):
        assert wrong(first, second) == []
        counts.append(is_signed_text.cache_info().misses)
    assert counts[0] == counts[1]
    assert wrong(first, Seal(second.statement, first.signature)) != []
