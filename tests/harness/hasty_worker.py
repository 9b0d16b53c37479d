"""A worker that finds its children frozen after five looks, for tests that cannot wait for long."""

from worker import children
from worker.app import app

__all__ = ["app"]

children.FROZEN_LOOKS = 5
