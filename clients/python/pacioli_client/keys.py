"""Keys: make, list, rotate, revoke."""

import builtins
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pacioli_client.answers.keys import ApiKey, RevokedKey
from pacioli_client.calls import Resource, W, call
from pacioli_client.wire import Plan, Request, ask, escaped


class Keys(Resource[W]):
    """The requests of ``/api-keys``."""

    @call
    def create(
        self,
        name: str,
        *,
        owner: str,
        scopes: Sequence[str],
        expires_at: datetime,
        reach: Mapping[str, Any] | None = None,
    ) -> Plan[ApiKey]:
        """Make a key. Its secret is in this answer alone, so the request is not repeated when its answer is lost."""
        body: dict[str, Any] = {"name": name, "owner": owner, "scopes": scopes, "expires_at": expires_at}
        if reach:
            body["reach"] = reach
        return ask(ApiKey, Request("POST", "/api-keys", body, safe=False))

    @call
    def list(self, owner: str | None = None, *, every: bool = False) -> Plan[builtins.list[ApiKey]]:
        """Return the keys of an owner, newest first. The master key may ask for ``every`` key."""
        params = {"owner": owner, "all": True if every else None}
        return ask(builtins.list[ApiKey], Request("GET", "/api-keys", params=params))

    @call
    def rotate(self, key_id: str, *, overlap_s: int | None = None) -> Plan[ApiKey]:
        """Give a key a new secret. The one of before works for the overlap, an hour if nothing is said."""
        body = {} if overlap_s is None else {"overlap_s": overlap_s}
        return ask(ApiKey, Request("POST", f"/api-keys/{escaped(key_id)}/rotate", body, safe=False))

    @call
    def revoke(self, key_id: str, *, owner: str | None = None, with_pending: bool = False) -> Plan[RevokedKey]:
        """Revoke a key, and return what of its is still to come. ``with_pending`` stops that too."""
        params = {"owner": owner, "with_pending": with_pending}
        return ask(RevokedKey, Request("DELETE", f"/api-keys/{escaped(key_id)}", params=params))
