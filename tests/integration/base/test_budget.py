"""A web process with few connections is slow, and answers everything."""

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import event

from core.base import db
from core.base.db import connect, reading
from tests.harness.api import close
from tests.harness.databases import QuickPostgres
from web.accept.doorbell import Doorbell
from web.app import create_app

HERE = "http://127.0.0.1"


@pytest.mark.parametrize("budget", [2, 3, 4])
def test_a_web_process_never_holds_a_connection_while_it_wants_another(
    server_url: str, monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)
    monkeypatch.setattr(Doorbell, "wake", lambda self, task: None)
    app = create_app({"DATABASE_URL": server_url, "PACIOLI_WEB_CONNECTIONS": str(budget)})
    base = {"precision": 100, "currency": "USD", "source": "@Bank", "destination": "@A", "allow_overdraft": True}
    base |= {"description": "x", "amount": 1}
    answers: list[tuple[str, int]] = []

    def work(writer: int) -> None:
        client = app.test_client()

        def ask(method: str, path: str, body: object = None) -> None:
            answers.append((path, client.open(path, method=method, json=body, base_url=HERE).status_code))

        for number in range(3):
            mine = base | {"destination": f"@A{writer}", "reference": f"{writer} {number}"}
            ask("POST", "/transactions", mine)
            ask("POST", "/transactions", mine | {"reference": f"now {writer} {number}", "skip_queue": True})
            ask("POST", "/transactions/bulk", {"transactions": [mine | {"reference": f"bulk {writer} {number}"}]})
            ask("POST", "/transactions?dry_run=true", mine)
            for path in (
                "/transactions",
                "/balances",
                "/queues",
                "/health",
                "/verify",
                f"/transactions/reference/{writer} 0",
            ):
                ask("GET", path)

    threads = [threading.Thread(target=work, args=(writer,)) for writer in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wrong = {answer for answer in answers if answer[1] >= 500 and answer[0] not in ("/health", "/verify")}
    assert wrong == set()
    assert ("/transactions", 201) in answers
    close(app)


@pytest.mark.parametrize("budget", [1, 2, 3, 10])
def test_a_process_opens_at_most_what_its_budget_says(server: QuickPostgres, server_url: str, budget: int) -> None:
    engine = connect(server_url, connections=budget)
    opened = []
    for pool in {engine, db._pools[engine].reader}:
        event.listen(pool, "connect", lambda *_: opened.append(1))
    uses: list[Callable[..., object]] = [db.begin, reading]
    done = threading.Barrier(2 * budget)

    def hold(number: int) -> None:
        try:
            with uses[number % 2](engine, within_s=10.0) as conn:  # type: ignore[attr-defined]
                db.driver(conn).execute("SELECT pg_sleep(0.2)")
        finally:
            done.wait(60)

    threads = [threading.Thread(target=hold, args=(number,)) for number in range(2 * budget)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) <= budget
    engine.dispose()
