"""Finds balances by ID or ``@Name``, and the precision of currencies, and remembers them.

None of these ever changes once it is there. Each process remembers what it has found, and asks the database only about
the rest. It does not remember what it did not find.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from typing import Protocol

from sqlalchemy import Connection, Engine

from core.base import clock
from core.base.db import reading
from core.base.fence import in_transaction
from core.journal.record import record_all
from core.ledger.changes import create_indicators, fix_precision
from core.ledger.rules.model import BalanceRef
from core.ledger.store import balances as balance_store
from core.ledger.store import currencies as currency_store
from core.ledger.store import log as log_store

CAPACITY = 500_000
"""The number of names that a process remembers, at some 300 bytes each. The older half goes when they are too many."""

WARM = 50_000
"""A process that has just started reads so many of the newest balances ahead, at the first name that it does not know."""
_WARM_AT_ONCE = 2_000
_UNUSED_S = 1.0
"""The number of seconds for which a process remembers that no balance has a currency."""

Name = str | tuple[str, str]
"""The name of a balance: its ID, or a pair of indicator and currency."""


class Names(Protocol):
    """The part of a directory that a request needs. A dry run has one that creates nothing."""

    @property
    def check_precision(self) -> bool:
        """Whether a currency has one precision for all its transactions."""

    def now(self) -> datetime:
        """Read the database's clock, which decides whether a date is to come."""

    def know(self, names: Iterable[Name]) -> dict[Name, BalanceRef]:
        """Find balances. Unknown names are left out."""

    def create(self, names: Collection[tuple[str, str]]) -> dict[Name, BalanceRef]:
        """Create internal balances, and find them."""

    def uses(self, currency: str) -> bool:
        """Tell whether the ledger has a balance in a currency."""

    def accepted(self, references: Collection[str]) -> Collection[str]:
        """Return those references that are taken."""

    def precision(self, currency: str) -> int | None:
        """Return the currency's precision, if anything has fixed it."""

    def fix_precision(self, currency: str, precision: int) -> int:
        """Fix the precision by first use. Returns the one that holds."""


class Directory:
    """Finds balances and precisions, and remembers them for the whole process.

    Threads may share it, because a dictionary's operations are atomic, and two threads that look up one name agree.
    """

    def __init__(self, engine: Engine, *, check_precision: bool = True) -> None:
        self.engine = engine
        self.check_precision = check_precision
        self.missed: Callable[[], None] = lambda: None
        """It is called when a balance is looked up that the process does not remember."""
        self._warm_up_to: int | None = None
        """The key of the newest balance that was read ahead."""
        self._balances: dict[Name, BalanceRef] = {}
        self._older: dict[Name, BalanceRef] = {}
        self._making_room = threading.Lock()
        self._precisions: dict[str, int] = {}
        self._used: set[str] = set()
        self._unused: dict[str, float] = {}

    def balance(self, name: Name) -> BalanceRef | None:
        """Return a balance that ``know`` has found."""
        return self._balances.get(name) or self._older.get(name)

    def named(self, name: str, currency: str) -> BalanceRef | None:
        """The balance that an id, or an ``@Name`` in this currency, stands for, if ``know`` has found it."""
        return self.balance((name, currency) if name[0] == "@" else name)

    def precision(self, currency: str) -> int | None:
        """Return the currency's precision, if anything has fixed it."""
        known = self._precisions.get(currency)
        if known is None:
            with reading(self.engine) as conn:
                known = currency_store.precision_of(conn, currency)
            if known is not None:
                self._precisions[currency] = known
        return known

    def uses(self, currency: str) -> bool:
        """Tell whether the ledger has a balance in a currency.

        No index serves it, so only a doubtful currency is asked for, and a "no" is remembered for a moment: a batch may
        have thousands of requests in one currency.
        """
        if currency in self._used:
            return True
        if time.monotonic() < self._unused.get(currency, 0.0):
            return False
        with reading(self.engine) as conn:
            found = balance_store.has_currency(conn, currency)
        if found:
            self._used.add(currency)
        else:
            self._unused = {**dict(list(self._unused.items())[-99:]), currency: time.monotonic() + _UNUSED_S}
        return found

    def accepted(self, references: Collection[str]) -> Collection[str]:
        """Return those references that are taken."""
        with reading(self.engine) as conn:
            return log_store.find_references(conn, references).keys()

    def now(self) -> datetime:
        """Read the database's clock.

        Raises:
            TransientError: the database was busy or gone.
        """
        return clock.now_of(self.engine)

    def know(self, names: Iterable[Name]) -> dict[Name, BalanceRef]:
        """Find balances. It takes at most two statements for all that are not remembered."""
        found: dict[Name, BalanceRef] = {}
        unknown: set[Name] = set()
        newer, older = self._balances, self._older
        for name in names:
            if (ref := newer.get(name) or older.get(name)) is not None:
                found[name] = ref
            else:
                unknown.add(name)
        if unknown:
            self.missed()
            with reading(self.engine) as conn:
                refs = balance_store.find_refs(conn, [name for name in unknown if isinstance(name, str)])
                pairs = [name for name in unknown if isinstance(name, tuple)]
                indicators = balance_store.find_indicators(conn, pairs) if pairs else {}
            self._remember(refs, indicators)
            found.update(refs.items())
            found.update(indicators.items())
        return found

    def warm(self) -> bool:
        """Read some balances ahead: the newest of all, and later those that were created since. Returns whether there are more.

        A balance whose transaction commits after that of a newer one may be left out. It is looked up when it is asked for.

        Raises:
            TransientError: the database was busy or gone.
        """
        with reading(self.engine) as conn:
            if self._warm_up_to is None:
                self._warm_up_to = max(balance_store.last_key(conn) - WARM, 0)
            refs = balance_store.find_next_refs(conn, after=self._warm_up_to, most=_WARM_AT_ONCE)
        if refs:
            indicators = {(ref.indicator, ref.currency): ref for ref in refs if ref.indicator is not None}
            self._remember({ref.balance_id: ref for ref in refs}, indicators)
            self._warm_up_to = refs[-1].key
        return len(refs) == _WARM_AT_ONCE

    def create(self, names: Collection[tuple[str, str]]) -> dict[Name, BalanceRef]:
        """Create the internal balances that do not exist, and find all. Several callers at once create each only once."""
        missing = [name for name in names if self.balance(name) is None]
        if missing:
            # What is told takes the append lock, which outlives no frozen holder.
            in_transaction(self.engine, lambda conn: record_all(conn, create_indicators(conn, missing)))
        return self.know(names)

    def fix_precision(self, currency: str, precision: int) -> int:
        """Fix the precision by first use. Returns the valid one, which another caller may have fixed first."""

        def fix(conn: Connection) -> int:
            valid, events = fix_precision(conn, currency, precision)
            record_all(conn, events)
            return valid

        fixed = in_transaction(self.engine, fix)
        self._precisions[currency] = fixed
        return fixed

    def _remember(self, refs: dict[str, BalanceRef], indicators: dict[tuple[str, str], BalanceRef]) -> None:
        # A name that another thread has just looked up must stay until that thread has used it.
        with self._making_room:
            if len(self._balances) + len(refs) + len(indicators) > CAPACITY // 2:
                self._older, self._balances = self._balances, {}
        self._balances.update(refs.items())
        self._balances.update(indicators.items())
