"""Reads from the settings what the operator has decided about webhooks."""

from core.base.setting_values import headers
from core.base.settings import Settings
from core.keys.secret import pepper_from
from core.webhooks.addresses import Guard
from core.webhooks.signing import Safe
from core.webhooks.turn import Operator


def operator_of(settings: Settings) -> Operator:
    """Return what the operator has set."""
    allow = settings.webhook_allow
    guard = Guard(private=allow is True, networks=allow if isinstance(allow, tuple) else ())
    return Operator(
        guard=guard,
        url=settings.webhook_url.reveal() if settings.webhook_url is not None else None,
        headers=headers(settings.webhook_headers.reveal()) if settings.webhook_headers is not None else {},
        master_key=settings.secret_key.reveal() if settings.secret_key is not None else None,
    )


def safe_of(settings: Settings) -> Safe | None:
    """Return the safe of secrets, under the pepper or what stands for it. None in a service that has no key."""
    if settings.pepper is not None:
        return Safe(settings.pepper.reveal().encode())
    return Safe(pepper_from(settings.secret_key.reveal())) if settings.secret_key is not None else None
