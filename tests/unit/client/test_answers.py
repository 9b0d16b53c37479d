"""The client's answers against the service's own: no field is missing, and none may be null or left out unforeseen."""

from typing import get_args, get_type_hints

import pytest
from msgspec import Struct, UnsetType
from msgspec.structs import fields
from pacioli_client import answers

from core.funding import answers as funding
from core.ledger import answers as ledger
from core.ledger.balances import Balance, Entry
from core.ledger.ledgers import Ledger
from core.verification.answers import CheckpointUsed, Verification
from core.verification.report import Problem

PAIRS: list[tuple[type[Struct], type[Struct]]] = [
    (ledger.Step, answers.Step),
    (ledger.Place, answers.Place),
    (ledger.RejectionAnswer, answers.Rejection),
    (ledger.Settled, answers.HoldAmounts),
    (ledger.SplitLeg, answers.LegOf),
    (ledger.Transaction, answers.Transaction),
    (ledger.Batch, answers.Batch),
    (ledger.BatchAccepted, answers.Accepted),
    (ledger.Queue, answers.Queue),
    (Balance, answers.Balance),
    (funding.FundedBalance, answers.Balance),
    (funding.PoolWatch, answers.NextRun),
    (Entry, answers.Entry),
    (Ledger, answers.Ledger),
    (funding.FundingJob, answers.Job),
    (funding.NewFundingJob, answers.Job),
    (funding.FundingJobRead, answers.Job),
    (funding.FundingRun, answers.Run),
    (funding.CountedRun, answers.Run),
    (funding.PoolForecast, answers.Outlook),
    (funding.KeptRule, answers.RuleOf),
    (funding.FundingRow, answers.Row),
    (funding.FundingDryRun, answers.DryRun),
    (funding.RejectedRow, answers.RejectedRow),
    (funding.PoolAfter, answers.PoolThen),
    (Verification, answers.Verification),
    (CheckpointUsed, answers.CheckpointOf),
    (Problem, answers.Damage),
]


@pytest.mark.parametrize(("sent", "understood"), PAIRS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_what_the_service_sends_the_client_understands(sent: type[Struct], understood: type[Struct]) -> None:
    theirs, ours = get_type_hints(sent), get_type_hints(understood)
    for field in fields(sent):
        assert field.name in ours
        for absence in (type(None), UnsetType):
            if absence in get_args(theirs[field.name]):
                assert absence in get_args(ours[field.name]), f"{field.name} may be {absence.__name__}"
    sent_always = {field.name for field in fields(sent)}
    assert {field.encode_name for field in fields(understood) if field.required} <= sent_always
