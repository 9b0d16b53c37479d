"""``/events``: the feed of everything that changed."""

import time

from flask import Blueprint, Response, request

from core.base.actors import reach_of_request
from core.base.db import reading_within
from core.events import feed
from core.events.answers import Page, Position, position_of
from core.events.types import Types, types_of
from web.http import parameters, wire
from web.http.operations import operation
from web.service import Service, service

blueprint = Blueprint("events", __name__)

END = "end"
"""The cursor of the end of the feed, whatever that is now."""

DEFAULT_LIMIT = 100
WITHIN_S = 5.0
"""A page that takes longer is given up."""

AGAIN_S = 0.02
"""The least time between two looks of one request."""

AFTER = parameters.Parameter(
    "after",
    {"type": "string", "pattern": r"^([0-9]{1,18}\.[0-9]{1,9}|end)$"},
    "The next of the page before, or the position of an event; end is the end of the feed now. Without it, the feed begins at "
    "the oldest event that is kept.",
    "0.0",
)
LIMIT = parameters.Parameter(
    "limit",
    {"type": "integer", "minimum": 1, "maximum": feed.MAX_LIMIT},
    f"The largest number of events in the page. The default is {DEFAULT_LIMIT}.",
    "5",
)
TYPES = parameters.Parameter(
    "types",
    {"type": "string"},
    "The types to read, with commas between them. A * stands for any text: transaction.*,ledger.created. The default is every "
    "type but transaction.queued, which must be named.",
    "transaction.*",
)
WAIT = parameters.Parameter(
    parameters.WAIT.name,
    parameters.WAIT.schema,
    "The longest time to wait for an event when there is none, such as 500ms, 10s or 1m.",
    parameters.WAIT.example,
)


@blueprint.get("/events")
@operation({200: Page}, 410)
@parameters.takes(AFTER, LIMIT, TYPES, WAIT)
def read_page() -> Response:
    """Read the feed of events.

    Events come in one order, which is the same at every reading. Ask again with ``after`` = ``next``. The feed ends before the
    oldest transaction that is not decided: ``held`` names it.
    """
    types = types_of(request.args.get("types", "").split(","))
    limit, _ = parameters.limit_offset(default=DEFAULT_LIMIT, largest=feed.MAX_LIMIT, what="invalid")
    deadline = time.monotonic() + parameters.wait_s()
    ledger = service()
    after = _after(ledger, types)
    while True:
        with reading_within(ledger.engine, WITHIN_S) as conn:
            page = feed.read(conn, after, limit=limit, types=types, reach=reach_of_request())
        after, left_s = position_of(page.next), deadline - time.monotonic()
        if page.events or left_s <= 0 or not (page.more or ledger.waiting.beyond(after, types, left_s)):
            return wire.answer(page)
        time.sleep(AGAIN_S)


def _after(ledger: Service, types: Types) -> Position:
    """Read the position after which the page begins."""
    text = request.args.get("after")
    if text and text != END:
        return position_of(text)
    with reading_within(ledger.engine, WITHIN_S) as conn:
        return feed.ends(conn).of(types) if text else feed.first(conn, types)
