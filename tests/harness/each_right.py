"""A request for each right, which a key with the right may make, and a key with all other rights may not."""

from collections.abc import Callable
from typing import Any, NamedTuple

from werkzeug.test import TestResponse

from core.base.actors import Right
from tests.harness.api import ok
from tests.harness.key_ring import Holder, Keys, asked, later

APPROVE_ABOVE = 100
"""The service of the table lets a job above this sum wait for an approval."""


class World:
    """The things that requests are about. The master key makes what a request needs, anew for each."""

    def __init__(self, keys: Keys) -> None:
        self.keys, self.master = keys, keys.master
        self.ledger = self.made("POST /ledgers", name="Customers")["ledger_id"]
        self.master.api.done(source="@World", destination="@Till", precise_amount=100_000)
        self.master.api.done(source="@World", destination="@Shop")

    def made(self, route: str, **body: Any) -> dict[str, Any]:
        found: dict[str, Any] = ok(self.master.ask(route, json=body), 201)
        return found

    def paid(self, **fields: Any) -> str:
        id: str = self.master.api.done(source="@Till", destination="@Shop", **fields)["transaction_id"]
        return id

    def person(self) -> str:
        id: str = self.made("POST /identities", first_name="Ada")["identity_id"]
        return id

    def watched(self) -> dict[str, Any]:
        """The body of a monitor of a new balance."""
        balance = self.made("POST /balances", ledger_id=self.ledger, currency="USD")["balance_id"]
        return {"balance_id": balance, "condition": {"field": "balance", "operator": "<", "value": 5, "precision": 100}}

    def job(self, minor: int = 5) -> dict[str, Any]:
        """The body of a job."""
        money = {"source": "@Till", "currency": "USD", "precision": 100}
        return {
            "name": "Job",
            **money,
            "again": True,
            "recipients": [{"destination": "@Shop", "precise_amount": minor}],
        }


Ask = Callable[[World], tuple[str, dict[str, Any] | None]]


class Case(NamedTuple):
    """A request that needs a right."""

    right: Right
    shown: str
    """The request, as the book shows it."""
    ask: Ask
    """A function that makes the route and the body."""
    beside: tuple[str, ...] = ()
    """The rights that the request needs too."""
    instead: tuple[Right, ...] = ()
    """The rights that would do in its place."""

    def by(self, holder: Holder, world: World) -> TestResponse:
        route, body = self.ask(world)
        return holder.ask(route, **({} if body is None else {"json": body}))


def _post(world: World, **fields: Any) -> tuple[str, dict[str, Any] | None]:
    body = {"precise_amount": 7, "precision": 100, "currency": "USD", "description": "d", "reference": _reference()}
    return "POST /transactions", {**body, "source": "@Till", "destination": "@Shop", **fields}


_count = iter(range(10**9))


def _reference() -> str:
    return f"each-right-{next(_count)}"


def _hold(world: World, status: str) -> tuple[str, dict[str, Any] | None]:
    return f"PUT /transactions/inflight/{world.paid(inflight=True)}", {"status": status}


def _later(world: World) -> tuple[str, dict[str, Any] | None]:
    route, body = _post(world, scheduled_for=later(days=1))
    return f"DELETE /transactions/{ok(world.master.ask(route, json=body), 201)['transaction_id']}", None


def _approve(world: World) -> tuple[str, dict[str, Any] | None]:
    job = world.made("POST /funding-jobs", **world.job(minor=APPROVE_ABOVE * 100 + 1))["job_id"]
    digest = ok(world.master.ask(f"GET /funding-jobs/{job}"), 200)["approval"]["digest"]
    return f"POST /funding-jobs/{job}/approve", {"digest": digest}


def _run(world: World) -> tuple[str, dict[str, Any] | None]:
    return f"POST /funding-jobs/{world.made('POST /funding-jobs', **world.job())['job_id']}/run", None


def _tokenized(world: World) -> tuple[str, dict[str, Any] | None]:
    person = world.person()
    ok(world.master.ask(f"POST /identities/{person}/tokenize/FirstName"), 200)
    return f"POST /identities/{person}/detokenize", {"fields": ["FirstName"]}


def _get(path: str) -> Ask:
    return lambda _: (f"GET {path}", None)


_META = {"meta_data": {"a": 1}}

CASES: tuple[Case, ...] = (
    Case(Right.LEDGERS_READ, "GET /ledgers", _get("/ledgers")),
    Case(Right.LEDGERS_WRITE, "POST /ledgers", lambda _: ("POST /ledgers", {"name": "Shops"})),
    Case(Right.BALANCES_READ, "GET /balances", _get("/balances")),
    Case(
        Right.BALANCES_WRITE,
        "POST /balances",
        lambda world: ("POST /balances", {"ledger_id": world.ledger, "currency": "USD"}),
    ),
    Case(
        Right.BALANCES_CREATE_INDICATOR,
        "POST /transactions to a new @Name",
        lambda world: _post(world, destination=f"@{_reference()}"),
        beside=("transactions:post",),
    ),
    Case(Right.TRANSACTIONS_READ, "GET /transactions", _get("/transactions")),
    Case(
        Right.TRANSACTIONS_WRITE,
        "POST /{transaction_id}/metadata",
        lambda world: (f"POST /{world.paid()}/metadata", _META),
        instead=(Right.METADATA_WRITE,),
    ),
    Case(Right.TRANSACTIONS_POST, "POST /transactions", _post),
    Case(
        Right.TRANSACTIONS_POST_OVERDRAFT,
        "POST /transactions with allow_overdraft",
        lambda world: _post(world, allow_overdraft=True),
        beside=("transactions:post",),
    ),
    Case(
        Right.TRANSACTIONS_COMMIT,
        "PUT /transactions/inflight/{transaction_id} with commit",
        lambda world: _hold(world, "commit"),
    ),
    Case(
        Right.TRANSACTIONS_VOID,
        "PUT /transactions/inflight/{transaction_id} with void",
        lambda world: _hold(world, "void"),
    ),
    Case(
        Right.TRANSACTIONS_REFUND,
        "POST /refund-transaction/{transaction_id}",
        lambda world: (f"POST /refund-transaction/{world.paid()}", {}),
    ),
    Case(Right.TRANSACTIONS_CANCEL, "DELETE /transactions/{transaction_id}", _later),
    Case(Right.FUNDING_READ, "GET /funding-jobs", _get("/funding-jobs")),
    Case(Right.FUNDING_CREATE, "POST /funding-jobs", lambda world: ("POST /funding-jobs", world.job())),
    Case(Right.FUNDING_APPROVE, "POST /funding-jobs/{job_id}/approve", _approve),
    Case(Right.FUNDING_CONTROL, "POST /funding-jobs/{job_id}/run", _run),
    Case(Right.QUEUES_READ, "GET /queues", _get("/queues")),
    Case(Right.QUEUES_RECOVER, "POST /transactions/recover", lambda _: ("POST /transactions/recover", None)),
    Case(Right.EVENTS_READ, "GET /events", _get("/events")),
    Case(Right.WEBHOOKS_READ, "GET /webhooks", _get("/webhooks")),
    Case(
        Right.WEBHOOKS_WRITE,
        "POST /webhooks",
        lambda _: ("POST /webhooks", {"url": "https://hooks.invalid/ledger", "events": ["transaction.*"]}),
    ),
    Case(Right.BALANCE_MONITORS_READ, "GET /balance-monitors", _get("/balance-monitors")),
    Case(
        Right.BALANCE_MONITORS_WRITE,
        "POST /balance-monitors",
        lambda world: ("POST /balance-monitors", world.watched()),
    ),
    Case(
        Right.BALANCE_MONITORS_DELETE,
        "DELETE /balance-monitors/{monitor_id}",
        lambda world: (
            f"DELETE /balance-monitors/{world.made('POST /balance-monitors', **world.watched())['monitor_id']}",
            None,
        ),
    ),
    Case(Right.VERIFY_READ, "GET /verify", _get("/verify")),
    Case(Right.AUDIT_READ, "GET /audit", _get("/audit")),
    Case(Right.METRICS_READ, "GET /metrics", _get("/metrics")),
    Case(Right.API_KEYS_READ, "GET /api-keys", _get("/api-keys")),
    Case(Right.API_KEYS_WRITE, "POST /api-keys", lambda _: ("POST /api-keys", asked(["api-keys:write"]))),
    Case(
        Right.API_KEYS_DELETE,
        "DELETE /api-keys/{key_id}",
        lambda world: (f"DELETE /api-keys/{world.keys.make('ledgers:read').key_id}", None),
    ),
    Case(
        Right.METADATA_WRITE,
        "POST /{ledger_id}/metadata",
        lambda world: (f"POST /{world.ledger}/metadata", _META),
        instead=(Right.LEDGERS_WRITE,),
    ),
    Case(Right.IDENTITIES_READ, "GET /identities", _get("/identities")),
    Case(Right.IDENTITIES_WRITE, "POST /identities", lambda _: ("POST /identities", {"first_name": "Ada"})),
    Case(
        Right.IDENTITIES_DELETE,
        "DELETE /identities/{identity_id}",
        lambda world: (f"DELETE /identities/{world.person()}", None),
    ),
    Case(Right.IDENTITIES_DETOKENIZE, "POST /identities/{identity_id}/detokenize", _tokenized),
)
"""The cases. A right that is in none has no route yet: its name is Blnk's."""
