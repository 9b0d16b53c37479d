"""A worker that never finds its children frozen, for a test that freezes them for as long as a busy machine takes."""

from worker import children
from worker.app import app

__all__ = ["app"]

children.FROZEN_LOOKS = 1_000_000
