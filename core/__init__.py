"""The ledger itself. Knows nothing of HTTP, Celery or the environment."""
