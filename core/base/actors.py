"""Says who acts: the key that asked, the part of the service that does it, and what that key may do and reach.

A door binds the actor of each request, run and tick, and everything below asks ``current``. Rights and scopes are in this one
place. A *right* is what a route or a use case asks for, such as ``transactions:post``. A *scope* is what a key is given: a
right, or one with a wildcard on either side, or ``write``, which stands for several actions of its resource.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from datetime import datetime
from decimal import Decimal
from difflib import get_close_matches
from enum import StrEnum
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import replace

from core.base.errors import Forbidden
from core.base.rate import Rate

WRITE, ANY = "write", "*"


class Right(StrEnum):
    """The rights, as ``resource:action``. The resources without a finer action are Blnk's."""

    LEDGERS_READ = "ledgers:read"
    LEDGERS_WRITE = "ledgers:write"
    LEDGERS_DELETE = "ledgers:delete"
    BALANCES_READ = "balances:read"
    BALANCES_WRITE = "balances:write"
    BALANCES_DELETE = "balances:delete"
    BALANCES_CREATE_INDICATOR = "balances:create_indicator"
    """Post to an ``@Name`` that does not exist yet."""
    TRANSACTIONS_READ = "transactions:read"
    TRANSACTIONS_WRITE = "transactions:write"
    """Change the metadata of a transaction. As a scope it covers all of ``transactions`` but an overdraft."""
    TRANSACTIONS_POST = "transactions:post"
    TRANSACTIONS_POST_OVERDRAFT = "transactions:post_overdraft"
    """Post what may take its source below zero. ``transactions:write`` does not cover it."""
    TRANSACTIONS_COMMIT = "transactions:commit"
    """Commit a hold."""
    TRANSACTIONS_VOID = "transactions:void"
    """Void a hold."""
    TRANSACTIONS_REFUND = "transactions:refund"
    TRANSACTIONS_CANCEL = "transactions:cancel"
    """Cancel a scheduled transaction."""
    FUNDING_READ = "funding:read"
    FUNDING_CREATE = "funding:create"
    FUNDING_APPROVE = "funding:approve"
    """Approve a job that another owner's key created. ``write`` does not cover it."""
    FUNDING_CONTROL = "funding:control"
    """Pause, resume, cancel, run and retry."""
    QUEUES_READ = "queues:read"
    QUEUES_RECOVER = "queues:recover"
    """Decide what waits too long."""
    EVENTS_READ = "events:read"
    """Read the feed of events, which tells of everything that the key reaches."""
    VERIFY_READ = "verify:read"
    AUDIT_READ = "audit:read"
    METRICS_READ = "metrics:read"
    """Read the metrics, and the parts that the service is made of."""
    API_KEYS_READ = "api-keys:read"
    API_KEYS_WRITE = "api-keys:write"
    API_KEYS_DELETE = "api-keys:delete"
    METADATA_READ = "metadata:read"
    METADATA_WRITE = "metadata:write"
    METADATA_DELETE = "metadata:delete"
    IDENTITIES_READ = "identities:read"
    IDENTITIES_WRITE = "identities:write"
    IDENTITIES_DELETE = "identities:delete"
    IDENTITIES_DETOKENIZE = "identities:detokenize"
    """Read what is tokenized. Neither ``read`` nor ``write`` covers it."""
    ACCOUNTS_READ = "accounts:read"
    ACCOUNTS_WRITE = "accounts:write"
    ACCOUNTS_DELETE = "accounts:delete"
    BALANCE_MONITORS_READ = "balance-monitors:read"
    BALANCE_MONITORS_WRITE = "balance-monitors:write"
    BALANCE_MONITORS_DELETE = "balance-monitors:delete"
    HOOKS_READ = "hooks:read"
    HOOKS_WRITE = "hooks:write"
    HOOKS_DELETE = "hooks:delete"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    SEARCH_READ = "search:read"
    SEARCH_WRITE = "search:write"
    SEARCH_DELETE = "search:delete"
    RECONCILIATION_READ = "reconciliation:read"
    RECONCILIATION_WRITE = "reconciliation:write"
    RECONCILIATION_DELETE = "reconciliation:delete"
    BACKUP_READ = "backup:read"
    BACKUP_WRITE = "backup:write"
    BACKUP_DELETE = "backup:delete"


_NOT_BY_WRITE = frozenset({"approve", "delete", "detokenize", "post_overdraft", "read"})
"""The actions that ``write`` of their resource does not stand for."""

BY_WRITE = frozenset(
    right
    for right in Right
    if right.partition(":")[2] not in _NOT_BY_WRITE or right is Right.TRANSACTIONS_READ  # As Blnk's clients ask for it.
)
"""The rights that ``write`` of their resource stands for."""


class Part(StrEnum):
    """The parts of the service that do something in somebody's name."""

    WEB = "web"
    """A request did it."""
    TICK = "tick"
    """It was due: a scheduled transaction, or the date of a hold."""
    FUNDING = "funding"
    """A run of a funding job did it."""
    COMMAND = "command"
    """A command that works on the database itself did it."""


class Reach(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The bounds of a key. None stands for everything."""

    ledgers: tuple[str, ...] | None = None
    """The IDs of ledgers."""
    indicators: tuple[str, ...] | None = None
    """The names of internal balances, such as @FundingPool."""
    networks: tuple[str, ...] | None = None
    """The networks that requests may come from, such as 10.0.0.0/8."""
    largest_amount: Decimal | dict[str, Decimal] | None = None
    """The largest amount of one transaction in major units: one for all currencies, or one for each.

    With one for each, the other currencies are out of reach.
    """
    largest_overdraft: Decimal | dict[str, Decimal] | None = None
    """The furthest below zero that a transaction may take its source, likewise."""
    rate: str | None = None
    """The requests a second, and after a slash how many at once: 50/100."""

    @property
    def bounds_balances(self) -> bool:
        """Whether there may be balances out of reach."""
        return self.ledgers is not None or self.indicators is not None

    @property
    def bounds_money(self) -> bool:
        """Whether there may be amounts or overdrafts out of reach."""
        return self.largest_amount is not None or self.largest_overdraft is not None


EVERYTHING = Reach()


class Caps(Struct, frozen=True):
    """How much of what stays a stored key may make. None stands for no limit."""

    new_names: int | None = None
    """The ``@Names`` that it may create in an hour."""
    active_jobs: int | None = None
    """Its funding jobs that are not over."""


NO_CAPS = Caps()

KEY_PREFIX = "api_key_"
"""The IDs of stored keys begin so."""


class Actor(Struct, frozen=True, kw_only=True):
    """A key that acts, and the part of the service through which it does."""

    key_id: str
    owner: str
    name: str = ""
    scopes: tuple[str, ...] = ()
    rights: frozenset[Right] = frozenset()
    """The rights that the scopes cover."""
    reach: Reach = EVERYTHING
    rate: Rate | None = None
    """The rate of its reach."""
    expires_at: datetime | None = None
    caps: Caps = NO_CAPS
    part: Part = Part.WEB

    @property
    def is_stored(self) -> bool:
        """Whether it is a key of the table of keys, which has an owner and bounds."""
        return self.key_id.startswith(KEY_PREFIX)

    def may(self, right: Right) -> bool:
        """Tell whether its scopes cover a right."""
        return right in self.rights

    def require(self, right: Right) -> None:
        """Refuse what its scopes do not cover.

        Raises:
            Forbidden: they do not cover the right.
        """
        if right not in self.rights:
            raise Forbidden(right)

    def through(self, part: Part) -> "Actor":
        """Return the same actor, for what a part of the service does in its name."""
        return replace(self, part=part)


ALL_SCOPES = (f"{ANY}:{ANY}",)


def grants(scope: str, wanted: str) -> bool:
    """Tell whether a scope covers a right or another scope. A wildcard covers what it stands for, and never the other way."""
    resource, _, action = scope.partition(":")
    wanted_resource, _, wanted_action = wanted.partition(":")
    if resource not in (ANY, wanted_resource):
        return False
    return action in (ANY, wanted_action) or (action == WRITE and wanted in BY_WRITE)


@lru_cache(maxsize=1024)
def rights_of(scopes: tuple[str, ...]) -> frozenset[Right]:
    """Return the rights that scopes cover."""
    return frozenset(right for right in Right if any(grants(scope, right) for scope in scopes))


SCOPES = frozenset(
    {
        *Right,
        *(f"{right.partition(':')[0]}:{ANY}" for right in Right),
        *(f"{right.partition(':')[0]}:{WRITE}" for right in BY_WRITE),
        *(f"{ANY}:{right.partition(':')[2]}" for right in Right),
        *ALL_SCOPES,
    }
)
"""All scopes that there are."""


def nearest_scope(text: str) -> str | None:
    """Find the scope that a misspelt one is most like, or return None if none is much like it."""
    near = text.lower()[:64] if ":" in text else f"{text.lower()[:64]}:{ANY}"
    return next(iter(get_close_matches(near, sorted(SCOPES), n=1, cutoff=0.6)), None)


def with_all_rights(key_id: str, *, part: Part = Part.WEB) -> Actor:
    """Make an actor that may do everything, and owns itself."""
    return Actor(key_id=key_id, owner=key_id, name=key_id, scopes=ALL_SCOPES, rights=rights_of(ALL_SCOPES), part=part)


MASTER = with_all_rights("master")
"""Whoever has PACIOLI_SECRET_KEY."""
ANONYMOUS = with_all_rights("anonymous")
"""Whoever asks a service that needs no key."""
SERVICE = with_all_rights("service", part=Part.COMMAND)
"""The service itself: a command on the database, or a part that works for nobody in particular."""
TICK = with_all_rights("service", part=Part.TICK)
"""Settles what is due, where it is not known who asked for it."""
NOBODY = Actor(key_id="", owner="")
"""Who has shown no key yet. It may do nothing."""

_current: ContextVar[Actor] = ContextVar("actor", default=SERVICE)


def current() -> Actor:
    """Return who acts now. A program that has bound nobody, such as a command, acts for the service."""
    return _current.get()


def reach_of_request() -> Reach:
    """Return the reach of the key whose request this is, and everything if this is no request."""
    actor = current()
    return actor.reach if actor.part is Part.WEB else EVERYTHING


def bind(actor: Actor) -> Token[Actor]:
    """Act for somebody from now on, in this thread. ``unbind`` takes the result."""
    return _current.set(actor)


def unbind(before: Token[Actor]) -> None:
    """Act for whoever was bound before."""
    _current.reset(before)


@contextmanager
def acting_for(actor: Actor) -> Iterator[None]:
    """Act for somebody within a block."""
    token = _current.set(actor)
    try:
        yield
    finally:
        _current.reset(token)


def require(rights: Iterable[Right]) -> None:
    """Refuse what the current actor may not do.

    Raises:
        Forbidden: its scopes do not cover one of the rights.
    """
    actor = current()
    for right in rights:
        actor.require(right)
