"""The promises that hold whatever is killed: durable before answered, exactly once, one order.

Short here; ``pacioli torture --seconds 600`` is the long one.
"""

from pathlib import Path

from ops import torture
from ops.temporary import running


def test_nothing_acknowledged_is_lost_or_doubled_whatever_is_killed(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        result = torture.run(service, seconds=15, seed=7)
    assert result.wrong == []
    assert len({what.split()[0] for what in result.blows}) >= 3, result.blows
    assert result.acknowledged > 100
