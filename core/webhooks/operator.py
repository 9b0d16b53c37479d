"""Defines what the operator has decided about webhooks, and reads it from the settings."""

import base64
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from core.base.setting_values import headers
from core.base.settings import Settings
from core.keys.secret import pepper_from
from core.webhooks.addresses import Guard
from core.webhooks.signing import Safe


class Operator(Struct, frozen=True, kw_only=True):
    """The settings of the operator: an endpoint in the environment, and where others may lead."""

    guard: Guard = Guard()
    url: str | None = None
    """The URL of the endpoint ``default``."""
    headers: Mapping[str, str] = {}
    master_key: str | None = None
    """The key that signs for ``default`` and for hooks, as Blnk does."""

    def __repr__(self) -> str:
        return "Operator()"


def operator_of(settings: Settings) -> Operator:
    """Return what the operator has set."""
    allow = settings.webhook_allow
    guard = Guard(private=allow is True, networks=allow if isinstance(allow, tuple) else ())
    url, own = (None, {}) if settings.webhook_url is None else _without_user(settings.webhook_url.reveal())
    if settings.webhook_headers is not None:
        own |= headers(settings.webhook_headers.reveal())
    return Operator(
        guard=guard,
        url=url,
        headers=own,
        master_key=settings.secret_key.reveal() if settings.secret_key is not None else None,
    )


def _without_user(url: str) -> tuple[str, dict[str, str]]:
    """Move the user and password of a URL to the header that carries them."""
    parts = urlsplit(url)
    user, _, place = parts.netloc.rpartition("@")
    if not user:
        return url, {}
    basic = base64.b64encode(unquote(user if ":" in user else f"{user}:").encode()).decode()
    return parts._replace(netloc=place).geturl(), {"Authorization": f"Basic {basic}"}


def safe_of(settings: Settings) -> Safe | None:
    """Return the safe of secrets, under the pepper or what stands for it. None in a service that has no key."""
    if settings.pepper is not None:
        return Safe(settings.pepper.reveal().encode())
    return Safe(pepper_from(settings.secret_key.reveal())) if settings.secret_key is not None else None
