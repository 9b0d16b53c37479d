"""Whatever tells its facts side by side, nobody deadlocks, and the feed has each fact once."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import count

from flask import Flask

from core.funding import jobs, runs
from tests.harness.api import Api, ok
from tests.harness.factories import Ledger, new_run
from tests.integration.events.conftest import Read

ROUNDS = 8


def test_changes_of_all_kinds_side_by_side_are_each_told_once(app: Flask, ledger: Ledger, read: Read) -> None:
    first = Api(app, app.test_client())
    home = ok(first.client.post("/ledgers", json={"name": "home"}), 201)["ledger_id"]
    person = ok(first.client.post("/identities", json={"first_name": "Ada"}), 201)["identity_id"]
    paid = first.done()["transaction_id"]
    balance, numbers = first.balance("@A")["balance_id"], count()

    def balances(api: Api) -> None:
        body = {"ledger_id": home, "currency": "USD", "identity_id": person}
        ok(api.client.post("/balances", json=body), 201)

    def metadata(api: Api) -> None:
        for thing in (home, balance, paid):
            ok(api.client.post(f"/{thing}/metadata", json={"meta_data": {"a": 1}}), 200)

    def bulks(api: Api) -> None:
        ok(api.bulk({}, {"source": "@B"}, skip_queue=True), 201)

    def names(api: Api) -> None:
        api.done(source=f"@N{next(numbers)}")

    def limits(api: Api) -> None:
        ok(api.client.put(f"/balances/{balance}/limits", json={"floor": -(10**9)}), 200)

    def funding(api: Api) -> None:
        job = f"fund_{new_run(ledger, f'@F{next(numbers)}', source='@Pool2').job}"
        jobs.pause(ledger.engine, job)
        jobs.resume(ledger.engine, job, datetime.now(UTC))
        runs.advance(ledger.engine, for_s=60)

    works: list[Callable[[Api], None]] = [balances, metadata, bulks, names, limits, funding]

    def repeat(work: Callable[[Api], None]) -> None:
        api = Api(app, app.test_client())
        for _ in range(ROUNDS):
            work(api)

    with ThreadPoolExecutor(len(works)) as threads:
        for done in [threads.submit(repeat, work) for work in works]:
            done.result()
    ledger.drain()
    runs.advance(ledger.engine, for_s=60)
    events = read()
    counts = Counter(event.type for event in events)
    assert len({event.id for event in events}) == len(events)
    assert counts["metadata.changed"] == 3 * ROUNDS
    assert counts["balance.updated"] == 2 * ROUNDS
    assert counts["bulk_transaction.applied"] == ROUNDS
    assert counts["funding_job.paused"] == counts["funding_job.resumed"] == ROUNDS
    assert counts["funding_run.started"] == counts["funding_run.completed"] == ROUNDS
