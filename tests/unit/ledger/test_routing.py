"""Balance to queue: the same in every process and for ever, and within the number of queues."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import core
from core.base.ids import new_id
from core.ledger.rules.routing import MAX_QUEUES, queue_of, route_of

KNOWN = "bln_0190c1a0-0000-7000-8000-000000000001"


def test_the_route_of_a_balance_never_changes() -> None:
    assert route_of("123456789") == 0xCBF43926  # The check value of CRC-32 in every catalogue.
    assert route_of(KNOWN) == 1692814789


@pytest.mark.parametrize("seed", ["0", "1"])
def test_the_route_is_the_same_in_a_process_with_another_hash_seed(seed: str) -> None:
    code = f"from core.ledger.rules.routing import route_of; print(route_of({KNOWN!r}))"
    env = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(core.__file__).parents[1])}
    printed = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert int(printed.stdout) == route_of(KNOWN)


@pytest.mark.parametrize("queues", [1, 2, 3, 8, MAX_QUEUES])
def test_every_queue_exists_and_gets_its_share(queues: int) -> None:
    balances = [f"bln_{number}" for number in range(200 * queues)]
    shares = Counter(queue_of(route_of(balance), queues) for balance in balances)
    assert shares.keys() == set(range(queues))
    assert min(shares.values()) > 100


def test_new_balances_do_not_gather_in_one_queue() -> None:
    assert len({queue_of(route_of(new_id("bln_")), 8) for _ in range(500)}) == 8
