"""Appends drafts to the log. Each gets its position in the order, in one commit for all that wait."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import partial
from itertools import repeat
from typing import Any

from msgspec.structs import replace
from sqlalchemy import Connection

from core.base.actors import Actor, current
from core.base.errors import ReferenceConflict
from core.base.logs import request_id
from core.base.tracing import traceparent
from core.ledger import told
from core.ledger.immediate import Immediate, decide_now, posting_of
from core.ledger.rules import chain
from core.ledger.rules.columns import DraftColumns
from core.ledger.rules.log_row import DIGEST_VERSION, REPEATED, LogRow, text_of_new
from core.ledger.rules.model import SPLIT, Accepted, Draft, Posting
from core.ledger.rules.requests import Terms, terms_of
from core.ledger.rules.routing import queue_of
from core.ledger.store import due as due_store
from core.ledger.store import log as log_store
from core.ledger.store.log import LogHead

_new = tuple.__new__
"""Makes a named tuple from all its values, in half the time of its own constructor."""


@dataclass
class Submission:
    """Drafts that are accepted together or not at all. If ``atomic``, they are also decided together."""

    drafts: Sequence[Draft]
    atomic: bool = False
    decide_now: bool = False
    """Whether to decide the drafts in the commit that accepts them, as far as that takes no waiting."""
    batch_id: str | None = None
    """The ID of the batch, if they were sent as one. Its end is told when all that is accepted now is decided."""
    accepted: list[Accepted] = field(default_factory=list)
    immediate: Immediate | None = None
    """The decisions of that commit, about this submission and others."""
    error: Exception | None = None
    request_id: str | None = field(default_factory=request_id)
    """The request that brought the drafts. The rows of the log keep it."""
    actor: Actor = field(default_factory=current)
    """Who asked for it, and the part of the service that does it."""
    asked_by: str | None = None
    """The key that asked for it, when the actor does what somebody asked for before. A draft may name its own."""
    trace: str | None = field(default_factory=traceparent)
    """The trace of the request, if there is one."""

    def size(self) -> int:
        """Count the rows, with the legs of splits."""
        return len(self.drafts) + sum(len(draft.legs) for draft in self.splits())

    def references(self) -> Sequence[str]:
        """List the references of all rows."""
        if isinstance(self.drafts, DraftColumns):
            return self.drafts.references
        found = [draft.row.reference for draft in self.drafts]
        return found + [leg.row.reference for draft in self.splits() for leg in draft.legs]

    def splits(self) -> list[Draft]:
        """List the drafts that have legs. Columns have none, so no draft is made of them to see that."""
        return [] if isinstance(self.drafts, DraftColumns) else [draft for draft in self.drafts if draft.legs]

    def asker_of(self, draft: Draft) -> str:
        """Return the ID of the key that asked for a draft."""
        return draft.row.actor or self.asked_by or self.actor.key_id

    def postings(self) -> list[Accepted]:
        """List what was accepted into queues: legs in place of their splits, without scheduled transactions."""
        return [one for each in self.accepted for one in (each.legs or [each]) if one.queue >= 0]

    def queues(self) -> set[int]:
        """List the queues that got work."""
        return {one.queue for one in self.postings() if not one.replayed}

    def undecided(self) -> list[Accepted]:
        """List the postings that were not decided in the commit that accepted them."""
        if self.immediate is None:
            return self.postings()
        return [one for one in self.postings() if one.seq not in self.immediate.outcomes]

    def may_have_failed(self) -> list[Accepted]:
        """List the postings that were rejected in the commit that accepted them, or not decided in it."""
        if self.immediate is None:
            return self.postings()
        outcomes = self.immediate.outcomes
        return [
            one
            for one in self.postings()
            if (outcome := outcomes.get(one.seq)) is None or outcome.rejection is not None
        ]


def append(conn: Connection, submissions: Sequence[Submission]) -> None:
    """Append the drafts of all submissions to the log, and record in each submission what became of it.

    A draft whose reference is taken gets the first transaction if the content is the same. Otherwise its whole submission
    gets a ``ReferenceConflict``, and the other submissions go on. A draft with a future due date is stored until then.
    The append lock is held until the commit.

    Raises:
        TransientError: the lock was not had in time.
    """
    references = [reference for each in submissions for reference in each.references()]
    head, prior = log_store.lock_head(conn, references)
    writer = _Writer(
        head,
        prior,
        keeps_rows=len(set(references)) < len(references),
        keeps_postings=any(each.decide_now for each in submissions),
    )
    batches: list[tuple[str, int]] = []
    for submission in submissions:
        submission.accepted, submission.error, submission.immediate = [], None, None
        try:
            known = _known(submission, prior) if prior else {}
            splits = [draft for draft in submission.splits() if draft.row.reference not in known]
            for leg in (leg for draft in splits for leg in draft.legs):
                if taken := prior.get(leg.row.reference):
                    raise ReferenceConflict(leg.row.reference, "split", taken.transaction_id)
        except ReferenceConflict as error:
            submission.error = error
            continue
        fresh = (
            [draft for draft in submission.drafts if draft.row.reference not in known] if known else submission.drafts
        )
        size = len(fresh) + sum(len(draft.legs) for draft in splits)
        before = writer.seq
        group = (writer.seq + 1, writer.seq + size) if submission.atomic and size > 1 else None
        accepted = writer.add(fresh, group, submission)
        if known:
            others = iter(accepted)
            accepted = [known.get(draft.row.reference) or next(others) for draft in submission.drafts]
        submission.accepted = accepted
        if submission.batch_id is not None and writer.seq > before:
            batches.append((submission.batch_id, len(fresh)))
    if writer.lines:
        log_store.append(conn, writer.lines)
    if writer.settle_at:
        due_store.add(conn, writer.settle_at)
    if writer.scheduled:
        due_store.schedule(conn, writer.scheduled, head.now)
    if writer.scheduled or batches:
        told.accepted(conn, writer.scheduled, batches, seq=writer.seq)
    now = [each for each in submissions if each.decide_now and each.error is None]
    if writer.postings and (queues := set[int]().union(*(each.queues() for each in now))):
        immediate = decide_now(conn, writer.postings, queues)
        for submission in submissions:
            submission.immediate = immediate


def _known(submission: Submission, prior: Mapping[str, LogRow]) -> dict[str, Accepted]:
    """Answer the repeated references of a submission with their first transactions.

    Raises:
        ReferenceConflict: one of them has other content, or a batch that is decided together is new in part.
    """
    known = {
        draft.row.reference: _replay(draft.row, prior[draft.row.reference])
        for draft in submission.drafts
        if draft.row.reference in prior
    }
    if submission.atomic and known and len(known) < len(submission.drafts):
        reference, found = next(iter(known.items()))
        raise ReferenceConflict(reference, "atomic batch", found.transaction_id)
    return known


@dataclass
class _Writer:
    """Collects the rows that one append writes."""

    head: LogHead
    prior: dict[str, LogRow]
    """The rows whose references are taken."""
    keeps_rows: bool
    """Whether a reference comes twice in this append, so that the second use must find the first in ``prior``."""
    keeps_postings: bool
    """Whether something is decided in this append."""
    lines: list[bytes] = field(default_factory=list)
    """The rows as ``log_store.append`` takes them."""
    postings: list[Posting] = field(default_factory=list)
    """The rows that go into queues, in their order, if they are kept."""
    scheduled: list[Draft] = field(default_factory=list)
    settle_at: list[tuple[str, int, datetime]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.seq, self.digest = self.head.seq, self.head.digest

    def add(self, drafts: Sequence[Draft], group: tuple[int, int] | None, of: Submission) -> list[Accepted]:
        """Add drafts whose references are new, each with its legs."""
        if isinstance(drafts, DraftColumns) and not self.keeps_rows:
            return self._write_columns(drafts, group, of)
        if any(draft.due_at is not None or draft.legs or draft.settle_at for draft in drafts):
            return [self._add(draft, group, of) for draft in drafts]
        return self._write(drafts, group, of)

    def _add(self, draft: Draft, group: tuple[int, int] | None, of: Submission) -> Accepted:
        if draft.due_at is not None and draft.due_at > self.head.now:
            draft = draft.with_row(actor=of.asker_of(draft))
            self.scheduled.append(draft)
            row = self.prior[draft.row.reference] = replace(draft.row, accepted_at=self.head.now)
            return _accepted(row, self.head.now)
        if group is None and draft.legs and draft.atomic:
            group = (self.seq + 1, self.seq + 1 + len(draft.legs))
        (accepted,) = self._write([draft], group, of)
        if draft.legs:
            accepted = accepted._replace(legs=tuple(self._write(draft.legs, group, of)))
        for action, at in draft.settle_at:
            self.settle_at.append((accepted.transaction_id, action, at))
        return accepted

    def _write(self, drafts: Sequence[Draft], group: tuple[int, int] | None, of: Submission) -> list[Accepted]:
        """Give drafts their positions, queues and digests. It is most of the Python of an append, so a row is made once."""
        seq, digest, (_, _, queues, now) = self.seq, self.digest, self.head
        first, last = group or (None, None)
        request_id, part, asked_by = of.request_id, of.actor.part, of.asked_by or of.actor.key_id
        accepted = []
        for draft in drafts:
            seq += 1
            row = draft.row
            queue = None if row.kind == SPLIT else queue_of(draft.route, queues)
            row = replace(
                row,
                seq=seq,
                queue=queue,
                group_first=first,
                group_last=last,
                accepted_at=now,
                request_id=request_id,
                actor=row.actor or asked_by,
                part=part,
            )
            text = text_of_new(row)
            digest = chain.digest(digest, chain.leaf_of_text(DIGEST_VERSION, text))
            self.lines.append(log_store.line_of(text, digest))
            if self.keeps_rows:
                self.prior[row.reference] = replace(row, digest=digest)
            if self.keeps_postings and queue is not None:
                self.postings.append(posting_of(row))
            place = -1 if queue is None else queue
            accepted.append(_new(Accepted, ("txn_" + row.id, seq, place, now, row.parent, False, digest, ())))
        self.seq, self.digest = seq, digest
        return accepted

    def _write_columns(self, drafts: DraftColumns, group: tuple[int, int] | None, of: Submission) -> list[Accepted]:
        """Do what ``_write`` does, column by column."""
        first, last = group or (None, None)
        now = self.head.now
        placed = [
            replace(
                row,
                group_first=first,
                group_last=last,
                accepted_at=now,
                request_id=of.request_id,
                actor=of.asked_by or of.actor.key_id,
                part=of.actor.part,
            )
            for row in drafts.shared
        ]
        seqs = range(self.seq + 1, self.seq + 1 + len(drafts))
        queues = [queue_of(route, self.head.queues) for route in drafts.routes]
        texts = drafts.texts(seqs, queues, placed)
        digests = chain.digests_of(self.digest, chain.leaves_of_texts(DIGEST_VERSION, texts))
        self.lines += log_store.lines_of(texts, digests)
        if self.keeps_postings:
            self.postings += drafts.postings(seqs, queues, placed[0])
        self.seq, self.digest = seqs[-1], digests[-1]
        ids = ["txn_" + id for id in drafts.ids]
        parents = [template.parent for template in drafts.templates]
        columns = zip(ids, seqs, queues, repeat(now), parents, repeat(False), digests, repeat(()), strict=False)
        return list(map(partial(_new, Accepted), columns))


def _accepted(row: LogRow, at: datetime, *, replayed: bool = False) -> Accepted:
    """Describe a row that was accepted, now or before."""
    queue = -1 if row.queue is None else row.queue
    return Accepted(row.transaction_id, row.seq, queue, at, row.parent, replayed, row.digest)


def called_by_id(draft: Draft) -> Draft:
    """Name a draft of the ledger's own making by its ID, because somebody else has used its reference."""
    return draft.with_row(reference=draft.row.transaction_id)


def _replay(ours: LogRow, first: LogRow) -> Accepted:
    """Answer a repeated reference with its first transaction, if the content is the same."""
    for name, called in REPEATED:
        asked, found = getattr(ours, name), getattr(first, name)
        if asked != found and (name != "meta_data" or _parsed(asked) != _parsed(found)):
            raise ReferenceConflict(ours.reference, called, first.transaction_id)
    if ours.terms != first.terms:
        _compare_terms(ours, first)
    assert first.accepted_at is not None
    return _accepted(first, first.accepted_at, replayed=True)


def _compare_terms(ours: LogRow, first: LogRow) -> None:
    """Raise ReferenceConflict if the terms differ, except in the time of the request."""
    asked, found = terms_of(ours.terms), terms_of(first.terms)
    for name in Terms.__struct_fields__:
        if name != "scheduled_at" and getattr(asked, name) != getattr(found, name):
            raise ReferenceConflict(ours.reference, name, first.transaction_id)


def _parsed(meta_data: str | None) -> Any:
    """Read metadata for a comparison of values: 1.0 is 1, and true is not."""
    return json.loads(meta_data, parse_float=_number, parse_int=_number) if meta_data else None


def _number(text: str) -> tuple[Decimal]:
    return (Decimal(text),)
