"""The client's answers against the service's own: no field is missing, and none may be null or left out unforeseen."""

from typing import get_args, get_type_hints

import pytest
from msgspec import Struct, UnsetType
from msgspec.structs import fields
from pacioli_client.answers import audit as client_audit
from pacioli_client.answers import balances, service, transactions
from pacioli_client.answers import events as client_events
from pacioli_client.answers import flows as client_flows
from pacioli_client.answers import funding as client_funding
from pacioli_client.answers import identities as client_identities
from pacioli_client.answers import keys as client_keys
from pacioli_client.answers import ledgers as client_ledgers
from pacioli_client.answers import monitors as client_monitors
from pacioli_client.answers import webhooks as client_webhooks

from core.events import answers as events
from core.flows import answers as flows
from core.funding import answers as funding
from core.funding import dry_run_answers
from core.funding.files import found
from core.identities.answers import Identity
from core.journal.answers import AuditEntry
from core.keys import answers as keys
from core.ledger import answers as ledger
from core.ledger import batch_answers as batches
from core.ledger import books, currencies, statement
from core.ledger.balances import Balance, Entry, Limits
from core.ledger.ledgers import Ledger
from core.ledger.limits import BalanceLimits
from core.monitors import answers as monitors
from core.verification.answers import CheckpointUsed, Verification
from core.verification.report import Problem
from core.webhooks import answers as webhooks

PAIRS: list[tuple[type[Struct], type[Struct]]] = [
    (ledger.Step, transactions.Step),
    (ledger.Place, transactions.QueuePosition),
    (ledger.RejectionAnswer, transactions.Rejection),
    (ledger.Settled, transactions.HoldAmounts),
    (ledger.SplitLeg, transactions.SplitLeg),
    (ledger.Transaction, transactions.Transaction),
    (batches.Batch, transactions.Batch),
    (batches.BatchAccepted, transactions.BatchAccepted),
    (ledger.Queue, service.Queue),
    (Balance, balances.Balance),
    (funding.FundedBalance, balances.Balance),
    (funding.PoolWatch, balances.NextRun),
    (Limits, balances.Limits),
    (BalanceLimits, balances.BalanceLimits),
    (Entry, balances.Entry),
    (statement.Statement, balances.Statement),
    (books.BooksLine, balances.BooksLine),
    (books.CurrencyBooks, balances.CurrencyBooks),
    (currencies.Currency, balances.Currency),
    (AuditEntry, client_audit.AuditEntry),
    (events.Event, client_events.Event),
    (events.Held, client_events.Held),
    (events.Page, client_events.EventPage),
    (flows.FlowNode, client_flows.FlowNode),
    (flows.Flow, client_flows.Flow),
    (flows.Gathered, client_flows.Gathered),
    (flows.Flows, client_flows.Flows),
    (flows.NodeSides, client_flows.NodeSides),
    (flows.FlowsOfNode, client_flows.FlowsOfNode),
    (flows.ActivityMinute, client_flows.ActivityMinute),
    (flows.Activity, client_flows.Activity),
    (keys.ApiKey, client_keys.ApiKey),
    (keys.Pending, client_keys.PendingOfKey),
    (keys.Revoked, client_keys.RevokedKey),
    (Ledger, client_ledgers.Ledger),
    (Identity, client_identities.Identity),
    (monitors.Condition, client_monitors.Condition),
    (monitors.MonitorState, client_monitors.MonitorState),
    (monitors.Monitor, client_monitors.Monitor),
    (monitors.Crossed, client_monitors.Crossed),
    (monitors.FiringDelivery, client_monitors.FiringDelivery),
    (monitors.Firing, client_monitors.Firing),
    (webhooks.Webhook, client_webhooks.Webhook),
    (webhooks.Delivery, client_webhooks.Delivery),
    (webhooks.Replay, client_webhooks.Replay),
    (webhooks.Tested, client_webhooks.Tested),
    (found.FileRead, client_funding.FileRead),
    (funding.FundingJob, client_funding.Job),
    (funding.NewFundingJob, client_funding.Job),
    (funding.FundingJobRead, client_funding.Job),
    (funding.FundingRun, client_funding.Run),
    (funding.CountedRun, client_funding.Run),
    (funding.PoolForecast, client_funding.PoolForecast),
    (funding.KeptRule, client_funding.KeptRule),
    (funding.FundingRow, client_funding.Row),
    (dry_run_answers.FundingDryRun, client_funding.DryRun),
    (dry_run_answers.RejectedRow, client_funding.RejectedRow),
    (dry_run_answers.PoolAfter, client_funding.PoolAfter),
    (Verification, service.Verification),
    (CheckpointUsed, service.CheckpointUsed),
    (Problem, service.Damage),
]


@pytest.mark.parametrize(("sent", "understood"), PAIRS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_what_the_service_sends_the_client_understands(sent: type[Struct], understood: type[Struct]) -> None:
    theirs, ours = get_type_hints(sent), get_type_hints(understood)
    for field in fields(sent):
        assert field.name in ours
        for absence in (type(None), UnsetType):
            if absence in get_args(theirs[field.name]):
                assert absence in get_args(ours[field.name]), f"{field.name} may be {absence.__name__}"
    sent_always = {field.encode_name for field in fields(sent)}
    assert {field.encode_name for field in fields(understood) if field.required} <= sent_always
