"""Defines the requests of webhooks and hooks. The fields are optional, because one answer names all that are missing."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

_URL = Meta(description="Where events are posted: https://, or http:// for tests. The address must be a public one.")
_EVENTS = Meta(
    description="The types of events, with * as a wildcard, such as transaction.*. transaction.queued comes only by its name. "
    "The default is all of them."
)
_SECRET = Meta(description="whsec_ and the base64 of 24 to 64 bytes. One is made when it is left out, which is better.")
_HEADERS = Meta(description="Headers to add, such as Authorization. Their values are never shown again.")
_ORDERED = Meta(
    description="true sends one event at a time, in the order of the feed. The others wait for one that fails."
)
_ACTIVE = Meta(description="false sends nothing. What happens meanwhile is sent when it is true again.")
_AFTER = Meta(
    description="The cursor of the feed after which it begins. The default is the end of the feed. 0.0 is its start."
)
_FROM = Meta(description="The cursor after which events are sent once more, such as the position of a delivery.")
_TO = Meta(description="The position of the last event to send once more. The default is the last one that was sent.")
_OVERLAP = Meta(description="For so many seconds the old secret signs too. The default is a day.")


class WebhookRequest(Struct, forbid_unknown_fields=True):
    """The body of ``POST /webhooks`` and ``PUT /webhooks/<id>``. In an update, a field that is absent stays as it is."""

    url: Annotated[str, _URL] | UnsetType | None = UNSET
    events: Annotated[list[str], _EVENTS] | UnsetType | None = UNSET
    secret: Annotated[str, _SECRET] | UnsetType | None = UNSET
    headers: Annotated[dict[str, str], _HEADERS] | UnsetType | None = UNSET
    ordered: Annotated[bool, _ORDERED] | UnsetType | None = UNSET
    active: Annotated[bool, _ACTIVE] | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    after: Annotated[str, _AFTER] | UnsetType | None = UNSET


class ReplayRequest(Struct, forbid_unknown_fields=True, rename={"after": "from", "until": "to"}):
    """The body of ``POST /webhooks/<id>/replay``."""

    after: Annotated[str, _FROM] | None = None
    until: Annotated[str, _TO] | None = None


class WebhookRotateRequest(Struct, forbid_unknown_fields=True):
    """The body of ``POST /webhooks/<id>/rotate``."""

    overlap_s: Annotated[int, _OVERLAP] | None = None
    secret: Annotated[str, _SECRET] | None = None


class HookRequest(Struct, forbid_unknown_fields=True):
    """The body of ``POST /hooks`` and ``PUT /hooks/<id>``, which is the whole hook."""

    name: str | None = None
    url: Annotated[str, _URL] | None = None
    type: Annotated[str, Meta(description="PRE_TRANSACTION or POST_TRANSACTION.")] | None = None
    active: bool | None = None
    timeout: Annotated[int, Meta(description="The seconds that an answer may take. The default is 30.")] | None = None
    retry_count: (
        Annotated[int, Meta(description="The further attempts after one that failed, up to 10. The default is 3.")]
        | None
    ) = None

    mode: (
        Annotated[
            str,
            Meta(
                description="veto asks a PRE_TRANSACTION hook before POST /transactions and POST /transactions/bulk accept "
                "anything, and about nothing else: no refund, commit or void, and no row of a funding job. notify, the default, "
                "tells it after."
            ),
        ]
        | None
    ) = None
    timeout_ms: Annotated[int, Meta(description="The milliseconds that a veto may take, up to 2000.")] | None = None
    on_error: (
        Annotated[str, Meta(description="What counts when a veto does not answer: accept or reject, the default.")]
        | None
    ) = None

    # Blnk's clients send these back as they have read them, without effect.
    id: Any = None
    created_at: Any = None
    last_run: Any = None
    last_success: Any = None
