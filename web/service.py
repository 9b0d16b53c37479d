"""Connects and starts what views work with: the engine, the directory, and the threads that commit, ring and wake."""

import gc
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import structlog
from flask import Flask, current_app
from redis import Redis
from sqlalchemy import Engine

import celeryconfig
from core.base import logs, tracing
from core.base.actors import Caps
from core.base.db import connect
from core.base.environment import SettingsError, open_files, read
from core.base.errors import TransientError
from core.base.rate import Rate
from core.base.secrets import Secret
from core.base.setting_values import Network, Sums
from core.base.settings import Settings
from core.doors import clients, watches
from core.doors.identity import Identity
from core.doors.notes import Notes
from core.funding.watching import WholeRow, whole_rows
from core.identities.tokens import Keyring, keyring_of
from core.keys.manage import Mint
from core.keys.ring import KeyRing
from core.keys.secret import pepper_from
from core.ledger import books
from core.ledger.books import CurrencyBooks
from core.ledger.directory import Directory
from core.ledger.drain import Announce
from core.ledger.pressure import Limits
from core.ledger.store import transactions as transaction_store
from core.ledger.store import whole_balances
from core.ledger.store.transaction_rows import TransactionRow
from core.migrations.fitness import Unfit, refuse_unfit
from core.webhooks.endpoints import Book
from core.webhooks.operator import operator_of, safe_of
from core.webhooks.veto import Vetoes
from web.accept.committer import Committer
from web.accept.doorbell import Doorbell
from web.accept.pressure import Gauge
from web.accept.sharing import Shared
from web.accept.waiting import Waiting
from web.accept.warming import Warming
from web.kept import Kept
from web.probing.checks import Probe
from web.probing.ledger_metrics import LedgerCollector
from web.probing.own import Own
from web.probing.prober import Prober

THREADS = 32
"""The number of threads of a web process (Procfile, ops/server/up.py). Each can read without waiting for a connection."""

WAITING_PLACES = THREADS // 2
"""The number of long polls that one process holds at a time."""


USE_S = 10.0
"""A request may use a connection for so long. One that finds Postgres standing still is answered 503 by then,
and POOL_TIMEOUT_S later when many wait."""


@dataclass
class Service:
    """The connections, threads and keys of a web process."""

    engine: Engine
    redis: "Redis | None"
    identity: Identity
    directory: Directory
    transactions: Shared[TransactionRow]
    balances: Shared[WholeRow]
    committer: Committer
    doorbell: Doorbell
    waiting: Waiting
    announce: Announce
    secret_key: Secret[str] | None
    chain_key: Secret[bytes] | None
    notary_public_key: frozenset[str]
    probe: Probe
    prober: Prober
    allowed_hosts: frozenset[str]
    trusted_proxies: tuple[Network, ...]
    rate: Rate | None
    keyring: Keyring | None
    """The keys of tokens of identities. None when nothing is tokenized."""
    mint: Mint | None
    """The maker of keys. None in a service without a key."""
    ring: KeyRing | None
    ledger_metrics: LedgerCollector
    books: Kept[list[CurrencyBooks]]
    vetoes: Vetoes
    """The hooks that are asked before a transaction is accepted."""
    webhooks: Book
    """The tools that the use cases of webhooks need."""
    access_log: bool
    """Whether each request has a line in the log."""
    approve_above: Sums | None
    """The sum above which a funding job waits for an approval."""
    funding_repeat: timedelta
    """The time within which an equal funding job is a repetition."""


def start(environ: Mapping[str, str] = os.environ) -> Service:
    """Connect and start the threads, as the environment says.

    Raises:
        SystemExit: some settings are missing or wrong. The message names them all.
    """
    try:
        settings = read(environ, required=["DATABASE_URL"])
    except SettingsError as error:
        raise SystemExit(str(error)) from None
    logs.configure(settings.log_format, level=settings.log_level)
    for warning in open_files(environ):
        structlog.get_logger().warning(warning)
    tracing.configure(settings.traces_url, "web")
    watches.hand_in()
    # A request makes hundreds of objects and no cycles. The search for cycles would hold the GIL for nothing.
    gc.freeze()
    gc.set_threshold(200_000, 20, 20)
    assert settings.database_url is not None
    budget = settings.web_connections
    # The checks have connections of their own, so that they see the database when requests have taken all others.
    for_checks = 2 if budget >= 4 else 1
    open_ = partial(connect, settings.database_url.reveal(), pooler=settings.pooler)
    timeout_s = settings.statement_timeout_s
    engine = open_(connections=budget - for_checks, within_s=USE_S, statement_timeout_s=timeout_s)
    checked = open_(connections=for_checks, within_s=5.0, statement_timeout_s=4)
    try:
        refuse_unfit(engine)
    except Unfit as error:
        raise SystemExit(f"DATABASE_URL: {error}") from None
    except TransientError as error:  # It may be fit, and requests are answered 503 until it is back.
        cause = getattr(error.__cause__, "orig", error.__cause__)
        text = "the database is away, and could not be checked"
        structlog.get_logger().warning(text, error=" ".join(str(cause).split()))
    redis = clients.connect(settings.redis) if settings.redis is not None else None
    identity = Identity(engine, on_redis=celeryconfig.ON_REDIS)
    doorbell = Doorbell(identity, Notes(redis, identity))
    probe = Probe(checked, redis, identity)
    gauge = Gauge(engine, Limits(settings.max_waiting, settings.max_waiting_age_s))
    waiting = Waiting(engine, redis, identity, WAITING_PLACES)

    def announce(cursors: dict[int, int]) -> None:
        """Wake the requests that wait for what this process has decided. A lost message does no harm."""
        waiting.moved(cursors)
        doorbell.announce(cursors)

    committer = Committer(engine, doorbell.ring, gauge, announce)
    prober = probe.prober(Own(engine, committer, doorbell))
    prober.start()
    mint = _mint(settings)
    directory = Directory(engine, check_precision=settings.precision_check)
    Warming(directory)
    keyring = keyring_of(settings.tokenization_secret.reveal()) if settings.tokenization_secret else None
    return Service(
        engine,
        redis,
        identity,
        directory,
        Shared("read transactions", engine, transaction_store.find_many, transaction_store.MOST),
        Shared("read balances", engine, whole_rows, whole_balances.MOST),
        committer,
        doorbell,
        waiting,
        announce,
        settings.secret_key,
        settings.chain_key,
        settings.notary_public_key or frozenset(),
        probe,
        prober,
        settings.allowed_hosts or frozenset(),
        settings.trusted_proxies or (),
        settings.rate,
        keyring,
        mint,
        KeyRing(engine, mint.pepper, Caps(settings.new_names, settings.active_jobs)) if mint is not None else None,
        LedgerCollector(engine),
        Kept(books.are_many),
        Vetoes(engine, operator_of(settings)),
        Book(safe=safe_of(settings), operator=operator_of(settings)),
        settings.access_log,
        settings.approve_above,
        timedelta(seconds=settings.funding_repeat_s),
    )


def _mint(settings: Settings) -> Mint | None:
    if settings.secret_key is None:
        return None
    if settings.pepper is not None:
        return Mint(settings.pepper.reveal().encode(), settings.key_max_days)
    return Mint(pepper_from(settings.secret_key.reveal()), settings.key_max_days)


def service() -> Service:
    """Return the service of the application that answers the current request."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # As ``wire.current``.
    found: Service = app.extensions["pacioli"]
    return found
