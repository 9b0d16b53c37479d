"""Defines the requests about keys. The fields are optional, because one answer names all that are missing."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from core.base.actors import Reach


class KeyRequest(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A key to make."""

    name: Annotated[str, Meta(description="What the key is for.")] | None = None
    owner: (
        Annotated[str, Meta(description="Whom the key belongs to. A key makes keys for its own owner alone.")] | None
    ) = None
    scopes: (
        Annotated[
            list[str],
            Meta(
                description="What the key may do: `resource:action`, with `*` on either side for all, such as ledgers:read."
            ),
        ]
        | None
    ) = None
    expires_at: Annotated[datetime, Meta(tz=True, description="When the key ends, as an RFC 3339 time.")] | None = None
    reach: (
        Annotated[Reach, Meta(description="What the key can reach. What is left out has no limit of its own.")] | None
    ) = None


class RotateRequest(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A new secret for a key."""

    overlap_s: (
        Annotated[int, Meta(description="For so many seconds the secret of before works too. The default is 3600.")]
        | None
    ) = None
