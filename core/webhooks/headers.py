"""Makes what a delivery carries beside its body: the keys that sign it, and the endpoint's own headers."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from core.webhooks.kinds import CALLBACK, DEFAULT, HOOKS
from core.webhooks.operator import Operator
from core.webhooks.signing import Key, Safe
from core.webhooks.store import WebhookRow


def keys_of(row: WebhookRow, safe: Safe, operator: Operator, now: datetime) -> list[Key]:
    """Return the keys that sign for an endpoint, the newest first.

    Raises:
        Unreadable: they were sealed under another pepper.
    """
    if row.kind in (DEFAULT, CALLBACK) or row.kind in HOOKS:
        return [] if operator.master_key is None else [Key(operator.master_key)]
    keys = [] if row.secret is None else [Key(safe.open(row.webhook_id, row.secret))]
    if row.old_secret is not None and row.old_secret_ends_at is not None and row.old_secret_ends_at > now:
        keys.append(Key(safe.open(row.webhook_id, row.old_secret)))
    return keys


def headers_of(row: WebhookRow, safe: Safe, operator: Operator) -> dict[str, str]:
    """Return the headers that an endpoint adds.

    Raises:
        Unreadable: they were sealed under another pepper.
    """
    if row.kind == DEFAULT:
        return dict(operator.headers)
    if row.headers is None:
        return {}
    return msgspec.json.decode(safe.open(row.webhook_id, row.headers), type=dict[str, str])


def merged(headers: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Add an endpoint's own headers, which replace others of the same name, as in Blnk."""
    names = {name.lower() for name in own}
    return {**{name: value for name, value in headers.items() if name.lower() not in names}, **own}
