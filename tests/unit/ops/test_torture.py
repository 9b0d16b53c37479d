"""`pacioli torture` notices what is lost, doubled, late or refused, and says which fault it followed."""

import json
import os
import random
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace as Fake
from typing import Any

import httpx
import psutil
import pytest
from pacioli_client import Client
from pacioli_client.errors import Unreachable

from core.base.db import POOL_TIMEOUT_S
from ops.proving import torture
from ops.proving.chaos import checks, repertoire
from ops.proving.chaos.echoes import Echoes
from ops.proving.chaos.readers import Reader
from ops.proving.chaos.receiver import Receiver
from ops.proving.chaos.stopwatch import Stopwatch, Struck, suffered
from ops.server.temporary import Running
from web.service import USE_S


def row(id: str, status: str = "APPLIED", reference: str = "") -> Any:
    return Fake(transaction_id=id, status=status, reference=reference or f"ref {id}")


def poster(acknowledged: dict[str, str], *, children: tuple[str, ...] = (), expiring: tuple[str, ...] = ()) -> Any:
    past = datetime.now(UTC) - timedelta(seconds=1)
    return Fake(acknowledged=acknowledged, children=children, expiring=expiring, runs=["run"], last_date=past)


def client_of(*rows: Any, queues: tuple[int, ...] = (), runs: tuple[Any, ...] = ()) -> Any:
    return Fake(
        transactions=Fake(
            list=lambda limit, status_eq="", sort_order="": [each for each in rows if status_eq in ("", each.status)]
        ),
        queues=lambda: [Fake(depth=depth) for depth in queues],
        funding=Fake(runs=lambda job, limit=0: runs),
    )


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([row("1")], []),
        ([], ["lost: ref 1"]),
        ([row("1"), row("1")], ["twice: ref 1"]),
        ([row("2", reference="ref 1")], ["ref 1 was acknowledged as 1 and is 2"]),
        ([row("1", "QUEUED")], ["1 is QUEUED"]),
    ],
)
def test_the_log_must_have_what_was_acknowledged_once_and_final(rows: list[Any], found: list[str]) -> None:
    assert checks.check_log(client_of(*rows), [poster({"ref 1": "1"})], Echoes())[1] == found


def test_a_settlement_of_a_leg_is_looked_for_by_its_id() -> None:
    assert checks.check_log(client_of(), [poster({}, children=("7",))], Echoes())[1] == ["lost: 7"]


def test_a_hold_that_nobody_settles_must_be_void() -> None:
    found = checks.check_log(client_of(row("1", "INFLIGHT")), [poster({}, expiring=("1",))], Echoes())
    assert found[1] == ["1 is INFLIGHT"]


@pytest.mark.parametrize(
    "busy",
    [
        client_of(queues=(0, 3)),
        client_of(row("1", "SCHEDULED")),
        client_of(row("1", "INFLIGHT")),
        client_of(runs=(Fake(ended_at=None),)),
    ],
)
def test_nothing_is_final_while_something_waits(monkeypatch: pytest.MonkeyPatch, busy: Any) -> None:
    monkeypatch.setattr(checks, "QUIET_S", 0.1)
    posters = [poster({}, expiring=("1",))]
    assert len(checks.await_final(busy, posters, "job")) == 1
    assert checks.await_final(client_of(queues=(0,), runs=(Fake(ended_at=1),)), posters, "job") == []


@pytest.mark.parametrize(
    ("run", "wrong"),
    [
        (Fake(run_id="run", status="COMPLETED", rows_accepted=checks.FUNDED), 0),
        (Fake(run_id="run", status="COMPLETED", rows_accepted=1), 1),
        (Fake(run_id="other", status="COMPLETED", rows_accepted=checks.FUNDED), 1),
    ],
)
def test_a_run_must_be_there_and_whole(run: Any, wrong: int) -> None:
    assert len(checks.check_runs(client_of(runs=(run,)), [poster({})], "job")[1]) == wrong


def test_a_reader_notices_a_status_that_goes_back() -> None:
    reader = Reader(client_of(), random.Random(1), threading.Event())
    for status in ("QUEUED", "INFLIGHT", "INFLIGHT", "VOID"):
        reader._note(row("1", status))
    assert reader.wrong == []
    reader._note(row("1", "QUEUED"))
    assert reader.wrong == ["1 was VOID and is QUEUED"]


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (httpx.Response(200, json=[]), 0),
        (httpx.Response(503, headers={"Retry-After": "1"}), 0),
        (httpx.Response(503), 1),
        (httpx.Response(500), 1),
    ],
)
def test_a_500_is_a_fault_and_so_is_a_503_without_retry_after(answer: httpx.Response, wrong: int) -> None:
    stopwatch = Stopwatch()
    stopwatch.note(httpx.Request("GET", "http://here/queues"), answer, 0.0)
    assert len(stopwatch.wrong) == wrong


def test_a_read_that_is_cut_is_timed_too() -> None:
    stopwatch = Stopwatch()
    with Client("http://127.0.0.1:1", transport=stopwatch.transport()) as client, pytest.raises(Unreachable):
        client.queues()
    assert stopwatch.unanswered == len(stopwatch.reads) > 1


def transaction(**fields: Any) -> dict[str, Any]:
    whole = {"transaction_id": "1", "status": "QUEUED", "reference": "r", "currency": "USD", "precision": 100}
    return whole | {"precise_amount": 5, "description": "d", "sequence": 7, "created_at": "then"} | fields


def asked_and_answered(method: str, path: str, sent: Any, answer: Any, *, id: str = "its own") -> list[str]:
    echoes = Echoes()
    request = httpx.Request(method, f"http://here{path}", json=sent, headers={"X-Request-Id": "its own"})
    echoes.look(request, httpx.Response(200, json=answer, headers={"X-Request-Id": id}))
    return echoes.wrong


@pytest.mark.parametrize(
    ("method", "path", "sent", "answer", "wrong"),
    [
        ("POST", "/transactions", {"reference": "r", "precise_amount": 5}, transaction(), 0),
        ("POST", "/transactions", {"reference": "other", "precise_amount": 5}, transaction(), 1),
        ("POST", "/transactions", {"reference": "r", "precise_amount": 6}, transaction(), 1),
        ("GET", "/transactions/1", None, transaction(), 0),
        ("GET", "/transactions/2", None, transaction(), 1),
        ("GET", "/balances/bln_1", None, {"balance_id": "bln_1"}, 0),
        ("GET", "/balances/bln_2", None, {"balance_id": "bln_1"}, 1),
    ],
)
def test_an_answer_to_another_request_is_noticed(method: str, path: str, sent: Any, answer: Any, wrong: int) -> None:
    assert len(asked_and_answered(method, path, sent, answer)) == wrong
    assert len(asked_and_answered(method, path, sent, answer, id="another's")) == wrong + 1


def test_answers_that_contradict_each_other_are_noticed() -> None:
    echoes = Echoes()
    for answer in (transaction(), [transaction(status="APPLIED")], transaction(sequence=8)):
        request = httpx.Request("GET", "http://here/transactions", headers={"X-Request-Id": "1"})
        echoes.look(request, httpx.Response(200, json=answer, headers={"X-Request-Id": "1"}))
    assert len(echoes.wrong) == 1
    assert list(echoes.disagreements({"1": "APPLIED"})) == []
    for there in ({}, {"1": "INFLIGHT"}, {"1": "REJECTED"}):
        assert len(list(echoes.disagreements(there))) == 1


def test_an_event_that_was_not_delivered_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "QUIET_S", 0.1)
    pages = {
        None: Fake(events=[Fake(id="1", sequence=1)], next="1", more=True),
        "1": Fake(events=[], next="1", more=False),
    }
    client: Any = Fake(events=Fake(page=lambda after, types, limit: pages[after]))
    found = {ids: len(checks.await_told(client, Fake(ids=set(ids)))) for ids in ((), ("1",), ("1", "2"))}  # type: ignore[arg-type]
    assert found == {(): 1, ("1",): 0, ("1", "2"): 1}


def test_the_receiver_refuses_an_event_once_at_most() -> None:
    with Receiver(Fake(random=lambda: 0.0)) as receiver:  # type: ignore[arg-type]
        statuses = [httpx.post(receiver.url, headers={"X-Blnk-Event-Id": "1"}).status_code for _ in range(2)]
    assert statuses == [503, 200] and receiver.ids == {"1"}


def test_what_follows_a_blow_until_the_next_one_is_its_own() -> None:
    stopwatch = Stopwatch()
    stopwatch.accepted_at = [0.0, 9.0, 14.0, 14.5, 15.5, 16.5]
    stopwatch.reads = [(1.0, 0.1), (11.0, 2.0), (15.2, 0.5)]
    blows = [Struck("kill", 10.0), Struck("freeze", 15.0), Struck("freeze", 16.0, missed=True)]
    found = suffered(stopwatch, blows, 17.0)
    assert (found["kill"].longest_without_201_s, found["kill"].longest_read_s) == (4.0, 2.0)
    assert (found["freeze"].longest_without_201_s, found["freeze"].longest_read_s) == (1.0, 0.5)
    assert stopwatch.longest_read_s == 2.0
    assert (found["freeze"].blows, found["freeze"].missed) == (2, 1)


def test_a_process_that_has_the_number_of_a_dead_part_is_not_hit(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(json.dumps({"pids": {"web": os.getpid()}}))
    supervisors: list[Any] = [Fake(pid=os.getppid()), Fake(pid=os.getpid())]
    ours, another = (Running("", tmp_path, supervisor) for supervisor in supervisors)
    assert ours.main("web").pid == os.getpid()
    with pytest.raises(psutil.NoSuchProcess):
        another.main("web")


def test_each_fault_comes_once_before_any_comes_again() -> None:
    faults = iter(repertoire.shuffled(random.Random(1), 60))
    names = [next(faults).name for _ in range(2 * len(repertoire.ALL))]
    half = len(repertoire.ALL)
    assert len(set(names[:half])) == len(set(names[half:])) == half
    assert list(repertoire.shuffled(random.Random(1), 0)) == []


def test_a_read_may_wait_longer_than_the_service_lets_it() -> None:
    assert USE_S + POOL_TIMEOUT_S < torture.READ_BOUND_S
