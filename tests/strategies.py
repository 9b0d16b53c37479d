"""Operations over a few balances, with amounts so small that money is short about as often as it is there."""

from random import Random

from hypothesis import strategies as st

from core.model import Kind
from tests.oracle import Operation

Account = tuple[str, str]
"""Indicator and currency."""

ACCOUNTS: list[Account] = [
    *((name, "USD") for name in ("@World", "@A", "@B", "@C")),
    *((name, "EUR") for name in ("@World", "@A", "@B")),
]

_OVERDRAFTS: list[tuple[bool, int | None]] = [
    *[(False, None)] * 6,
    (True, None),
    (True, 0),
    (True, 3),
    (False, 0),
    (False, 4),
]
"""Flag and limit of whoever is not the world. Most ask for nothing that would help a source that is short."""

_PARTS = [0, 0, 1, 1, 2, 3, 5, 7]
"""What is committed of a hold; 0 is all that is left."""


def _pairs(accounts: list[Account]) -> list[tuple[Account, Account]]:
    """Source and destination. Some more money comes from the world than goes back."""
    pairs = [(one, two) for one in accounts for two in accounts if one != two and one[1] == two[1]]
    return pairs + [pair for pair in pairs if pair[0][0] == "@World"] * 2


def _move(kind: Kind, pair: tuple[Account, Account], amount: int, overdraft: tuple[bool, int | None]) -> Operation:
    return Operation(kind, *pair, amount, *((True, None) if pair[0][0] == "@World" else overdraft))


def moves() -> st.SearchStrategy[Operation]:
    """Transfers and holds."""
    kinds = st.sampled_from([Kind.TRANSFER, Kind.HOLD])
    return st.builds(_move, kinds, st.sampled_from(_pairs(ACCOUNTS)), st.integers(1, 6), st.sampled_from(_OVERDRAFTS))


def groups() -> st.SearchStrategy[tuple[Operation, ...]]:
    """Atomic groups, usually with several sources."""
    return st.lists(moves(), min_size=2, max_size=4).map(tuple)


def settlements(hold: st.SearchStrategy[int]) -> st.SearchStrategy[Operation]:
    """Commits and voids of one of these places: of all that is left, of a part, or of too much."""
    commits = st.builds(
        lambda place, amount: Operation(Kind.COMMIT_INFLIGHT, amount=amount, hold=place), hold, st.sampled_from(_PARTS)
    )
    return commits | hold.map(lambda place: Operation(Kind.VOID_INFLIGHT, hold=place))


_ANY_GROUP = st.one_of(
    st.tuples(moves()), st.tuples(moves()), groups(), st.tuples(settlements(st.integers(0, 20))), st.tuples(moves())
)


def histories(max_size: int = 25) -> st.SearchStrategy[list[tuple[Operation, ...]]]:
    """What is accepted, in order: single operations, and atomic groups as longer tuples."""
    return st.lists(_ANY_GROUP, min_size=1, max_size=max_size).map(_with_holds_that_are_there)


def _with_holds_that_are_there(drawn: list[tuple[Operation, ...]]) -> list[tuple[Operation, ...]]:
    """Let each settlement mean one of the holds before it. One without a hold before it is left out."""
    accepted: list[tuple[Operation, ...]] = []
    holds: list[int] = []
    places = 0
    for group in drawn:
        if group[0].hold is not None:
            if not holds:
                continue
            group = (group[0]._replace(hold=holds[group[0].hold % len(holds)]),)
        holds += [places + index for index, operation in enumerate(group) if operation.kind is Kind.HOLD]
        places += len(group)
        accepted.append(group)
    return accepted


def seeded_history(random: Random, accounts: list[Account], size: int) -> list[tuple[Operation, ...]]:
    """The same mix at the same odds, for runs that are too long for Hypothesis to draw."""
    accepted: list[tuple[Operation, ...]] = []
    holds: list[int] = []
    places = 0
    pairs = _pairs(accounts)

    def move() -> Operation:
        kind = random.choice([Kind.TRANSFER, Kind.TRANSFER, Kind.HOLD])
        return _move(kind, random.choice(pairs), random.randint(1, 6), random.choice(_OVERDRAFTS))

    while places < size:
        chosen = random.random()
        if chosen < 0.3 and holds:
            hold = random.choice(holds[-20:])
            commit = random.random() < 0.75
            group: tuple[Operation, ...] = (
                Operation(Kind.COMMIT_INFLIGHT, amount=random.choice(_PARTS), hold=hold)
                if commit
                else Operation(Kind.VOID_INFLIGHT, hold=hold),
            )
        elif chosen < 0.38:
            group = tuple(move() for _ in range(random.randint(2, 4)))
        else:
            group = (move(),)
        holds += [places + index for index, operation in enumerate(group) if operation.kind is Kind.HOLD]
        places += len(group)
        accepted.append(group)
    return accepted
