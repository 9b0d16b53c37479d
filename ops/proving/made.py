"""Makes what clients make one at a time, and names the reads of it: people, monitors, webhooks, keys and a funding job.

A ledger that is measured again has it already.
"""

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import quote

import click

Call = Callable[[str, str, Any], tuple[int, Any]]
"""A function that sends a method, a path and a body, and returns the status and the answer."""

Asked = Callable[[random.Random], str]
"""A function that makes a path, with places that it draws."""

OWNER, REFERENCE, URL = "bench", "bench-list", "https://bench.invalid/"
"""The owner of the keys, the reference of the funding job, and the URL that webhooks and hooks have."""

EACH = 20
"""So many of each are made."""

ROWS = 1_000
"""The number of rows of the funding job, at most."""


class Made(NamedTuple):
    """The IDs of what there is."""

    people: Sequence[str]
    monitors: Sequence[str]
    watched: Sequence[str]
    """The balances that have a monitor."""
    webhooks: Sequence[str]
    hooks: Sequence[str]
    job: str
    run: str


def make(call: Call, customers: Sequence[str]) -> Made:
    """Make what is not there yet. ``customers`` are balances.

    Raises:
        click.ClickException: the service refused it.
    """

    def each(path: str, id: str, bodies: Sequence[Any], query: str = "") -> Sequence[str]:
        found = _ok(call("GET", f"{path}{query}", None))
        for body in bodies[len(found) :]:
            found.append(_ok(call("POST", path, body)))
        return sorted(one[id] for one in found)

    people = each("/identities", "identity_id", [{"first_name": f"Ada {n}"} for n in range(EACH)])
    if not _ok(call("GET", f"/identities/{people[0]}/tokenized-fields", None))["tokenized_fields"]:
        _ok(call("POST", f"/identities/{people[0]}/tokenize/FirstName", None))
    condition = {"field": "balance", "operator": ">", "value": 10**15, "precision": 100}
    watched = customers[:EACH]
    monitors = [{"balance_id": balance, "condition": condition, "active": False} for balance in watched]
    ends = (datetime.now(UTC) + timedelta(days=365)).strftime("%Y-%m-%dT%H:%M:%SZ")
    key = {"owner": OWNER, "scopes": ["ledgers:read"], "expires_at": ends}
    each("/api-keys", "api_key_id", [{**key, "name": f"key {n}"} for n in range(EACH)], f"?owner={OWNER}")
    hook = {"url": URL, "type": "POST_TRANSACTION", "active": False}
    job = _job(call, customers)
    return Made(
        people,
        each("/balance-monitors", "monitor_id", monitors),
        watched,
        each("/webhooks", "webhook_id", [{"url": URL, "active": False}] * EACH),
        each("/hooks", "id", [hook] * EACH),
        job,
        _ok(call("GET", f"/funding-jobs/{job}/runs", None))[0]["run_id"],
    )


def _job(call: Call, customers: Sequence[str]) -> str:
    status, found = call("GET", f"/funding-jobs/reference/{REFERENCE}", None)
    if status == 404:
        recipients = [{"destination": customers[n % len(customers)], "precise_amount": 1} for n in range(ROWS)]
        money = {"source": "@FundingPool", "currency": "USD", "precision": 100}
        asked = {"name": "Bench", "reference": REFERENCE, "recipients": recipients, **money}
        status, found = call("POST", "/funding-jobs", {**asked, "allow_duplicates": True, "allow_overdraft": True})
    job_id: str = _ok((status, found))["job_id"]
    return job_id


def _ok(answer: tuple[int, Any]) -> Any:
    status, found = answer
    if status not in (200, 201, 202):
        raise click.ClickException(f"the service refused what is to be read: {status} {found}")
    return found


def asked(made: Made) -> dict[str, Asked]:
    """Return the reads of what was made, by name."""

    def some(path: str, among: Sequence[str] = ("",)) -> Asked:
        return lambda rng: path.replace("{}", quote(rng.choice(among), safe=""))

    job, run = f"/funding-jobs/{made.job}", f"/funding-jobs/{made.job}/runs/{made.run}"
    return {
        "identities": some("/identities?include_count=true"),
        "identity by id": some("/identities/{}", made.people),
        "tokenized fields of an identity": some("/identities/{}/tokenized-fields", made.people),
        "a detokenized field": some(f"/identities/{made.people[0]}/detokenize/FirstName"),
        "monitors": some("/balance-monitors"),
        "monitors of a balance": some("/balance-monitors/balances/{}", made.watched),
        "monitor by id": some("/balance-monitors/{}", made.monitors),
        "firings of a monitor": some("/balance-monitors/{}/events", made.monitors),
        "webhooks": some("/webhooks"),
        "webhook by id": some("/webhooks/{}", made.webhooks),
        "deliveries of a webhook": some("/webhooks/{}/deliveries", made.webhooks),
        "hooks": some("/hooks"),
        "hook by id": some("/hooks/{}", made.hooks),
        "keys": some(f"/api-keys?owner={OWNER}"),
        "funding jobs": some("/funding-jobs"),
        "funding job by id": some(job),
        "funding job by reference": some(f"/funding-jobs/reference/{REFERENCE}"),
        "runs of a funding job": some(f"{job}/runs"),
        "run of a funding job": some(run),
        "rows of a run": some(f"{run}/rows"),
        "transactions of a run": some(f"/transactions?parent_transaction={made.run}"),
    }
