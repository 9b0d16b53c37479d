"""Each way of tampering with each table that decides about money: as the service's role, and as the owner of the database, who
makes all hashes fit again, with a notary and without. The table in docs/explanation/proofs.md is what these tests find.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

import psycopg
import pytest
from sqlalchemy import text

from core.base.actors import acting_for, with_all_rights
from core.base.db import begin, connect
from core.funding import approvals, create
from core.keys import manage
from core.keys.manage import Mint
from core.keys.requests import KeyRequest
from core.ledger import currencies, limits
from core.ledger.directory import Directory
from core.ledger.limits import LimitsRequest
from core.notary.notary import Notary
from core.notary.seals import keypair
from core.verification import checkpoints
from core.verification.sealed import Known
from core.verification.verify import verify_all
from tests.harness.databases import APP, as_role, new_database
from tests.harness.factories import Ledger
from tests.harness.forging import as_owner
from tests.harness.funding import NOW, funding_request
from tests.harness.history import KEY
from tests.harness.pages import ROOT
from tests.harness.saved import Saved, restore, save

OURS = keypair(bytes(32))
PINNED = Known(keys=frozenset([OURS.public]))

PAGE = ROOT / "docs/explanation/proofs.md"


class Way(NamedTuple):
    """A way of tampering, and the rows of the table that are found."""

    statement: str
    as_app: str = "refused"
    """The answer of the database or ``pacioli verify`` when the service's role does it."""


SWAP = "UPDATE log SET destination = source, source = destination WHERE seq = 2"
_INSERT_LIMIT = "INSERT INTO balance_limits (balance, after_seq, frozen, actor) SELECT max(id), 0, 0, 'x' FROM balances"
_INSERT_KEY = (
    "INSERT INTO api_keys (id, owner, name, scopes, created_by, created_at, expires_at) "
    "VALUES (gen_random_uuid(), 'x', 'x', '{*:*}', 'master', now() + interval '1 day', now() + interval '9 days')"
)

WAYS = {
    "log: a row is altered": Way(SWAP),
    "log: who asked for a row is altered": Way("UPDATE log SET actor = 'key_other' WHERE seq = 2"),
    "log: a row is written as by the first version": Way(
        "UPDATE log SET digest_version = 1, actor = NULL, part = NULL WHERE seq = 2"
    ),
    "log: the newest row is removed, with its outcome": Way(
        "DELETE FROM log WHERE seq = (SELECT max(seq) FROM log); DELETE FROM outcomes WHERE seq NOT IN (SELECT seq FROM log)"
    ),
    "outcomes: one is altered": Way("UPDATE outcomes SET decided_at = decided_at - interval '1 day' WHERE seq = 2"),
    "outcomes: one is removed": Way("DELETE FROM outcomes WHERE seq = 2"),
    "balances: a sum is altered": Way(
        "UPDATE balances SET balance = balance + 1, credit_balance = credit_balance + 1 WHERE indicator = '@A'",
        "balances",
    ),
    "balances: two change names": Way(
        "UPDATE balances SET indicator = '@X' WHERE indicator = '@A'; UPDATE balances SET indicator = '@A' "
        "WHERE indicator = '@B'; UPDATE balances SET indicator = '@B' WHERE indicator = '@X'"
    ),
    "balances: one moves to another ledger": Way(
        "INSERT INTO ledgers (ledger_id, name) VALUES ('ldg_x', 'x'); UPDATE balances "
        "SET ledger = (SELECT id FROM ledgers WHERE ledger_id = 'ldg_x') WHERE indicator = '@A'"
    ),
    "holds: the rest of a hold is altered": Way("UPDATE holds SET committed = committed + 1", "holds"),
    "holds: the two balances of one are swapped": Way("UPDATE holds SET source = destination, destination = source"),
    "holds: one is removed": Way("DELETE FROM holds"),
    "scheduled: one is altered": Way("UPDATE scheduled SET amount = 999"),
    "scheduled: one is removed": Way("DELETE FROM scheduled", "scheduled"),
    "funding_jobs: the terms are altered": Way("UPDATE funding_jobs SET terms = '{}'"),
    "funding_rows: an amount is altered": Way("UPDATE funding_rows SET amount = 999", "funding_jobs"),
    "funding_rows: one is removed": Way("DELETE FROM funding_rows WHERE row = 1", "funding_jobs"),
    "funding_approvals: one that waits is approved": Way(
        "UPDATE funding_approvals SET status = 'APPROVED', digest = '\\x00', decided_by = 'x', decided_at = now() "
        "WHERE status = 'WAITING'",
        "funding_approvals",
    ),
    "funding_approvals: another digest is approved": Way(
        "UPDATE funding_approvals SET digest = '\\x00' WHERE status = 'APPROVED'"
    ),
    "funding_approvals: one is removed": Way("DELETE FROM funding_approvals"),
    "balance_limits: a floor is altered": Way("UPDATE balance_limits SET floor = -1000000"),
    "balance_limits: a freeze is removed": Way("DELETE FROM balance_limits WHERE frozen > 0"),
    "balance_limits: others are set": Way(_INSERT_LIMIT, "balance_limits"),
    "ledgers: one gets another ID": Way("UPDATE ledgers SET ledger_id = 'ldg_y' WHERE name = 'General Ledger'"),
    "currencies: a precision is altered": Way("UPDATE currencies SET precision = 1"),
    "api_keys: a scope is added": Way("UPDATE api_keys SET scopes = '{*:*}'"),
    "api_keys: one is made": Way(_INSERT_KEY, "api_keys"),
    "api_keys: a revoked one works again": Way("UPDATE api_keys SET revoked_at = NULL"),
    "audit: a row is altered": Way("UPDATE audit SET actor = 'other' WHERE id = 2"),
    "audit: the newest row is removed": Way("DELETE FROM audit WHERE id = (SELECT max(id) FROM audit)"),
    "pledges: the newest is removed": Way("DELETE FROM pledges WHERE number = (SELECT max(number) FROM pledges)"),
    "checkpoints: one is removed": Way("DELETE FROM checkpoints"),
    "seals: one is altered": Way("UPDATE seals SET statement = replace(statement, ':1,', ':2,') WHERE number = 1"),
    "seals: all are removed": Way("DELETE FROM seals"),
    "attestations: one is altered": Way("UPDATE attestations SET signature = ''"),
}

ABSENT_UNDER_SEALS = {way for way in WAYS if way.startswith(("seals", "attestations"))}


@pytest.fixture(scope="module")
def built(postgres: str) -> dict[str, Saved]:
    """The rows of a ledger with everything in it that a ledger can have, and of the same with seals."""
    engine = connect(new_database(postgres))
    _fill(Ledger(engine, Directory(engine)))
    rows = {"absent": save(engine)}
    notary = Notary(engine, OURS)
    assert notary.seal() is not None
    assert notary.attest() is not None
    rows["sealed"] = save(engine)
    engine.dispose()
    return rows


def _fill(ledger: Ledger) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    with begin(ledger.engine) as conn:
        currencies.fix(conn, "USD", 100)
    for name in ("@A", "@B", "@A"):
        ledger.post(destination=name, precise_amount=50)
    hold = ledger.post(source="@A", destination="@B", precise_amount=30, inflight=True)
    ledger.drain()
    ledger.settle(hold.transaction_id, "commit", precise_amount=10)
    ledger.post(reference="rent", scheduled_for=soon)
    rows = [("@A", 6_000), ("@B", 4_001)]
    for number in range(2):
        with acting_for(with_all_rights("key_maker")):
            asked = funding_request(*rows, name=f"job {number}")
            job = create.create_job(ledger.engine, asked, None, ledger.directory, NOW, approve_above=Decimal(1)).job
    found = approvals.read(ledger.engine, job)
    assert found is not None and found.seen is not None
    with acting_for(with_all_rights("key_checker")):
        approvals.approve(ledger.engine, job.job_id, found.seen.digest.hex(), NOW)
    with begin(ledger.engine) as conn:
        (id,) = conn.execute(text("SELECT 'bln_' || balance_id FROM balances WHERE indicator = '@A'")).scalars()
        limits.put(conn, id, LimitsRequest(floor=-5))
        limits.put(conn, id, LimitsRequest(frozen="debits", reason="why"))
        expires = datetime.now(UTC) + timedelta(days=9)
        asked_key = KeyRequest(name="k", owner="shop", scopes=["balances:read"], expires_at=expires)
        for _ in range(2):
            made = manage.create(conn, asked_key, with_all_rights("master"), Mint(bytes(32), 30))
        manage.revoke(conn, made.api_key_id, None, with_all_rights("master"))
    ledger.drain()
    report = verify_all(ledger.engine, key=KEY)
    assert report.problems == []
    assert checkpoints.write(ledger.engine, report.reached, KEY) is not None


@contextmanager
def _copied(url: str, rows: Saved) -> Iterator[Ledger]:
    """Open the database with these rows in it alone."""
    engine = connect(url)
    restore(engine, rows)
    yield Ledger(engine, Directory(engine))
    engine.dispose()


def _named(ledger: Ledger, known: Known) -> str:
    """The tables that ``pacioli verify`` names."""
    report = verify_all(ledger.engine, key=KEY, known=known)
    return ", ".join(dict.fromkeys(each.table for each in report.problems)) or "**nothing**"


def _as_app(url: str, rows: Saved, way: Way) -> str:
    with _copied(url, rows) as ledger:
        return "refused" if _is_refused(url, way) else _named(ledger, PINNED)


def _is_refused(url: str, way: Way) -> bool:
    conn = psycopg.connect(as_role(url, APP).replace("+psycopg", ""))
    try:
        for statement in way.statement.split("; "):
            conn.execute(statement)
        conn.commit()
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.IntegrityError):
        return True
    finally:
        conn.close()
    return False


def _as_owner(url: str, rows: Saved, way: Way, known: Known) -> str:
    with _copied(url, rows) as ledger:
        with as_owner(ledger) as conn:
            for statement in way.statement.split("; "):
                conn.exec_driver_sql(statement)
        return _named(ledger, known)


@pytest.mark.parametrize("name", WAYS)
def test_each_way_of_tampering_is_told_as_the_page_says(owner_url: str, built: dict[str, Saved], name: str) -> None:
    way = WAYS[name]
    app = _as_app(owner_url, built["sealed"], way)
    owner = _as_owner(owner_url, built["sealed"], way, PINNED)
    absent = "-" if name in ABSENT_UNDER_SEALS else _as_owner(owner_url, built["absent"], way, Known())
    row = f"| {name} | {app} | {owner} | {absent} |"
    assert app == "refused" or way.as_app in app.split(", "), app
    assert owner != "**nothing**", name
    assert row in PAGE.read_text().splitlines(), f"the page lacks this row:\n{row}"


def test_a_ledger_that_nobody_touched_is_sound(owner_url: str, built: dict[str, Saved]) -> None:
    for which, known in (("sealed", PINNED), ("absent", Known())):
        with _copied(owner_url, built[which]) as ledger:
            assert _named(ledger, known) == "**nothing**"
