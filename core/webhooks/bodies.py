"""Writes what is sent: Blnk's two envelopes around the text of an event, and reads how a hook judges it.

The text of an event goes out as it is, so no integer is altered on the way.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from core.events.answers import Event
from core.webhooks.kinds import HOOKS
from core.webhooks.sending import Outcome


class HookBody(Struct, frozen=True, kw_only=True):
    """The body of a hook: Blnk's keys, and those that its documentation shows."""

    transaction_id: str
    hook_type: str
    timestamp: datetime
    data: Raw
    event: str
    hook_id: str


class _Monitor(Struct):
    call_back_url: str = ""


_monitor = msgspec.json.Decoder(_Monitor).decode


class _Id(Struct):
    transaction_id: str = ""


class _Answer(Struct):
    success: Any = True


def webhook_body(type: str, data: bytes) -> bytes:
    """Write Blnk's body of a webhook: the event and its data, and nothing else."""
    return b'{"event":"%s","data":%s}' % (type.encode(), data)


def body_of(kind: str, webhook_id: str, event: Event, now: datetime) -> bytes:
    """Write the body that an endpoint gets for an event."""
    data = bytes(event.data)
    if kind not in HOOKS:
        return webhook_body(event.type, data)
    return hook_body(kind, webhook_id, event.type, data, now)


def hook_body(kind: str, hook_id: str, event: str, data: bytes, now: datetime) -> bytes:
    """Write the body that a hook gets for a transaction."""
    return msgspec.json.encode(
        HookBody(
            transaction_id=msgspec.json.decode(data, type=_Id).transaction_id,
            hook_type=HOOKS[kind],
            timestamp=now.astimezone(UTC),
            data=Raw(data),
            event=event,
            hook_id=hook_id,
        )
    )


def is_for(url: str, event: Event) -> bool:
    """Tell whether an event is a firing of a monitor that has this URL."""
    return _monitor(bytes(event.data)).call_back_url == url


def judged(kind: str, outcome: Outcome) -> Outcome:
    """Count the answer of a hook as failed when its body says ``"success": false``."""
    if kind not in HOOKS or not outcome.is_done or not refuses(outcome.body):
        return outcome
    return replace(outcome, status=None, error=f"the hook answered {outcome.status} and success: false")


def refuses(body: bytes) -> bool:
    """Tell whether the JSON of a hook's answer says that it has failed. Any other body says nothing."""
    try:
        return msgspec.json.decode(body, type=_Answer).success is False
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
