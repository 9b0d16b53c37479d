"""The one table of what each route asks of a key. A route that is not in it is closed to every key but the master key.

A route with several rights asks for one of them, and its use case asks for the one that the request needs. What only the body
of a request tells, such as an overdraft, is asked for where the body is understood.
"""

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_network

from flask import Flask, Response, request

from core.base.actors import EVERYTHING, Actor, Right
from core.base.errors import ErrorCode, Forbidden
from web.http import errors, operations
from web.http.proxies import address_of

RIGHTS: dict[str, tuple[Right, ...]] = {
    "POST /transactions": (Right.TRANSACTIONS_POST,),
    "POST /transactions/bulk": (Right.TRANSACTIONS_POST,),
    "GET /transactions": (Right.TRANSACTIONS_READ,),
    "GET /transactions/<transaction_id>": (Right.TRANSACTIONS_READ,),
    "GET /transactions/<transaction_id>/receipt": (Right.TRANSACTIONS_READ,),
    "GET /transactions/<transaction_id>/lineage": (Right.TRANSACTIONS_READ,),
    "GET /transactions/reference/<rest:reference>": (Right.TRANSACTIONS_READ,),
    "POST /transactions/filter": (Right.TRANSACTIONS_READ,),
    "DELETE /transactions/<transaction_id>": (Right.TRANSACTIONS_CANCEL,),
    "PUT /transactions/inflight/<transaction_id>": (Right.TRANSACTIONS_COMMIT, Right.TRANSACTIONS_VOID),
    "POST /transactions/inflight/bulk/commit": (Right.TRANSACTIONS_COMMIT,),
    "POST /transactions/inflight/bulk/void": (Right.TRANSACTIONS_VOID,),
    "POST /refund-transaction/<transaction_id>": (Right.TRANSACTIONS_REFUND,),
    "POST /transactions/recover": (Right.QUEUES_RECOVER,),
    "GET /queues": (Right.QUEUES_READ,),
    "POST /balances": (Right.BALANCES_WRITE,),
    "GET /balances": (Right.BALANCES_READ,),
    "GET /balances/<balance_id>": (Right.BALANCES_READ,),
    "GET /balances/indicator/<path:indicator>/currency/<currency>": (Right.BALANCES_READ,),
    "POST /balances/filter": (Right.BALANCES_READ,),
    "PUT /balances/<balance_id>/identity": (Right.BALANCES_WRITE,),
    "PUT /balances/<balance_id>/limits": (Right.BALANCES_WRITE,),
    "GET /balances/<balance_id>/limits": (Right.BALANCES_READ,),
    "GET /balances/<balance_id>/lineage": (Right.BALANCES_READ,),
    "GET /balances/<balance_id>/entries": (Right.BALANCES_READ,),
    "GET /balances/<balance_id>/at": (Right.BALANCES_READ,),
    "GET /balances/<balance_id>/statement": (Right.BALANCES_READ,),
    "GET /balances/<balance_id>/statement/receipt": (Right.TRANSACTIONS_READ,),
    "GET /books": (Right.BALANCES_READ,),
    "GET /currencies": (Right.BALANCES_READ,),
    "GET /flows": (Right.BALANCES_READ,),
    "GET /flows/<node_id>": (Right.BALANCES_READ,),
    "GET /activity": (Right.TRANSACTIONS_READ,),
    "PUT /currencies/<path:currency>": (Right.LEDGERS_WRITE,),
    "POST /balances-snapshots": (Right.BALANCES_WRITE,),
    "POST /ledgers": (Right.LEDGERS_WRITE,),
    "PUT /ledgers/<ledger_id>": (Right.LEDGERS_WRITE,),
    "GET /ledgers/<ledger_id>": (Right.LEDGERS_READ,),
    "GET /ledgers": (Right.LEDGERS_READ,),
    "POST /ledgers/filter": (Right.LEDGERS_READ,),
    "POST /<entity_id>/metadata": (
        Right.METADATA_WRITE,
        Right.TRANSACTIONS_WRITE,
        Right.BALANCES_WRITE,
        Right.LEDGERS_WRITE,
        Right.IDENTITIES_WRITE,
        Right.BALANCE_MONITORS_WRITE,
        Right.FUNDING_CONTROL,
    ),
    "POST /funding-jobs": (Right.FUNDING_CREATE,),
    "POST /funding-jobs/rejects": (Right.FUNDING_CREATE,),
    "GET /funding-jobs": (Right.FUNDING_READ,),
    "GET /funding-jobs/<job_id>": (Right.FUNDING_READ,),
    "GET /funding-jobs/reference/<rest:reference>": (Right.FUNDING_READ,),
    "POST /funding-jobs/<job_id>/pause": (Right.FUNDING_CONTROL,),
    "POST /funding-jobs/<job_id>/resume": (Right.FUNDING_CONTROL,),
    "POST /funding-jobs/<job_id>/cancel": (Right.FUNDING_CONTROL,),
    "POST /funding-jobs/<job_id>/approve": (Right.FUNDING_APPROVE,),
    "POST /funding-jobs/<job_id>/refuse": (Right.FUNDING_APPROVE,),
    "POST /funding-jobs/<job_id>/run": (Right.FUNDING_CONTROL,),
    "GET /funding-jobs/<job_id>/runs": (Right.FUNDING_READ,),
    "GET /funding-jobs/<job_id>/runs/<run_id>": (Right.FUNDING_READ,),
    "GET /funding-jobs/<job_id>/runs/<run_id>/rows": (Right.FUNDING_READ,),
    "POST /funding-jobs/<job_id>/runs/<run_id>/retry": (Right.FUNDING_CONTROL,),
    "POST /identities": (Right.IDENTITIES_WRITE,),
    "GET /identities": (Right.IDENTITIES_READ,),
    "POST /identities/filter": (Right.IDENTITIES_READ,),
    "GET /identities/<identity_id>": (Right.IDENTITIES_READ,),
    "PUT /identities/<identity_id>": (Right.IDENTITIES_WRITE,),
    "DELETE /identities/<identity_id>": (Right.IDENTITIES_DELETE,),
    "POST /identities/<identity_id>/erase": (Right.IDENTITIES_DELETE,),
    "POST /identities/<identity_id>/tokenize": (Right.IDENTITIES_WRITE,),
    "POST /identities/<identity_id>/tokenize/<field>": (Right.IDENTITIES_WRITE,),
    "GET /identities/<identity_id>/tokenized-fields": (Right.IDENTITIES_READ,),
    "POST /identities/<identity_id>/detokenize": (Right.IDENTITIES_DETOKENIZE,),
    "GET /identities/<identity_id>/detokenize/<field>": (Right.IDENTITIES_DETOKENIZE,),
    "GET /events": (Right.EVENTS_READ,),
    "POST /balance-monitors": (Right.BALANCE_MONITORS_WRITE,),
    "GET /balance-monitors": (Right.BALANCE_MONITORS_READ,),
    "GET /balance-monitors/balances/<balance_id>": (Right.BALANCE_MONITORS_READ,),
    "GET /balance-monitors/<monitor_id>": (Right.BALANCE_MONITORS_READ,),
    "PUT /balance-monitors/<monitor_id>": (Right.BALANCE_MONITORS_WRITE,),
    "DELETE /balance-monitors/<monitor_id>": (Right.BALANCE_MONITORS_DELETE,),
    "GET /balance-monitors/<monitor_id>/events": (Right.BALANCE_MONITORS_READ,),
    "POST /webhooks": (Right.WEBHOOKS_WRITE,),
    "GET /webhooks": (Right.WEBHOOKS_READ,),
    "GET /webhooks/<webhook_id>": (Right.WEBHOOKS_READ,),
    "PUT /webhooks/<webhook_id>": (Right.WEBHOOKS_WRITE,),
    "DELETE /webhooks/<webhook_id>": (Right.WEBHOOKS_WRITE,),
    "GET /webhooks/<webhook_id>/deliveries": (Right.WEBHOOKS_READ,),
    "POST /webhooks/<webhook_id>/replay": (Right.WEBHOOKS_WRITE,),
    "POST /webhooks/<webhook_id>/test": (Right.WEBHOOKS_WRITE,),
    "POST /webhooks/<webhook_id>/rotate": (Right.WEBHOOKS_WRITE,),
    "POST /hooks": (Right.HOOKS_WRITE,),
    "GET /hooks": (Right.HOOKS_READ,),
    "GET /hooks/<hook_id>": (Right.HOOKS_READ,),
    "PUT /hooks/<hook_id>": (Right.HOOKS_WRITE,),
    "DELETE /hooks/<hook_id>": (Right.HOOKS_DELETE,),
    "GET /audit": (Right.AUDIT_READ,),
    "POST /audit/filter": (Right.AUDIT_READ,),
    "GET /verify": (Right.VERIFY_READ,),
    "GET /parts": (Right.METRICS_READ,),
    "GET /metrics": (Right.METRICS_READ,),
    "POST /api-keys": (Right.API_KEYS_WRITE,),
    "GET /api-keys": (Right.API_KEYS_READ,),
    "POST /api-keys/<key_id>/rotate": (Right.API_KEYS_WRITE,),
    "DELETE /api-keys/<key_id>": (Right.API_KEYS_DELETE,),
}
"""The rights by method and rule."""

ByEndpoint = Mapping[str, Mapping[str, tuple[Right, ...]]]


def by_endpoint(app: Flask) -> ByEndpoint:
    """Index the table by endpoint and method. Who may GET may HEAD."""
    found: dict[str, dict[str, tuple[Right, ...]]] = {}
    for rule in app.url_map.iter_rules():
        for method in rule.methods or ():
            rights = RIGHTS.get(f"{'GET' if method == 'HEAD' else method} {rule.rule}")
            if rights is not None:
                found.setdefault(rule.endpoint, {})[method] = rights
    return found


def resources(app: Flask) -> frozenset[str]:
    """Return the first steps of all paths that need a key."""
    rules = app.url_map.iter_rules()
    closed = [rule.rule for rule in rules if not operations.of_view(app.view_functions[rule.endpoint]).open]
    return frozenset(step for rule in closed if (step := rule.split("/")[1])[:1] != "<")


WITHIN_REACH = frozenset(
    {
        "POST /transactions",
        "POST /transactions/bulk",
        "GET /transactions",
        "GET /transactions/<transaction_id>",
        "GET /transactions/<transaction_id>/receipt",
        "GET /transactions/<transaction_id>/lineage",
        "GET /transactions/reference/<rest:reference>",
        "POST /transactions/filter",
        "DELETE /transactions/<transaction_id>",
        "PUT /transactions/inflight/<transaction_id>",
        "POST /transactions/inflight/bulk/commit",
        "POST /transactions/inflight/bulk/void",
        "POST /refund-transaction/<transaction_id>",
        "POST /balances",
        "GET /balances",
        "GET /balances/<balance_id>",
        "GET /balances/indicator/<path:indicator>/currency/<currency>",
        "POST /balances/filter",
        "PUT /balances/<balance_id>/identity",
        "PUT /balances/<balance_id>/limits",
        "GET /balances/<balance_id>/limits",
        "GET /balances/<balance_id>/lineage",
        "GET /balances/<balance_id>/entries",
        "GET /balances/<balance_id>/at",
        "GET /balances/<balance_id>/statement",
        "GET /books",
        "GET /currencies",
        "GET /flows",
        "GET /flows/<node_id>",
        "POST /ledgers",
        "PUT /ledgers/<ledger_id>",
        "GET /ledgers/<ledger_id>",
        "GET /ledgers",
        "POST /ledgers/filter",
        "POST /<entity_id>/metadata",
        "GET /identities",
        "POST /identities/filter",
        "GET /identities/<identity_id>",
        "GET /identities/<identity_id>/tokenized-fields",
        "POST /identities/<identity_id>/detokenize",
        "GET /identities/<identity_id>/detokenize/<field>",
        "GET /events",
        "POST /funding-jobs",
        "POST /funding-jobs/rejects",
        "GET /funding-jobs",
        "GET /funding-jobs/<job_id>",
        "GET /funding-jobs/reference/<rest:reference>",
        "POST /funding-jobs/<job_id>/pause",
        "POST /funding-jobs/<job_id>/resume",
        "POST /funding-jobs/<job_id>/cancel",
        "POST /funding-jobs/<job_id>/approve",
        "POST /funding-jobs/<job_id>/refuse",
        "POST /funding-jobs/<job_id>/run",
        "GET /funding-jobs/<job_id>/runs",
        "GET /funding-jobs/<job_id>/runs/<run_id>",
        "GET /funding-jobs/<job_id>/runs/<run_id>/rows",
        "POST /funding-jobs/<job_id>/runs/<run_id>/retry",
        "POST /balance-monitors",
        "GET /balance-monitors",
        "GET /balance-monitors/balances/<balance_id>",
        "GET /balance-monitors/<monitor_id>",
        "PUT /balance-monitors/<monitor_id>",
        "DELETE /balance-monitors/<monitor_id>",
        "GET /balance-monitors/<monitor_id>/events",
        "POST /api-keys",
        "GET /api-keys",
        "POST /api-keys/<key_id>/rotate",
        "DELETE /api-keys/<key_id>",
    }
)
"""The routes that keep a key to its ledgers and internal balances. Their use cases take the conditions from
``core/ledger/store/reach.py``. What is out of reach is not there, and lists leave it out."""

_WHOLE = "it is about the whole ledger, and the key reaches a part of it"
_SHARED = "what it changes counts for balances out of reach too"
_TOLD = "a webhook is told of the whole ledger"
_MASTER = "hook management requires master key"

OUT_OF_REACH: dict[str, str] = {
    "POST /transactions/recover": _WHOLE,
    "GET /queues": _WHOLE,
    "GET /activity": _WHOLE,
    "GET /verify": _WHOLE,
    "GET /balances/<balance_id>/statement/receipt": "it shows whole transactions, whose other side may be out of reach",
    "GET /audit": _WHOLE,
    "POST /audit/filter": _WHOLE,
    "GET /parts": _WHOLE,
    "GET /metrics": _WHOLE,
    "POST /balances-snapshots": _WHOLE,
    "POST /webhooks": _TOLD,
    "GET /webhooks": _TOLD,
    "GET /webhooks/<webhook_id>": _TOLD,
    "PUT /webhooks/<webhook_id>": _TOLD,
    "DELETE /webhooks/<webhook_id>": _TOLD,
    "GET /webhooks/<webhook_id>/deliveries": _TOLD,
    "POST /webhooks/<webhook_id>/replay": _TOLD,
    "POST /webhooks/<webhook_id>/test": _TOLD,
    "POST /webhooks/<webhook_id>/rotate": _TOLD,
    "POST /hooks": _MASTER,
    "GET /hooks": _MASTER,
    "GET /hooks/<hook_id>": _MASTER,
    "PUT /hooks/<hook_id>": _MASTER,
    "DELETE /hooks/<hook_id>": _MASTER,
    "PUT /currencies/<path:currency>": _SHARED,
    "POST /identities": "an identity is in reach by a balance of it, and a new one has none",
    "PUT /identities/<identity_id>": _SHARED,
    "DELETE /identities/<identity_id>": _SHARED,
    "POST /identities/<identity_id>/erase": _SHARED,
    "POST /identities/<identity_id>/tokenize": _SHARED,
    "POST /identities/<identity_id>/tokenize/<field>": _SHARED,
}
"""The routes that are closed to a key that is bound to ledgers or internal balances, and why."""


def beyond_reach(actor: Actor, address: str) -> Response | None:
    """Refuse a request from elsewhere than the networks of a key, and by a route that does not keep it within its reach."""
    reach = actor.reach
    if reach is EVERYTHING or reach == EVERYTHING:
        return None
    if reach.networks is not None and not _is_in(address, reach.networks):
        return errors.error_response(
            ErrorCode.AUTH_INSUFFICIENT_PERMISSIONS, "this key may not be used from this address"
        )
    route = f"{'GET' if request.method == 'HEAD' else request.method} {request.url_rule}"
    if request.url_rule is None or request.method == "OPTIONS":
        return None
    if reach.bounds_balances and route not in WITHIN_REACH:
        why = OUT_OF_REACH.get(route, "it does not keep to the reach of a key")
        text = f"{route} is closed to this key: {why}. Use a key without that bound"
        return errors.error_response(ErrorCode.AUTH_INSUFFICIENT_PERMISSIONS, text)
    return None


@lru_cache(maxsize=4096)
def _is_in(address: str, networks: tuple[str, ...]) -> bool:
    found = address_of(address)
    return found is not None and any(found in ip_network(network) for network in networks)


def refusal(actor: Actor, table: ByEndpoint, known: frozenset[str]) -> Response | None:
    """Refuse the request when the actor's scopes do not cover its route. A path that is nothing has Blnk's own code."""
    endpoint = request.endpoint
    if endpoint is None:
        if request.path.split("/")[1] in known:
            return None  # The route of the request is missing, or its method, and the answer says what there is.
        return errors.error_response(ErrorCode.AUTH_UNKNOWN_RESOURCE, "Unknown resource type")
    if endpoint.startswith("hooks."):  # As in Blnk. A hook signs with the master key, and the scopes wait for better.
        return errors.error_response(ErrorCode.AUTH_MASTER_KEY_REQUIRED, _MASTER)
    rights = table.get(endpoint, _NO_METHODS).get(request.method)
    if rights is None:
        where = f"{request.method} {request.url_rule}"
        return errors.error_response(
            ErrorCode.AUTH_INSUFFICIENT_PERMISSIONS, f"Insufficient permissions for {where}: only the master key may"
        )
    for right in rights:
        if right in actor.rights:
            return None
    refused = Forbidden(rights[0])
    return errors.error_response(refused.code, refused.message, details=refused.details)


_NO_METHODS: Mapping[str, tuple[Right, ...]] = {}
