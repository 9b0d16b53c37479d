"""Operations over a few balances, with amounts so small that money is short about as often as it is there."""

from collections.abc import Callable, Sequence
from random import Random

from hypothesis import strategies as st

from core.ledger.rules.model import Kind
from tests.oracle import Operation, Split

Account = tuple[str, str]
"""Indicator and currency."""

Group = tuple[Operation | Split, ...]
"""Operations that are accepted together: one transaction, or the members of an atomic group."""

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
"""Overdraft flag and limit of a source other than the world. Most help no source that is short."""

_PARTS = [0, 0, 1, 1, 2, 3, 5, 7]
"""The amount to commit of a hold, or to refund of a transfer. 0 means all that is left."""

_KINDS = [Kind.TRANSFER, Kind.HOLD]


def _pairs(accounts: list[Account]) -> list[tuple[Account, Account]]:
    """Source and destination. Some more money comes from the world than goes back."""
    pairs = [(one, two) for one in accounts for two in accounts if one != two and one[1] == two[1]]
    return pairs + [pair for pair in pairs if pair[0][0] == "@World"] * 2


def _move(kind: Kind, pair: tuple[Account, Account], amount: int, overdraft: tuple[bool, int | None]) -> Operation:
    return Operation(kind, *pair, amount, *((True, None) if pair[0][0] == "@World" else overdraft))


def moves() -> st.SearchStrategy[Operation]:
    """Transfers and holds."""
    kinds = st.sampled_from(_KINDS)
    return st.builds(_move, kinds, st.sampled_from(_pairs(ACCOUNTS)), st.integers(1, 6), st.sampled_from(_OVERDRAFTS))


def limits() -> st.SearchStrategy[tuple[Account, int | None, str | None]]:
    """A balance with its new floor and freeze. Most are no freeze, so that something still happens."""
    frozen = st.sampled_from([None, None, None, "debits", "all"])
    return st.tuples(st.sampled_from(ACCOUNTS), st.none() | st.integers(-6, 6), frozen)


def splits() -> st.SearchStrategy[Split]:
    """Transfers and holds of one or two sources and one to three destinations, which may name a balance twice."""
    return st.builds(
        _split,
        st.sampled_from(_KINDS),
        st.sampled_from(["USD", "EUR"]),
        st.permutations(range(4)),
        st.integers(1, 2),
        st.lists(st.integers(1, 4), min_size=2, max_size=4),
        st.integers(1, 3),
        st.sampled_from(_OVERDRAFTS),
        st.booleans(),
    )


def _split(
    kind: Kind,
    currency: str,
    order: Sequence[int],
    sources: int,
    amounts: Sequence[int],
    destinations: int,
    overdraft: tuple[bool, int | None],
    atomic: bool,
    accounts: Sequence[Account] = ACCOUNTS,
) -> Split:
    """Draw two sides of different balances, which cut ``amounts`` at different positions. A short list names one twice."""
    own = [account for account in accounts if account[1] == currency]
    own = [own[position] for position in order if position < len(own)]
    total = sum(amounts)
    paying, paid = own[: len(own) // 2], own[len(own) // 2 :]
    if paying[0][0] == "@World":
        overdraft = (True, None)
    return Split(
        kind,
        tuple((paying[i % len(paying)], amount) for i, amount in enumerate(_cut(total, amounts, sources))),
        tuple((paid[i % len(paid)], amount) for i, amount in enumerate(_cut(total, amounts[::-1], destinations))),
        *overdraft,
        atomic,
    )


def _cut(total: int, amounts: Sequence[int], parts: int) -> list[int]:
    """Keep the first amounts, and add up the rest in one."""
    first = list(amounts[: parts - 1])
    rest = total - sum(first)
    return [*first, rest] if rest else first


def groups() -> st.SearchStrategy[Group]:
    """Atomic groups, usually with several sources."""
    return st.lists(moves() | moves() | splits(), min_size=2, max_size=4).map(tuple)


def settlements(hold: st.SearchStrategy[int]) -> st.SearchStrategy[Operation]:
    """Commits and voids of a hold at one of these positions: of all that is left, a part, or too much."""
    commits = st.builds(
        lambda position, amount: Operation(Kind.COMMIT_INFLIGHT, amount=amount, hold=position),
        hold,
        st.sampled_from(_PARTS),
    )
    return commits | hold.map(lambda position: Operation(Kind.VOID_INFLIGHT, hold=position))


def refunds(what: st.SearchStrategy[int]) -> st.SearchStrategy[Operation]:
    """Refunds of an operation at one of these positions: of all that is left, a part, or too much."""
    return st.builds(
        lambda position, amount: Operation(Kind.REFUND, amount=amount, refund_of=position),
        what,
        st.sampled_from(_PARTS),
    )


_POSITIONS = st.integers(0, 20)

_ANY = moves() | moves() | splits() | settlements(_POSITIONS) | settlements(_POSITIONS) | refunds(_POSITIONS)


def histories(max_size: int = 25) -> st.SearchStrategy[list[Group]]:
    """Operations in the order of acceptance: single transactions, and atomic groups of any kinds as longer tuples.

    Settlements and refunds have numbers that ``resolve`` turns into positions.
    """
    any_group = st.tuples(_ANY) | st.tuples(_ANY) | st.lists(_ANY, min_size=2, max_size=4).map(tuple)
    return st.lists(any_group, min_size=1, max_size=max_size)


def resolve(group: Group, holds: Sequence[int], moved: Sequence[int]) -> Group:
    """Point each settlement at one of these holds, and each refund at one of these movements, or leave it out."""
    members: list[Operation | Split] = []
    for each in group:
        if isinstance(each, Operation) and each.hold is not None:
            if holds:
                members.append(each._replace(hold=holds[each.hold % len(holds)]))
        elif isinstance(each, Operation) and each.refund_of is not None:
            if moved:
                members.append(each._replace(refund_of=moved[each.refund_of % len(moved)]))
        else:
            members.append(each)
    return tuple(members)


def seeded_group(random: Random, accounts: list[Account]) -> Group:
    """Draw the same mix at about the same odds, for runs that are too long for Hypothesis. It must be resolved as well."""

    def move() -> Operation:
        kind = random.choice([Kind.TRANSFER, Kind.TRANSFER, Kind.HOLD])
        return _move(kind, random.choice(_pairs(accounts)), random.randint(1, 6), random.choice(_OVERDRAFTS))

    def split() -> Split:
        order = random.sample(range(len(accounts)), len(accounts))
        amounts = [random.randint(1, 4) for _ in range(random.randint(2, 4))]
        sources, destinations, overdraft = random.randint(1, 3), random.randint(1, 4), random.choice(_OVERDRAFTS)
        kind, atomic = random.choice(_KINDS), random.random() < 0.5
        return _split(kind, "USD", order, sources, amounts, destinations, overdraft, atomic, accounts)

    def settle() -> Operation:
        if random.random() < 0.25:
            return Operation(Kind.VOID_INFLIGHT, hold=random.randrange(1000))
        return Operation(Kind.COMMIT_INFLIGHT, amount=random.choice(_PARTS), hold=random.randrange(1000))

    def refund() -> Operation:
        return Operation(Kind.REFUND, amount=random.choice(_PARTS), refund_of=random.randrange(1000))

    def one() -> Operation | Split:
        makers: list[Callable[[], Operation | Split]] = [move, split, settle, refund]
        return random.choices(makers, [10, 2, 6, 2])[0]()

    return tuple(one() for _ in range(random.randint(2, 4) if random.random() < 0.12 else 1))
