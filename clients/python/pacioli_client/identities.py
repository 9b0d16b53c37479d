"""Identities: create, read, change, delete, erase, list, tokens, and whose a balance is."""

import builtins
from collections.abc import Sequence
from typing import Any

from pacioli_client.answers.identities import Identity
from pacioli_client.calls import Listed, Resource, W, call, listing
from pacioli_client.wire import Plan, Request, ask, escaped


class Identities(Resource[W]):
    """The requests of ``/identities``. Fields have the names of the API, such as ``first_name``."""

    @call
    def create(self, /, **fields: Any) -> Plan[Identity]:
        """Create an identity. Give an ``identity_id`` of your own to be able to repeat a request whose answer was lost."""
        return ask(Identity, Request("POST", "/identities", fields, safe=False))

    @call
    def read(self, identity_id: str) -> Plan[Identity]:
        """Return an identity by its id."""
        return ask(Identity, Request("GET", f"/identities/{escaped(identity_id)}"))

    @call
    def update(self, /, identity_id: str, **fields: Any) -> Plan[Identity]:
        """Change fields. An empty text leaves a field as it is, and None blanks it."""
        return ask(Identity, Request("PUT", f"/identities/{escaped(identity_id)}", fields))

    @call
    def delete(self, identity_id: str) -> Plan[str]:
        """Delete an identity that no balance belongs to, and return what the service says."""
        return _said(Request("DELETE", f"/identities/{escaped(identity_id)}"))

    @call
    def erase(self, identity_id: str) -> Plan[Identity]:
        """Forget a person. The id and the balances stay."""
        return ask(Identity, Request("POST", f"/identities/{escaped(identity_id)}/erase"))

    @listing
    def list(self, /, *, limit: int = 100, **filters: Any) -> Listed[Identity]:
        """Iterate over the identities that match, newest first. A filter is ``field_operator=value``."""
        return Listed(Identity, "/identities", {"limit": limit, **filters})

    @call
    def link(self, balance_id: str, identity_id: str | None) -> Plan[str]:
        """Give a balance to an identity, or to none, and return what the service says."""
        path = f"/balances/{escaped(balance_id)}/identity"
        return _said(Request("PUT", path, {"identity_id": identity_id}))

    @call
    def tokenize(self, identity_id: str, fields: Sequence[str]) -> Plan[str]:
        """Put tokens in the place of fields, all or none, and return what the service says."""
        return _said(Request("POST", f"/identities/{escaped(identity_id)}/tokenize", {"fields": [*fields]}, safe=False))

    @call
    def tokenized_fields(self, identity_id: str) -> Plan[builtins.list[str]]:
        """Return the names of the fields that have a token."""
        path = f"/identities/{escaped(identity_id)}/tokenized-fields"
        answer = yield from ask(dict[str, Any], Request("GET", path))
        return [str(name) for name in answer["tokenized_fields"]]

    @call
    def detokenize(self, identity_id: str, fields: Sequence[str] = ()) -> Plan[dict[str, str]]:
        """Return the clear texts of tokenized fields, or of all of them. The audit log has a row of it."""
        path = f"/identities/{escaped(identity_id)}/detokenize"
        answer = yield from ask(dict[str, Any], Request("POST", path, {"fields": [*fields]}))
        clear: dict[str, str] = answer["fields"]
        return clear


def _said(request: Request) -> Plan[str]:
    answer = yield from ask(dict[str, Any], request)
    return str(answer["message"])
