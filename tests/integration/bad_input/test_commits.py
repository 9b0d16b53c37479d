"""One bad request does not fail the good ones that share its commit."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.exc import DBAPIError

from core.ledger import intake
from core.ledger.append import Submission
from tests.harness.bad_input import assert_still_works, counts, post, status_of
from tests.harness.factories import transaction
from tests.harness.junk import good_transaction
from web.service import Service


def test_one_conflict_among_requests_that_share_a_commit_leaves_the_others_accepted(
    app: Flask, client: FlaskClient, service: Service
) -> None:
    post(client, {**good_transaction(), "reference": "taken"})
    bodies = [{**good_transaction(), "reference": f"shared {number}"} for number in range(15)]
    bodies.insert(7, {**good_transaction(), "reference": "taken", "precise_amount": 2})
    statuses = _together(service, [partial(status_of, app, body) for body in bodies])
    assert statuses == [201] * 7 + [409] + [201] * 8


def test_a_draft_that_the_database_refuses_does_not_fail_the_others_of_its_commit(
    client: FlaskClient, service: Service
) -> None:
    drafts = intake.draft_all([transaction() for _ in range(12)], service.directory)
    drafts[5] = drafts[5].with_row(description="\x00")  # Validation lets no such thing through.
    submissions = [Submission([draft]) for draft in drafts]

    def submit(submission: Submission) -> bool:
        with suppress(DBAPIError, psycopg.Error):
            service.committer.submit(submission)
            return True
        return False

    before = counts(service)
    assert (
        _together(service, [partial(submit, submission) for submission in submissions])
        == [True] * 5 + [False] + [True] * 6
    )
    assert counts(service)["log"] == before["log"] + 11
    assert_still_works(client)


def _together(service: Service, calls: list[Callable[[], Any]]) -> list[Any]:
    """Return the results of calls that share one commit. The committer waits until all are there."""
    committer = service.committer
    gather = committer._gather
    arrived = threading.Semaphore(0)
    are_all_there = False

    class Waiting(deque[Any]):
        def append(self, submitted: Any) -> None:
            super().append(submitted)
            arrived.release()

    def gather_all() -> Any:
        nonlocal are_all_there
        if not are_all_there:
            are_all_there = all(arrived.acquire(timeout=20) for _ in calls)
        return gather()

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(len(calls)) as pool:
        patch.setattr(committer, "_gather", gather_all)
        patch.setattr(committer, "_waiting", Waiting())
        results = [future.result(timeout=60) for future in [pool.submit(call) for call in calls]]
    assert are_all_there
    return results
