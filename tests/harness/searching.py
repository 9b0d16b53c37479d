"""How long Hypothesis searches: briefly and always the same in the suite, long and anew with ``--long``."""

import os

from hypothesis import HealthCheck, Phase, settings
from hypothesis.internal.conjecture import engine

LONG_EXAMPLES = 500


def load_profile(*, long: bool) -> None:
    """Set the defaults of every Hypothesis test. No clock decides one, for a busy machine is slow.

    ``PACIOLI_EXAMPLES`` is the number of examples for each test. ``--long`` sets it, if nobody else has.
    """
    if long:
        os.environ.setdefault("PACIOLI_EXAMPLES", str(LONG_EXAMPLES))
    # Hypothesis has no setting for this. A red test is of use within a minute, even if its example is not minimal.
    engine.MAX_SHRINKING_SECONDS = 300 if long else 20
    settings.register_profile(
        "pacioli",
        max_examples=_examples(100),
        deadline=None,
        derandomize=not is_fresh(),
        database=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("pacioli")


def is_fresh() -> bool:
    """Whether each run draws other examples than the one before."""
    return "PACIOLI_EXAMPLES" in os.environ


def search(short: int) -> settings:
    """Settings of a test that uses a database: ``short`` examples in the suite, as many as all others with ``--long``."""
    return settings(max_examples=_examples(short), suppress_health_check=list(HealthCheck))


def _examples(short: int) -> int:
    return int(os.environ.get("PACIOLI_EXAMPLES", short))
