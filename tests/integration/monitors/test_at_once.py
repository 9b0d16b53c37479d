"""Monitors that come, change and go while threads drain every queue."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

from sqlalchemy import Engine

from core.base.db import begin, reading
from core.ledger import drain
from core.ledger.rules.model import Kind
from core.ledger.rules.routing import MAX_QUEUES
from core.ledger.store import balances as balance_store
from core.ledger.store import queues as queue_store
from core.monitors import monitors
from core.monitors.requests import ConditionRequest, MonitorRequest
from tests.integration.ledger.test_serial_equality import Run
from tests.oracle import Operation

ACCOUNTS = [(name, "USD") for name in ("@World", "@A", "@B", "@C")]
ROUNDS = 30


def test_changes_of_monitors_and_drains_wait_for_each_other_and_lose_nothing(engine: Engine) -> None:
    with begin(engine) as conn:
        queue_store.resize(conn, 4)
    run = Run(engine, {account: MAX_QUEUES // 4 * n + n for n, account in enumerate(ACCOUNTS)})
    key = run.keys["@A", "USD"]
    with begin(engine) as conn:
        balance_id = balance_store.find_keys(conn, [key])[key].balance_id
    always = MonitorRequest(
        balance_id=balance_id,
        condition=ConditionRequest(field="balance", operator="!=", value=Decimal(10**9), precision=Decimal(1)),
        mode="level",
        fire_now=False,
    )
    with begin(engine) as conn:
        steady = monitors.create(conn, always, check_precision=False).monitor_id

    def come_and_go() -> None:
        for _ in range(ROUNDS):
            with begin(engine) as conn:
                made = monitors.create(conn, always, check_precision=False)
            with begin(engine) as conn:
                monitors.update(conn, made.monitor_id, always, check_precision=False)
            with begin(engine) as conn:
                monitors.delete(conn, made.monitor_id)

    touching = 0
    with ThreadPoolExecutor(6) as threads:
        going = [threads.submit(come_and_go) for _ in range(2)]
        for number in range(ROUNDS):
            pair = [ACCOUNTS[number % 4], ACCOUNTS[(number + 1) % 4]]
            touching += ("@A", "USD") in pair
            move = Operation(Kind.TRANSFER, *pair, amount=1, allow_overdraft=True)
            run.accept((move,), now=[number % 3 == 0])
            drains = [threads.submit(drain.drain, engine, queue, batch=2) for queue in range(4)]
            for each in drains:
                each.result(timeout=60)
        for each in going:
            each.result(timeout=120)
    run.drain()
    run.compare_all()
    with reading(engine) as conn:
        found = monitors.firings(conn, steady, after=None, limit=1000)
    assert len(found) == touching == len({row.seq for row in found})
    assert [row.seq for row in found] == sorted((row.seq or 0 for row in found), reverse=True)
