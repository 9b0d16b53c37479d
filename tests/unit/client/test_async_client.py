"""The asynchronous client: the same methods, one text of each; and what both wires do when the service asks to wait."""

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from pacioli_client import AsyncClient, Client, NewBalance, NewJob, NewTransaction, Recipient
from pacioli_client.calls import Resource, call, listing
from pacioli_client.errors import Conflict, NotApplied, RateLimited, Unavailable, Unreachable

from tests.unit.client.test_client import BUSY, LEDGER, URL, Service, answer

TRANSACTION: dict[str, Any] = {
    "precise_amount": 1, "amount": 0.01, "amount_string": "0.01", "precision": 100, "overdraft_limit": None,
    "transaction_id": "txn_1", "parent_transaction": "", "source": "bln_1", "destination": "bln_2", "reference": "r",
    "currency": "USD", "description": "", "status": "APPLIED", "hash": "", "allow_overdraft": False, "inflight": False,
    "skip_queue": False, "atomic": False, "sequence": 1, "timeline": [],
    **dict.fromkeys(
        ("created_at", "effective_date", "scheduled_for", "inflight_expiry_date", "inflight_commit_date"),
        "2026-01-01T00:00:00Z",
    ),
}  # fmt: skip
REJECTED = {
    **TRANSACTION,
    "status": "REJECTED",
    "rejection": {
        "reason": "INSUFFICIENT_FUNDS", "message": "short by 1", "available": 0, "requested": 1, "held": 0,
        "overdraft_limit": None, "short_by": 1,
    },
}  # fmt: skip


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses of both wires, which take no time."""
    made: list[float] = []

    async def pause(seconds: float) -> None:
        made.append(seconds)

    monkeypatch.setattr("pacioli_client.wire.sleep", made.append)
    monkeypatch.setattr("pacioli_client.wire.asyncio.sleep", pause)
    return made


def ask(service: Service, use: Callable[[AsyncClient], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with AsyncClient(URL, "secret", transport=httpx.MockTransport(service)) as client:
            return await use(client)

    return asyncio.run(main())


def test_every_method_serves_both_clients() -> None:
    client = Client(URL)
    resources = [client, *(value for value in vars(client).values() if isinstance(value, Resource))]
    for resource in resources:
        for kind in type(resource).__mro__:
            for name, member in vars(kind).items():
                if kind not in (Client, object, Resource) and not name.startswith("_") and name != "url":
                    assert isinstance(member, call | listing), f"{kind.__name__}.{name} has no asynchronous form"
                    assert inspect.getdoc(getattr(resource, name)), f"{kind.__name__}.{name}"


def test_an_answer_is_awaited_and_the_key_is_sent() -> None:
    service = Service(answer(LEDGER))
    assert ask(service, lambda client: client.ledgers.read("ldg_1")).name == "Customers"
    assert service.requests[0].headers["X-Blnk-Key"] == "secret"


def test_a_list_is_an_asynchronous_iterator_of_rows_or_pages() -> None:
    async def names(client: AsyncClient) -> list[str]:
        return [row.name async for row in client.ledgers.list(limit=1)]

    async def sizes(client: AsyncClient) -> list[int]:
        return [len(page) async for page in client.ledgers.list(limit=1).pages()]

    def service() -> Service:
        return Service(answer([LEDGER], Link='</ledgers?limit=1&after=ldg_1>; rel="next"'), answer([LEDGER]))

    assert ask(service(), names) == ["Customers"] * 2
    assert ask(service(), sizes) == [1, 1]
    assert [len(page) for page in service().client().ledgers.list(limit=1).pages()] == [1, 1]


def test_what_moves_money_is_repeated_with_the_same_reference(pauses: list[float]) -> None:
    service = Service(httpx.ReadError("gone"), answer(BUSY, 503), answer(TRANSACTION, 201))
    asked = NewTransaction(source="@A", destination="@B")
    assert ask(service, lambda client: client.transactions.create(asked)).status == "APPLIED"
    assert len({json.loads(body)["reference"] for body in service.bodies}) == 1
    assert (len(service.bodies), pauses) == (3, [0.2, 0.4])


def test_rows_come_from_an_asynchronous_iterator_and_are_sent_whole_each_time(pauses: list[float]) -> None:
    async def rows() -> AsyncIterator[Recipient]:
        yield Recipient(destination="@Ana", precise_amount=150)
        await asyncio.sleep(0)
        yield Recipient(destination="@Ben", precise_amount=200)

    service = Service(answer(BUSY, 503), answer({"error": "stop"}, 400))
    asked = NewJob(name="n", source="@Pool")
    with pytest.raises(Exception, match="stop"):
        ask(service, lambda client: client.funding.create(asked, rows()))
    for body in service.bodies:
        assert b"destination,precise_amount,description\n@Ana,150,\n@Ben,200,\n" in body
    with pytest.raises(TypeError, match="only an AsyncClient"):
        Service(answer({})).client().funding.create(asked, rows())


def test_what_gives_up_leaves_no_plan_open() -> None:
    with pytest.raises(Unreachable, match="ReadError"):
        ask(Service(httpx.ReadError("gone")), lambda client: client.keys.rotate("api_key_1"))


# Waiting


def test_wait_applied_returns_what_is_applied_and_raises_what_is_not() -> None:
    client = Service(answer({**TRANSACTION, "status": "QUEUED"}), answer(TRANSACTION)).client()
    assert client.transactions.wait_applied("txn_1").status == "APPLIED"
    with pytest.raises(NotApplied, match="txn_1 is REJECTED: short by 1") as caught:
        Service(answer(REJECTED)).client().transactions.wait_applied("txn_1")
    assert caught.value.transaction.rejection and caught.value.transaction.rejection.short_by == 1
    with pytest.raises(NotApplied, match="is QUEUED"):
        Service(answer({**TRANSACTION, "status": "QUEUED"})).client().transactions.wait_applied("t", timeout_s=0)


# What the service asks for


def test_a_longer_pause_is_made_where_the_service_asks_for_it(pauses: list[float]) -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=9))
    headers = [{"Retry-After": text} for text in ("7", at, "nonsense")]
    service = Service(*(answer(BUSY, 503, **each) for each in headers), answer(LEDGER))
    assert service.client().ledgers.read("ldg_1").name == "Customers"
    assert (pauses[0], 6 < pauses[1] <= 9, pauses[2]) == (7.0, True, 0.8)


def test_too_many_requests_are_repeated_even_when_they_must_not_be_done_twice(pauses: list[float]) -> None:
    service = Service(answer(BUSY, 429, **{"Retry-After": "2"}), answer(LEDGER, 201))
    assert service.client().ledgers.create("Customers").name == "Customers"
    keys = {request.headers["Idempotency-Key"] for request in service.requests}
    assert (len(service.requests), len(keys), pauses) == (2, 1, [2.0])


def test_a_request_whose_first_try_is_still_under_way_is_asked_for_again(pauses: list[float]) -> None:
    service = Service(answer(BUSY, 409, **{"Retry-After": "1"}), answer(LEDGER, 201))
    assert service.client().ledgers.create("Customers").name == "Customers"
    assert pauses == [1.0]
    service = Service(answer(BUSY, 409))
    with pytest.raises(Conflict):
        service.client().ledgers.create("Customers")
    assert len(service.requests) == 1


@pytest.mark.parametrize(("status", "error"), [(429, RateLimited), (503, Unavailable)])
def test_a_pause_that_is_too_long_is_the_callers(pauses: list[float], status: int, error: type[Exception]) -> None:
    service = Service(answer(BUSY, status, **{"Retry-After": "60"}))
    with pytest.raises(error) as caught:
        service.client().ledgers.read("ldg_1")
    assert (len(service.requests), caught.value.retry_after_s, pauses) == (1, 60.0, [])  # type: ignore[attr-defined]


def test_what_has_no_reference_carries_a_key_of_its_own() -> None:
    for use in (
        lambda client: client.ledgers.create("n"),
        lambda client: client.balances.create(NewBalance(ledger_id="l", currency="USD")),
        lambda client: client.transactions.refund("txn_1"),
    ):
        service = Service(answer({"error": "stop"}, 400))
        with pytest.raises(Exception, match="stop"):
            use(service.client())
        assert service.requests[0].headers["Idempotency-Key"].startswith("client-")
