"""How a process remembers keys: for less than a second, without a crowd at the database, and not what does not exist."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, text

from core.base.actors import Actor
from core.base.db import begin, reading
from core.base.errors import TransientError
from core.keys import ring as ring_module
from core.keys import secret, store
from core.keys.ring import REMEMBERED_S, KeyRing, Unusable
from tests.harness.api import close, ok, refused
from tests.harness.key_ring import Holder, Keys, later
from tests.harness.keys import KEY
from web.app import create_app


class Clock:
    """The monotonic clock of the ring, set by the test."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(ring_module, "time", clock)
    return clock


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """The secrets that were looked up in the database."""
    seen: list[bytes] = []
    find = store.find_by_secret

    def counted(conn: Any, hash: bytes) -> Any:
        seen.append(hash)
        return find(conn, hash)

    monkeypatch.setattr(store, "find_by_secret", counted)
    return iter([seen])


@pytest.fixture
def ring(keys: Keys) -> KeyRing:
    found: KeyRing = keys.app.extensions["pacioli"].ring
    return found


def test_a_key_is_looked_up_twice_a_second_at_most(keys: Keys, ring: KeyRing, clock: Clock, looks: Any) -> None:
    key, seen = keys.make("ledgers:read"), next(looks)
    for _ in range(100):
        assert isinstance(ring.find(key.secret), Actor)
    assert len(seen) == 1
    clock.now += REMEMBERED_S / 2 + 0.01
    for _ in range(100):
        ring.find(key.secret)
    assert len(seen) == 2


def test_one_thread_looks_again_and_the_others_go_on(
    keys: Keys, ring: KeyRing, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, at_it, go = keys.make("ledgers:read"), threading.Event(), threading.Event()
    ring.find(key.secret)
    find = store.find_by_secret

    def slow(conn: Any, hash: bytes) -> Any:
        at_it.set()
        assert go.wait(30)
        return find(conn, hash)

    monkeypatch.setattr(store, "find_by_secret", slow)
    clock.now += REMEMBERED_S / 2 + 0.01
    thread = threading.Thread(target=ring.find, args=(key.secret,))
    thread.start()
    assert at_it.wait(30)
    assert all(isinstance(ring.find(key.secret), Actor) for _ in range(10))  # None of them waits.
    go.set()
    thread.join()


def test_a_revoked_key_is_believed_for_less_than_a_second(keys: Keys, ring: KeyRing, clock: Clock) -> None:
    assert REMEMBERED_S < 1.0
    key = keys.make("ledgers:read")
    ring.find(key.secret)
    keys.master.ask(f"DELETE /api-keys/{key.key_id}")
    assert isinstance(ring.find(key.secret), Actor)
    clock.now += REMEMBERED_S
    assert ring.find(key.secret) is Unusable.LAPSED


def test_a_key_that_ends_within_the_second_ends_on_time(
    keys: Keys, ring: KeyRing, clock: Clock, engine: Engine
) -> None:
    key = keys.make("ledgers:read")
    with begin(engine) as conn:
        conn.execute(
            text(
                "UPDATE api_keys SET created_at = created_at - interval '1 day', "
                "expires_at = clock_timestamp() + interval '300 ms'"
            )
        )
    found = ring.find(key.secret)
    if isinstance(found, Actor):  # On a machine that stood still for long, the key has ended by now.
        clock.now += 0.31
        with reading(engine) as conn:
            conn.execute(text("SELECT pg_sleep(0.31)"))
        assert ring.find(key.secret) is Unusable.LAPSED
    assert ring.find(key.secret) is Unusable.LAPSED


def test_what_is_no_key_is_not_remembered_and_what_cannot_be_one_not_looked_up(
    keys: Keys, ring: KeyRing, looks: Any
) -> None:
    seen = next(looks)
    unknown = secret.new_secret()
    assert {ring.find(unknown) for _ in range(3)} == {Unusable.UNKNOWN}
    assert len(seen) == 3 and ring._entries == {}
    for wrong in ("", "x", unknown[:-1] + "\x00", unknown + "x", KEY):
        assert ring.find(wrong) is Unusable.UNKNOWN
    assert len(seen) == 3


def test_a_ring_forgets_when_it_has_too_many(keys: Keys, ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring_module, "CAPACITY", 3)
    made = [keys.make("ledgers:read") for _ in range(5)]
    for key in made * 2:
        assert isinstance(ring.find(key.secret), Actor)
        assert len(ring._entries) <= 3


def test_a_key_that_is_remembered_works_while_the_database_is_away(
    keys: Keys, ring: KeyRing, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, other = keys.make("ledgers:read"), keys.make("ledgers:read")
    ring.find(known.secret)

    def away(conn: Any, hash: bytes) -> None:
        raise TransientError("the database is away")

    monkeypatch.setattr(store, "find_by_secret", away)
    assert isinstance(ring.find(known.secret), Actor)
    refused(other.ask("GET /ledgers"), 503, "GEN_UNAVAILABLE")
    clock.now += REMEMBERED_S
    refused(known.ask("GET /ledgers"), 503, "GEN_UNAVAILABLE")
    ok(keys.master.ask("GET /ledgers"), 200)  # The master key needs no look.


def test_uses_are_written_together(keys: Keys, ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    record = store.record_use

    def counted(conn: Any, ago_s: Any) -> None:
        written.append(len(ago_s))
        record(conn, ago_s)

    monkeypatch.setattr(store, "record_use", counted)
    monkeypatch.setattr(KeyRing, "_record", lambda self: time.sleep(0.01))
    used, unused = [keys.make("ledgers:read") for _ in range(3)], keys.make("ledgers:read")
    for key in used * 5:
        ok(key.ask("GET /ledgers"), 200)
    ring.flush()
    ring.flush()
    assert written == [3]
    by_id = {key["api_key_id"]: key["last_used_at"] > key["created_at"] for key in keys.list()}
    assert by_id == {**{key.key_id: True for key in used}, unused.key_id: False}


def test_uses_that_could_not_be_written_are_written_later(
    keys: Keys, ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KeyRing, "_record", lambda self: time.sleep(0.01))
    key = keys.make("ledgers:read")
    ok(key.ask("GET /ledgers"), 200)

    def away(conn: Any, ago_s: Any) -> None:
        raise TransientError("the database is away")

    with monkeypatch.context() as patch:
        patch.setattr(store, "record_use", away)
        ring.flush()
    ring.flush()
    (listed,) = keys.list()
    assert listed["last_used_at"] > listed["created_at"]


def test_a_pepper_of_its_own_outlives_a_master_key(database_url: str) -> None:
    def app(master: str, **more: str) -> Any:
        return create_app({"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": master, **more})

    first, second = "first-master-4f81c0d2", "second-master-77e0aa1b"
    pepper = {"PACIOLI_PEPPER": "9c1fe07b42d8a653" * 4}
    with_pepper, derived = Keys(app(first, **pepper)), Keys(app(first))
    for keys, more, status in ((with_pepper, pepper, 200), (derived, {}, 401)):
        response = Holder(keys.app, first).ask("POST /api-keys", json=_body())
        secret_ = ok(response, 201)["key"]
        later = app(second, **more)
        assert Holder(later, secret_).ask("GET /ledgers").status_code == status
        close(later)
        close(keys.app)


def test_the_longest_time_of_a_key_is_a_setting(database_url: str) -> None:
    app = create_app({"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": KEY, "PACIOLI_KEY_MAX_DAYS": "1"})
    keys = Keys(app)
    keys.make("ledgers:read")
    response = keys.master.ask("POST /api-keys", json=_body())
    message = "expires_at: must be at most 1 days away (PACIOLI_KEY_MAX_DAYS)."
    refused(response, 400, "GEN_VALIDATION_ERROR", message)
    close(app)


def _body() -> dict[str, Any]:
    return {"name": "till", "owner": "shop", "scopes": ["ledgers:read"], "expires_at": later(days=90)}
