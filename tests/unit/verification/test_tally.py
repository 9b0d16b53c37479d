"""A tally multiplies the states of balances, the same whether their numbers are small or beyond what it can shorten."""

import pickle
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.verification.history_store import Recorded
from core.verification.tally import PRIME, Salt, Sums, SumsByKey, Tally, new_salt

SALT = new_salt()
AT = datetime(2026, 1, 1, tzinfo=UTC)
SUMS = st.one_of(st.integers(-(10**6), 10**6), st.integers(-(2**102), 2**102), st.integers(-(10**40), 10**40))


def _by_states(recorded: Recorded, salt: Salt) -> tuple[int, int]:
    moved = recorded.amount if recorded.status == 1 else 0
    key, version, left = recorded.source or 0, recorded.source_version or 0, recorded.source_balance or 0
    to, to_version, to_left = (
        recorded.destination or 0,
        recorded.destination_version or 0,
        recorded.destination_balance or 0,
    )
    after = salt.state(key, version, left) * salt.state(to, to_version, to_left)
    before = salt.state(key, version - 1, left + moved) * salt.state(to, to_version - 1, to_left - moved)
    return after % PRIME, before % PRIME


@given(SUMS, SUMS, SUMS, st.integers(1, 3))
def test_a_step_is_from_one_state_to_the_next(amount: int, left: int, to_left: int, status: int) -> None:
    recorded = Recorded(9, status, abs(amount), 5, 7, left, 6, 8, to_left, None, None, AT, None)
    tally = Tally()
    tally.note(recorded, SALT)
    assert (tally.after, tally.before) == _by_states(recorded, SALT)


@pytest.mark.parametrize("key", [1, 2**63, None])
def test_sums_pass_from_one_process_to_another(key: int | None) -> None:
    sums = SumsByKey({key: Sums(10**40, -3, 2**64, 0, 7, 2**62), 5: Sums()})  # type: ignore[dict-item]
    found = pickle.loads(pickle.dumps(Tally(sums=sums, rejected=2)))
    assert (found.sums, found.rejected) == (sums, 2)
    assert all(type(one) is Sums for one in found.sums.values())
