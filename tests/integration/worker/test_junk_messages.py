"""Junk in the lists of Celery neither ends a worker nor stops it from consuming."""

import json
from pathlib import Path
from typing import Any

from redis import Redis
from sqlalchemy import Engine

import celeryconfig
from core.base.db import reading
from core.doors.names import Names
from core.upkeep import heartbeats
from tests.harness import parts
from tests.harness.factories import Ledger
from tests.harness.processes import wait_until
from tests.unit.worker.test_envelopes import JUNK, body, envelope

BYTES: list[bytes] = [b"", b"\xff", b"null", b"[]", b"{}", b"{", b"0", b"nan", b"[" * 100_000, b"x" * 50_000_000]


def _texts() -> list[bytes]:
    return BYTES + [json.dumps(junk).encode() for junk in JUNK if len(str(junk)) < 1_000_000]


def test_a_worker_drops_junk_and_goes_on(
    env: dict[str, str], redis: Redis, names: Names, ledger: Ledger, engine: Engine, folder: Path
) -> None:
    lists = [names.prefix + name for name in (names.postings(3), names.ticks, names.maintenance)]
    with parts.worker(folder, env) as worker:
        wait_until(lambda: " ready." in worker.log)
        for name in lists:
            for text in _texts():
                redis.lpush(name, text)
        accepted = ledger.post()
        redis.lpush(lists[0], _message(celeryconfig.DRAIN, 3))
        redis.lpush(lists[1], _message(celeryconfig.TICK))
        wait_until(lambda: not any(redis.llen(name) for name in lists))
        wait_until(lambda: _dropped(engine) == 3 * len(_texts()))
        wait_until(lambda: ledger.transaction(accepted.transaction_id).status == "APPLIED")
        assert worker.process.poll() is None
        assert worker.log.count(" ready.") == 1, "it did not start its consumer anew"
        assert worker.log.count("Traceback") == 0


def test_a_worker_restores_what_it_can_beside_junk(
    env: dict[str, str], redis: Redis, names: Names, folder: Path
) -> None:
    unacked, index, ticks = (names.prefix + name for name in ("unacked", "unacked_index", names.ticks))
    junk: list[Any] = [*BYTES[:-1], b"[{}, 1, 2]", b'[{}, "", "ticks"]', b"[1, 2, 3]", b'[null, "", "ticks"]']
    for number, text in enumerate(junk):
        redis.hset(unacked, f"junk{number}", text)
        redis.zadd(index, {f"junk{number}": 1_000_000 + number})
    redis.zadd(index, {"nothing": 5, "": 6, b"\xff": 7})
    redis.hset(unacked, "good", json.dumps([envelope(celeryconfig.TICK, body=body(())), "", names.ticks]))
    redis.zadd(index, {"good": 1})
    with parts.worker(folder, env) as worker:
        wait_until(lambda: redis.zcard(index) == 0 and redis.hlen(unacked) == 0)
        assert worker.process.poll() is None
        redis.lpush(ticks, _message(celeryconfig.TICK))
        wait_until(lambda: redis.llen(ticks) == 0)


def test_keys_of_another_type_are_removed(env: dict[str, str], redis: Redis, names: Names, folder: Path) -> None:
    keys = [names.prefix + name for name in ("unacked", "unacked_index", names.ticks)]
    maintenance = names.prefix + names.maintenance
    with parts.worker(folder, env) as worker:
        wait_until(lambda: " ready." in worker.log)
        for key in keys:
            redis.delete(key)
            redis.set(key, "x")
        redis.lpush(maintenance, _message(celeryconfig.SWEEP))
        wait_until(lambda: all(redis.type(key) != b"string" for key in keys))
        redis.lpush(keys[2], _message(celeryconfig.TICK))
        wait_until(lambda: not redis.exists(keys[2]) and not redis.exists(maintenance))
        assert worker.process.poll() is None


def _message(task: str, *args: int) -> str:
    return json.dumps(envelope(task, body=body(args)))


def _dropped(engine: Engine) -> int:
    with reading(engine) as conn:
        return sum(each.state.dropped for each in heartbeats.every(conn) if each.state is not None)
