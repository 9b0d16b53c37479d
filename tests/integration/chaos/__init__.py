"""Outages of a real Postgres, behind a proxy of the tests."""
