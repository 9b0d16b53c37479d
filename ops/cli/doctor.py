"""``pacioli doctor``: looks for what weakens an installation, and says what to do about it."""

import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from msgspec import Struct
from redis import RedisError
from sqlalchemy import Connection, Engine

from core.base import clock, redis_url
from core.base.database_url import account
from core.base.db import connect, driver, reading
from core.base.disks import MAKE_ROOM, short_of_room
from core.base.errors import TransientError
from core.base.settings import Settings
from core.doors import clients
from core.ledger.store import sizes
from core.ledger.store.sizes import Disk
from core.migrations import roles, surroundings
from core.migrations.fitness import Unfit, refuse_unfit
from core.migrations.grants import APP, NOTARY, expanded
from core.migrations.surroundings import Server
from core.upkeep import heartbeats
from ops.cli.show.text import BAD, GOOD, console, print_json, table
from ops.server.instance import As, Unavailable, chain_key_of, reads_ledger, running, settings, url_of

CLOCK_OFF_S = 1.0
"""A clock that is off by more is reported, as ``/health`` does."""

SHOWN = 6
"""So many rights are named at most."""

OLD_REDIS = 7
"""Releases of Redis before this one get no more fixes."""


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that was looked at."""

    part: str
    ok: bool
    what: str
    why: str = ""
    """Why it matters. Empty when all is well."""
    todo: str = ""


@click.command()
@reads_ledger
def doctor(data: Path, as_json: bool) -> None:
    """Look for what weakens this installation, and say why it matters and what to do.

    It looks at the rights of the roles, the settings of the database, versions, keys, the data folder and its disk, clocks
    and the number of connections. It says how much disk a transaction takes. It changes nothing. The exit status is 1 if
    something is wrong.

    \b
    Examples:
      pacioli doctor
      pacioli doctor --json
    """
    found = list(_examine(data))
    if as_json:
        print_json({"findings": found})
    else:
        _print(found)
    if not all(each.ok for each in found):
        raise click.exceptions.Exit(1)


def _examine(data: Path) -> Iterator[Finding]:
    known = settings()
    urls = {role: url_of(role, data) for role in As}
    engine = connect(urls[As.APP], connections=2, within_s=30.0, pooler=known.pooler)
    try:
        yield _migrations(engine)
        with reading(engine) as conn:
            server = surroundings.server(conn)
            yield from _server(server)
            yield _encryption(conn, server)
            yield _clock(conn)
            yield _disk(sizes.disk(conn))
            yield from _roles(conn, urls, server.user)
        yield _connections(engine, known, server)
    finally:
        engine.dispose()
    yield from _redis(known, data)
    yield from _keys(known, data)
    yield from _folder(data)


def _migrations(engine: Engine) -> Finding:
    try:
        refuse_unfit(engine)
    except Unfit as error:
        return _wrong("migrations", str(error), "the service does not start", "do what the sentence says")
    return _right("migrations", "the tables are those of this release, and the service may read them")


def _server(server: Server) -> Iterator[Finding]:
    yield _right("postgres", f"Postgres {server.version}")
    for name, is_on, why in (
        ("fsync", server.fsync, "a crash of the machine can destroy the whole database"),
        ("full_page_writes", server.full_page_writes, "a crash of the machine can leave half-written pages"),
        (
            "synchronous_commit",
            server.synchronous_commit != "off",
            "what another program commits here may be lost; the ledger's sessions turn it on",
        ),
    ):
        if not is_on:
            yield _wrong("postgres", f"{name} is off", why, f"set {name} = on in postgresql.conf, and reload")


def _encryption(conn: Connection, server: Server) -> Finding:
    host = driver(conn).info.host
    if server.tls or host.startswith(("/", "@", "127.")) or host in ("", "localhost", "::1"):
        return _right(
            "network", f"the connection to {'a socket' if host.startswith('/') else host or 'this host'} is safe"
        )
    return _wrong(
        "network",
        f"the connection to {host} is not encrypted",
        "whoever sees the network reads every transaction and may change it",
        "turn ssl on in Postgres, and add sslmode=verify-full to the URLs",
    )


def _clock(conn: Connection) -> Finding:
    off_s = clock.off_s(conn)
    what = f"the clock of this host is {off_s:+.3f} s off the database's"
    if abs(off_s) <= CLOCK_OFF_S:
        return _right("clock", what)
    return _wrong("clock", what, "times in logs cannot be compared", "let both hosts use NTP")


def _disk(disk: Disk) -> Finding:
    if not disk.transactions:
        return _right("disk", "there are no transactions yet")
    parts = ", ".join(
        f"{disk.bytes_of(table, indexes=indexes):,.0f} in {name}"
        for table, indexes, name in (
            ("log", False, "the log"),
            ("log", True, "its indexes"),
            ("outcomes", False, "the outcomes"),
            ("outcomes", True, "theirs"),
        )
    )
    return _right("disk", f"{disk.transactions:,} transactions take {disk.bytes_each:,.0f} bytes each: {parts}")


def _roles(conn: Connection, urls: dict[As, str], app: str) -> Iterator[Finding]:
    owner, notary = account(urls[As.OWNER]).user, account(urls[As.NOTARY]).user
    for name, purpose, grants in ((app, "the service", APP), (notary, "the notary", NOTARY)):
        if purpose == "the notary" and name in (app, owner):
            continue
        powers, may, needs = surroundings.powers(conn, name), roles.actual(conn, name), expanded(grants)
        part = f"role {name}"
        if powers is None:
            yield _wrong(part, "there is no such role", f"{purpose} cannot connect", MIGRATE)
            continue
        excess = powers.excess()
        if not (powers.superuser or powers.owns):
            excess += _shortened(sorted(map(str, may - needs)))
        if excess:
            yield _wrong(part, f"{purpose} may too much: {', '.join(excess)}", _WHY, MIGRATE)
        elif lacking := _shortened(sorted(map(str, needs - may))):
            yield _wrong(part, f"{purpose} lacks {', '.join(lacking)}", "what needs it fails", MIGRATE)
        else:
            yield _right(part, f"{purpose} may do exactly what it needs")
    if (
        notary == app
        and app != owner
        and ("checkpoints", "INSERT") not in {right[:2] for right in roles.actual(conn, app)}
    ):
        yield _wrong(
            "checkpoints",
            "nobody adds checkpoints: the service may not, and there is no notary",
            "each verification starts from the beginning, and nothing vouches for the history",
            "set PACIOLI_NOTARY_URL for workers, and run `pacioli migrate`",
        )


MIGRATE = (
    "set PACIOLI_OWNER_URL to the owner of the tables, DATABASE_URL and PACIOLI_NOTARY_URL to roles of their own, and run "
    "`pacioli migrate`"
)

_WHY = "whoever gets into the service can change history, or turn its guards off"


def _connections(engine: Engine, known: Settings, server: Server) -> Finding:
    needed = 0
    with suppress(TransientError), reading(engine) as conn:
        for each in heartbeats.every(conn):
            if each.age_s <= 60:
                processes = 1 + len(each.state.children if each.state else [])
                needed += known.web_connections if each.part == "web" else processes * known.worker_connections
    what = f"the processes that run open {needed} connections at most, of {server.connections}"
    if needed <= server.connections:
        return _right("connections", what)
    return _wrong(
        "connections", what, "requests fail when there are no more", "raise max_connections, or start fewer processes"
    )


def _redis(known: Settings, data: Path) -> Iterator[Finding]:
    url = known.redis
    if known.redis_url is None and known.broker_url is None:
        with suppress(Unavailable, ValueError):
            url = redis_url.parse(running(data, "redis_url"))
    if url is None:
        return
    try:
        with clients.connect(url) as redis:
            info: Any = redis.info("server")
    except (RedisError, OSError) as error:
        yield _wrong(
            "redis", f"Redis does not answer ({type(error).__name__})", "doorbells wait for the sweep", "start it"
        )
        return
    is_valkey = "valkey_version" in info
    version = str(info.get("valkey_version") or info.get("redis_version"))
    yield _right("redis", f"{'Valkey' if is_valkey else 'Redis'} {version}")
    if not is_valkey and int(re.match(r"\d*", version)[0] or 0) < OLD_REDIS:  # type: ignore[index]
        yield _right("redis", "it is old: install a newer Redis or Valkey, and `pacioli up` takes that")


def _keys(known: Settings, data: Path) -> Iterator[Finding]:
    if known.allowed_hosts and known.secret_key is None:
        yield _wrong(
            "key",
            "the service has names beyond this host, and this environment has no PACIOLI_SECRET_KEY",
            "without a key, whoever reaches the service may post",
            "set PACIOLI_SECRET_KEY where the service starts",
        )
    if chain_key_of(data) is None:
        yield _wrong(
            "chain key",
            "there is no key that signs checkpoints",
            "whoever may write the database can make a checkpoint over another history",
            "set PACIOLI_CHAIN_KEY where workers run and where you verify, and keep a copy elsewhere",
        )
    else:
        yield _right("chain key", "checkpoints are signed")


def _folder(data: Path) -> Iterator[Finding]:
    if not data.is_dir():
        return
    mode = stat.S_IMODE(data.stat().st_mode)
    secret = [
        path for path in (data / "state.json", data / "chain.key") if path.exists() and path.stat().st_mode & 0o077
    ]
    if secret:
        names = ", ".join(map(str, secret))
        yield _wrong("data folder", f"others may read {names}", "it has keys and passwords", f"chmod 600 {names}")
    elif mode & 0o022:
        yield _wrong("data folder", f"others may write {data}", "they could replace what is in it", f"chmod 700 {data}")
    else:
        yield _right("data folder", f"only its owner may write {data} and read its keys")
    if what := short_of_room(data):
        yield _wrong("disk", what, "nothing is accepted when it is full", MAKE_ROOM)


def _right(part: str, what: str) -> Finding:
    return Finding(part=part, ok=True, what=what)


def _wrong(part: str, what: str, why: str, todo: str) -> Finding:
    return Finding(part=part, ok=False, what=what, why=why, todo=todo)


def _shortened(names: list[str]) -> list[str]:
    return names if len(names) <= SHOWN else [*names[:SHOWN], f"{len(names) - SHOWN} more"]


def _print(found: list[Finding]) -> None:
    rows = table("", "part", "what", "why it matters", "what to do")
    for each in sorted(found, key=lambda finding: finding.ok):
        rows.add_row(
            "ok" if each.ok else "WRONG", each.part, each.what, each.why, each.todo, style=GOOD if each.ok else BAD
        )
    console().print(rows)
