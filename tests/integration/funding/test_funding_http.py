"""Funding jobs over HTTP. ``fund`` does what a worker would do."""

import csv
import io
import itertools
import json
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, text
from werkzeug.test import TestResponse

import celeryconfig
from core.base.db import begin, driver
from core.base.errors import TransientError
from core.doors.notes import Notes
from core.funding import runs
from core.funding.answers import FundingRow
from core.funding.job_store import JobRow
from core.funding.progress import Progress
from tests.harness.api import Api
from tests.harness.factories import identified
from web import funding, uploads
from web.accept.doorbell import Doorbell
from web.accept.waiting import Waiting
from web.http import wire
from web.service import Service

_names = itertools.count(1)


@pytest.fixture
def service(api: Api) -> Service:
    found: Service = api.app.extensions["pacioli"]
    return found


def job(**fields: Any) -> dict[str, Any]:
    """Return a job: two dollars and one from a pool that may go negative, now, or what the fields say. None leaves one out."""
    given = {
        "name": f"job {next(_names)}",
        "source": "@Pool",
        "currency": "USD",
        "precision": 100,
        "allow_overdraft": True,
        "recipients": [{"destination": "@A", "amount": 2}, {"destination": "@B", "amount": "1.00"}],
        **fields,
    }
    return {name: value for name, value in given.items() if value is not None}


def rule(**fields: Any) -> dict[str, Any]:
    """Return a job for all balances of the General Ledger."""
    of_all = {"ledger_id": "general_ledger_id", "amount": 1}
    return job(**{"recipients": None, "rule": of_all, **fields})


def created(api: Api, **fields: Any) -> dict[str, Any]:
    response = api.client.post("/funding-jobs", json=job(**{"again": True} | fields))
    assert response.status_code == 201, response.text
    body: dict[str, Any] = response.get_json()
    return body


def upload(api: Api, rows: bytes, **fields: Any) -> TestResponse:
    asked = json.dumps(job(recipients=None, **fields))
    parts = {"job": asked, "recipients": (io.BytesIO(rows), "rows.csv")}
    return api.client.post("/funding-jobs", data=parts, content_type="multipart/form-data")


def fund(api: Api) -> None:
    """Do all that workers do until nothing is left to do."""
    service: Service = api.app.extensions["pacioli"]
    while runs.advance(service.engine).more:
        pass
    api.drain()


def refused(response: TestResponse, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    detail: dict[str, Any] = response.get_json()["error_detail"]
    assert detail["code"] == code, detail
    return detail


def path_of(run: dict[str, Any]) -> str:
    return f"/funding-jobs/{run['job_id']}/runs/{run['run_id']}"


# Creating


def test_a_list_is_funded_at_once_and_each_row_names_its_transaction(api: Api) -> None:
    body = created(api, reference="wages")
    assert body["status"] == "ACTIVE" and body["rows"] == 2 and body["precise_amount"] == 300
    assert body["run"]["status"] == "PENDING" and body["next_runs"] == []
    fund(api)
    run = api.get(path_of(body["run"]))
    assert run["status"] == "COMPLETED" and run["progress"] == 1
    assert (run["rows_total"], run["rows_accepted"], run["rows_applied"], run["rows_rejected"]) == (2, 2, 2, 0)
    assert (run["amount_applied"], run["precise_amount_applied"]) == (3, 300)
    rows = api.get(path_of(run) + "/rows")
    assert [(row["row"], row["destination"], row["status"], row["precise_amount"]) for row in rows] == [
        (1, "@A", "APPLIED", 200),
        (2, "@B", "APPLIED", 100),
    ]
    assert list(rows[0]) == list(FundingRow.__struct_fields__)
    transaction = api.transaction(rows[0]["transaction_id"])
    assert transaction["reference"] == rows[0]["reference"] and transaction["parent_transaction"] == run["run_id"]
    assert api.balance("@Pool")["balance"] == -300
    read = api.get(f"/funding-jobs/{body['job_id']}")
    assert read["status"] == "FINISHED" and read["last_run"]["run_id"] == run["run_id"]


def test_the_same_reference_and_content_is_answered_and_not_repeated(api: Api) -> None:
    first = created(api, name="n", reference="r")
    again = api.client.post("/funding-jobs", json=job(name="n", reference="r"))
    assert again.status_code == 200 and again.headers["Idempotent-Replayed"] == "true"
    assert again.get_json()["job_id"] == first["job_id"]
    assert again.get_json()["run"]["run_id"] == first["run"]["run_id"]
    other = refused(api.client.post("/funding-jobs", json=job(name="m", reference="r")), 409, "FND_DUPLICATE_REFERENCE")
    assert "name differs" in other["message"] and other["details"]["job_id"] == first["job_id"]


@pytest.mark.smoke
def test_a_big_amount_stays_exact(api: Api) -> None:
    huge = 10**40 + 1
    body = created(api, recipients=[{"destination": "@A", "precise_amount": huge}], overdraft_limit=10**39)
    assert body["precise_amount"] == huge
    read = api.client.get(f"/funding-jobs/{body['job_id']}").text
    assert f'"amount":{huge // 100}.01,' in read and f'"overdraft_limit":{10**39},' in read


def test_a_dry_run_says_what_would_be_and_keeps_nothing(api: Api, service: Service) -> None:
    before = _rows_of_all_tables(service)
    asked = job(currency="XAU", precision=1000, cron="0 8 * * *", dry_run=True)
    response = api.client.post("/funding-jobs", json=asked)
    assert response.status_code == 200, response.text
    body = response.get_json()
    assert body["dry_run"] and body["would_run"] and body["rows_applied"] == 2
    assert body["pool"] == {"balance": 0, "balance_after": -3000, "amount_after": -3}
    assert len(body["next_runs"]) == 10
    assert body["new_balances"] == len(body["new_names"]) == 3 and "@Pool" in body["new_names"]
    short = api.client.post("/funding-jobs", json=job(allow_overdraft=None, until_limit=True, dry_run=True)).get_json()
    assert short["rows_applied"] == 0 and short["rows_beyond_limit"] == 2
    refused = api.client.post("/funding-jobs", json=job(overdraft_limit=0, dry_run=True)).get_json()
    assert not refused["would_run"]
    assert refused["first_failure"] == {"row": 1, "reason": "LIMIT", "message": refused["refusal"]["message"]}
    assert _rows_of_all_tables(service) == before


def test_a_problem_with_the_terms_names_each_field(api: Api) -> None:
    asked = job(name=" ", overdraft_limit=-1, count=0, recipients=[])
    detail = refused(api.client.post("/funding-jobs", json=asked), 400, "GEN_VALIDATION_ERROR")
    for field in ("name", "overdraft_limit", "count", "recipients"):
        assert field in detail["message"]


def test_what_cannot_be_read_is_said_beside_the_problems_of_the_terms_and_of_the_rows(api: Api) -> None:
    rows = [{"destination": "@A", "amount": True}, {"destination": "@ B", "precise_amount": 1.5}, {"amount": 1}]
    job = {"name": "", "source": "@Pool", "currency": "USD", "precision": 100, "count": "two", "at": "noon"}
    response = api.client.post("/funding-jobs", json={**job, "recipients": rows})
    detail = refused(response, 400, "GEN_MALFORMED_REQUEST")
    assert detail["details"]["problem_count"] == len(detail["details"]["problems"])
    assert sorted(each["field"] for each in detail["details"]["problems"]) == [
        "at",
        "count",
        "name",
        "recipients[0].amount",
        "recipients[1].destination",
        "recipients[1].precise_amount",
        "recipients[2].destination",
    ]


@pytest.mark.parametrize("name", ["at", "ends_at", "inflight_commit_date"])
@pytest.mark.parametrize("text", ["tomorrow", "", "2027-01-01", "2027-01-01T00:00:00", "0001-01-01T00:00:00Z"])
def test_a_text_that_is_no_time_is_a_problem_like_any_other(api: Api, name: str, text: str) -> None:
    response = api.client.post("/funding-jobs", json=job(name=" ") | {name: text, "cron": "x"})
    detail = refused(response, 400, "GEN_VALIDATION_ERROR")
    for field in ("name", name, "cron"):
        assert f"{field}: " in detail["message"]
    assert f"{name}: please format the scheduled date" in detail["message"]


@pytest.mark.parametrize(
    ("asked", "unread"),
    [
        ({"cron": 5, "ends_at": "2999-01-01T00:00:00Z", "count": 2}, "cron"),
        ({"recipients": None, "rule": 5}, "rule"),
        ({"recipients": None, "rule": {"ledger_id": "general_ledger_id", "top_up_to": True}}, "rule.top_up_to"),
        ({"recipients": None, "rule": {"filters": 5, "amount": 1}}, "rule.filters"),
        ({"inflight": 5, "inflight_commit_after_s": 5}, "inflight"),
        ({"recipients": [{"destination": "@A", "precise_amount": True}]}, "recipients[0].precise_amount"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_field_that_cannot_be_read_is_the_only_problem_of_a_rule_that_looks_at_it(
    api: Api, asked: dict[str, Any], unread: str
) -> None:
    response = api.client.post("/funding-jobs", json=job() | asked)
    assert refused(response, 400, "GEN_MALFORMED_REQUEST")["details"]["field"] == unread


def test_problems_of_a_list_are_listed_with_their_place(api: Api) -> None:
    recipients = [
        {"destination": "@A", "amount": 1},
        {"destination": "@A", "amount": 0},
        {"destination": "bln_nobody", "amount": "1.001"},
        {"destination": "@Pool", "precise_amount": 1},
    ]
    response = api.client.post("/funding-jobs", json=job(recipients=recipients))
    details = refused(response, 400, "FND_INVALID_RECIPIENTS")["details"]
    assert [(each["row"], each["field"]) for each in details["problems"]] == [
        (2, "amount"), (2, "destination"), (3, "amount"), (3, "destination"), (4, "destination"),
    ]  # fmt: skip
    assert details["problem_count"] == 5


def test_a_filter_compares_with_the_number_that_was_given(api: Api, service: Service) -> None:
    api.client.post("/balances", json={"ledger_id": "general_ledger_id", "currency": "USD", "meta_data": {"tier": 1.5}})
    api.new_balance()
    of_tier = {"filters": [{"field": "meta_data.tier", "operator": "eq", "value": 1.5}], "precise_amount": 7}
    body = api.client.post("/funding-jobs", json=rule(rule=of_tier)).get_json()
    assert body["rule"]["filters"][0]["value"] == 1.5
    fund(api)
    assert api.get(path_of(body["run"]))["rows_applied"] == 1


# Uploading


def test_a_csv_is_funded_as_a_list_is(api: Api) -> None:
    rows = b'\xef\xbb\xbfdestination,amount,description\r\n@A,2.00,"Wages, May"\r\n\r\n@B,1,\r\n'
    response = upload(api, rows)
    assert response.status_code == 201, response.text
    body = response.get_json()
    fund(api)
    found = api.get(path_of(body["run"]) + "/rows")
    assert [(row["row"], row["amount"], row["description"]) for row in found] == [
        (2, 2, "Wages, May"),
        (4, 1, body["name"]),
    ]


def test_a_dry_run_of_a_csv_keeps_nothing(api: Api, service: Service) -> None:
    before = _rows_of_all_tables(service)
    response = upload(api, b"destination,precise_amount\n@A,2\n", dry_run=True)
    assert response.status_code == 200 and response.get_json()["rows_applied"] == 1
    assert _rows_of_all_tables(service) == before


def test_problems_of_a_csv_are_listed_with_their_line(api: Api, service: Service) -> None:
    rows = b"destination,amount\n@A,1\n@A,1\n@B,1.005\n@C,x\n@D\n,1\n\xff,1\n"
    before = _rows_of_all_tables(service)
    details = refused(upload(api, rows), 400, "FND_INVALID_RECIPIENTS")["details"]
    assert [each["row"] for each in details["problems"]] == [3, 4, 5, 6, 7, 8]
    assert details["problem_count"] == 6
    details = refused(upload(api, b"destination,amount\n@A,1\n@A,1\n"), 400, "FND_INVALID_RECIPIENTS")["details"]
    assert details["problems"] == [
        {"row": 3, "field": "destination", "message": "is in row 2 too; allow_duplicates permits that"}
    ]
    assert _rows_of_all_tables(service) == before


HEADER = b"destination,amount\n"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (b"", "it is empty"),
        (b"\n\r\n", "it is empty"),
        (HEADER, "cannot be empty"),
        (b"destination;amount,color\n@A;1\n", "separated by commas"),
        (b"amount\n1\n", "it must have destination"),
        (b"destination,amount,color\n@A,1,red\n", 'there is no column "color"'),
        (b"destination,destination,amount\n@A,@A,1\n", "the column destination is there twice"),
        (b"destination,amount,precise_amount\n@A,1,1\n", "either amount or precise_amount"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00", "the file is a picture; save it as"),
        (bytes(range(256)) * 300, "line 1 has the NUL character"),
        (b"x" * 300_000, "line 1 is longer than"),
        (HEADER + b"@A,1," + b"x" * 300_000 + b"\n@B,1\n", "row 2: is longer than"),
        (HEADER + b'"@A,1\n@B,1\n', "row 2: has a quote that is never closed"),
        (HEADER + b"@A,1,2\n", "row 2: has 3 columns"),
        (HEADER + "@Löhne,1\n".encode("latin-1") + "@Löhne,1\n".encode(), "row 2: is not UTF-8"),
        (HEADER + b"@A\x00,1\n", "row 2"),
        (HEADER + b"@A," + b"9" * 5_000 + b"\n", "row 2, amount"),
        (HEADER + b"@A,1e400\n", "row 2, amount"),
        (HEADER + b"@A,NaN\n", "row 2, amount"),
        (HEADER + b"@A,-1\n", "row 2, amount: must be greater than zero"),
        (HEADER + b"@" + b"x" * 10_000 + b",1\n", "row 2, destination"),
        (HEADER + b"bln_" + b"x" * 10_000 + b",1\n", "row 2, destination: there is no balance"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_list_says_why(api: Api, rows: bytes, message: str) -> None:
    assert message in refused(upload(api, rows), 400, "FND_INVALID_RECIPIENTS")["message"]


def test_an_upload_has_exactly_its_two_parts(api: Api) -> None:
    good, rows = json.dumps(job(recipients=None)), (HEADER + b"@A,1\n", "rows.csv")

    def post(*parts: tuple[str, Any]) -> TestResponse:
        data: dict[str, list[Any]] = {}
        for name, value in parts:
            data.setdefault(name, []).append((io.BytesIO(value[0]), value[1]) if isinstance(value, tuple) else value)
        return api.client.post("/funding-jobs", data=data, content_type="multipart/form-data")

    for parts in (
        (),
        (("job", good),),
        (("recipients", rows),),
        (("job", good), ("recipients", "destination,amount")),  # No file.
        (("job", good), ("job", good), ("recipients", rows)),
        (("job", good), ("recipients", rows), ("recipients", rows)),
        (("job", good), ("recipients", rows), ("dry_run", "true")),
    ):
        detail = refused(post(*parts), 400, "GEN_MALFORMED_REQUEST")
        assert "one part job" in detail["message"] and "one part recipients" in detail["message"]
    latin = good.replace('"name": "', '"name": "\ufffd')  # What is left of bytes that are not UTF-8.
    for bad in (latin, "", "{", "[]", '{"name": 1}', "\x00", '{"name": "\\ud800"}', "�"):
        refused(post(("job", bad), ("recipients", rows)), 400, "GEN_MALFORMED_REQUEST")
    detail = refused(post(("job", '{"nam": "a"}'), ("recipients", rows)), 400, "GEN_VALIDATION_ERROR")
    assert "did you mean name?" in detail["message"]
    refused(post(("job", json.dumps(job())), ("recipients", rows)), 400, "GEN_VALIDATION_ERROR")
    assert post(("job", (good.encode(), "job.json")), ("recipients", rows)).status_code == 201


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "multipart/form-data"),
        (b"", "multipart/form-data; boundary=x"),
        (b"junk", "multipart/form-data; boundary=x"),
        (b"--x\r\n", "multipart/form-data; boundary=x"),
        (b'--x\r\nContent-Disposition: form-data; name="job"\r\n\r\n{}', "multipart/form-data; boundary=x"),
        (b"--x\r\nContent-Disposition: form-data\r\n\r\n{}\r\n--x--\r\n", "multipart/form-data; boundary=x"),
        (b"\xff" * 1000, "multipart/form-data; boundary=\xff"),
    ],
)
def test_what_is_no_multipart_is_refused(api: Api, body: bytes, content_type: str) -> None:
    response = api.client.post("/funding-jobs", data=body, content_type=content_type)
    assert response.status_code == 400, response.text


# Werkzeug leaves the file of what it cannot read to be closed when it is collected, which is at once.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_upload_that_was_cut_off_keeps_nothing(api: Api, service: Service) -> None:
    asked = json.dumps(job(recipients=None)).encode()
    head = b'--x\r\nContent-Disposition: form-data; name="job"\r\n\r\n' + asked + b"\r\n"
    file = b'--x\r\nContent-Disposition: form-data; name="recipients"; filename="r"\r\n\r\n' + HEADER + b"@A,1\n@B,2\n"
    before = _rows_of_all_tables(service)
    for body in (head + file, head + file + b"\r\n--", head):
        response = api.client.post("/funding-jobs", data=body, content_type="multipart/form-data; boundary=x")
        refused(response, 400, "GEN_MALFORMED_REQUEST")
    assert _rows_of_all_tables(service) == before
    response = api.client.post(
        "/funding-jobs", data=head + file + b"\r\n--x--\r\n", content_type="multipart/form-data; boundary=x"
    )
    assert response.status_code == 201


def test_an_upload_may_be_larger_than_a_body_but_not_without_end(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    row = b"@%d,1," + b"x" * 4_096 + b"\n"
    rows = b"destination,amount,description\n" + b"".join(row % number for number in range(1_300))
    assert len(rows) > wire.MAX_BODY
    assert upload(api, rows).status_code == 201
    monkeypatch.setattr(uploads, "MAX_UPLOAD", 1_000)
    detail = refused(upload(api, rows), 413, "GEN_PAYLOAD_TOO_LARGE")
    assert detail["message"] == "the body is larger than 1000 bytes"


def test_another_content_type_is_refused_and_both_right_ones_named(api: Api) -> None:
    response = api.client.post("/funding-jobs", data=HEADER, content_type="text/html")
    message = refused(response, 415, "GEN_UNSUPPORTED_MEDIA_TYPE")["message"]
    assert "application/json" in message and "multipart/form-data" in message and "text/csv" in message


def test_a_third_upload_waits_until_one_of_two_is_done(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "TURN_S", 0.01)
    with uploads._turn(uploads._UPLOADS, 0.0), uploads._turn(uploads._UPLOADS, 0.0):
        assert api.client.post("/funding-jobs", json=job()).status_code == 201  # A body does not wait for uploads.
        response = upload(api, HEADER + b"@A,1\n")
        refused(response, 503, "GEN_UNAVAILABLE")
        assert response.headers["Retry-After"] == "1"
    assert upload(api, HEADER + b"@A,1\n").status_code == 201


def test_a_turn_is_given_back_whatever_happens(api: Api) -> None:
    for _ in range(10):
        assert upload(api, b"junk").status_code == 400
        assert api.client.post("/funding-jobs", json=job(recipients=[])).status_code == 400
    assert upload(api, HEADER + b"@A,1\n").status_code == 201


def test_a_new_job_wakes_a_worker(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[str] = []
    monkeypatch.setattr(Doorbell, "wake", lambda self, task: woken.append(task))
    body = created(api)
    fund(api)
    api.client.post(f"/funding-jobs/{body['job_id']}/run")
    api.client.post(f"/funding-jobs/{body['job_id']}/resume")
    assert woken == [celeryconfig.FUND] * 3


def test_a_job_is_kept_while_the_broker_is_away(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()

    def send_task(*args: Any, **options: Any) -> None:
        asked.set()
        raise OSError("no broker")

    identity = identified(engine)
    bell = Doorbell(identity, Notes(None, identity))
    monkeypatch.setattr(bell._celery(), "send_task", send_task)
    for _ in range(2):  # The thread that rings has outlived the first.
        bell.wake(celeryconfig.FUND)
        assert asked.wait(10)
        asked.clear()
    with pytest.raises(TransientError):
        bell.send(celeryconfig.FUND)


# Reading


def test_jobs_are_listed_newest_first_in_pages(api: Api) -> None:
    made = [created(api)["job_id"] for _ in range(3)]
    first = api.client.get("/funding-jobs?limit=2")
    assert [each["job_id"] for each in first.get_json()] == [made[2], made[1]]
    link = first.headers["Link"]
    assert 'rel="next"' in link
    second = api.client.get(link[1 : link.index(">")])
    assert [each["job_id"] for each in second.get_json()] == [made[0]] and "Link" not in second.headers


def test_a_list_of_jobs_says_what_the_last_run_of_each_has_applied_and_is_narrowed_to_a_pool(api: Api) -> None:
    first, second = created(api), created(api, source="@Other")
    fund(api)
    waits = created(api, cron="0 8 * * *")
    found = {each["job_id"]: each["last_run"] for each in api.get("/funding-jobs")}
    assert found[waits["job_id"]] is None
    for job in (first, second):
        run = found[job["job_id"]]
        assert (run["run_id"], run["rows_applied"], run["rows_rejected"]) == (job["run"]["run_id"], 2, 0)
        assert (run["precise_amount_applied"], run["amount_applied"]) == (300, 3)
    for source in ("@Other", second["source"]):
        assert [each["job_id"] for each in api.get("/funding-jobs", source=source)] == [second["job_id"]]
    assert api.get("/funding-jobs", source="@Nobody") == []


def test_jobs_are_listed_by_what_they_are_now(api: Api) -> None:
    names = {each: created(api, name=each)["job_id"] for each in ("ran", "paused", "cancelled")}
    fund(api)
    names["waits"] = created(api, name="waits", cron="0 8 * * *")["job_id"]
    names["is due"] = created(api, name="is due")["job_id"]
    api.client.post(f"/funding-jobs/{names['paused']}/pause")
    api.client.post(f"/funding-jobs/{names['cancelled']}/cancel")

    def named(status: str) -> set[str]:
        found = api.get("/funding-jobs", status=status)
        assert {each["status"] for each in found} <= {status}
        return {each["name"] for each in found}

    assert named("ACTIVE") == {"waits", "is due"}
    assert named("FINISHED") == {"ran"}
    assert named("PAUSED") == {"paused"}
    assert named("CANCELLED") == {"cancelled"}
    assert len(api.get("/funding-jobs")) == 5


def test_a_job_says_what_comes_next_and_what_it_makes_of_the_pool(api: Api) -> None:
    api.done(destination="@Pool", precise_amount=1000)
    asked = {"allow_overdraft": None, "cron": "0 8 25 * *", "timezone": "UTC"}
    body = api.get(f"/funding-jobs/{created(api, **asked)['job_id']}")
    assert len(body["next_runs"]) == 10 and body["next_runs"][0] == body["next_run_at"]
    assert all(each.endswith("-25T08:00:00Z") for each in body["next_runs"])
    assert body["last_run"] is None
    assert body["pool"] == {
        "balance": 1000,
        "next_run_rows": 2,
        "next_run_precise_amount": 300,
        "balance_after_next_run": 700,
        "runs_left": 3,
        "amount_after_next_run": 7,
    }
    watch = api.balance("@Pool")["funding"]
    assert watch == {
        "job_id": body["job_id"],
        "next_run_at": body["next_run_at"],
        "balance_after_next_run": 700,
        "runs_left": 3,
    }
    assert api.get(f"/balances/{api.balance('@Pool')['balance_id']}")["funding"] == watch


def test_a_balance_that_no_job_will_draw_on_reads_as_ever(api: Api) -> None:
    body = created(api, cron="0 8 * * *")
    assert "funding" not in api.balance("@A")
    assert "funding" in api.balance("@Pool")
    api.client.post(f"/funding-jobs/{body['job_id']}/pause")
    assert "funding" not in api.balance("@Pool")


def test_a_look_ahead_that_takes_too_long_is_left_out(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    response = api.client.post("/funding-jobs", json=rule(cron="0 8 * * *"))
    path = f"/funding-jobs/{response.get_json()['job_id']}"
    assert api.get(path)["pool"]["balance"] == 0

    def slow(conn: Connection, job: JobRow) -> None:
        driver(conn).execute("SELECT pg_sleep(60)")

    monkeypatch.setattr(funding, "FORECAST_S", 0.01)
    monkeypatch.setattr("core.funding.forecast.forecast", slow)
    assert api.get(path)["pool"] is None
    assert api.balance("@Pool")["funding"]["runs_left"] is None


def test_runs_are_listed_newest_first_in_pages(api: Api) -> None:
    body = created(api)
    fund(api)
    path = f"/funding-jobs/{body['job_id']}"
    second = api.client.post(f"{path}/run", json={"reference": "again"})
    assert second.status_code == 201
    third = api.client.post(f"{path}/run")
    ids = [each.get_json()["run_id"] for each in (third, second)]
    page = api.client.get(f"{path}/runs?limit=2")
    assert [each["run_id"] for each in page.get_json()] == ids
    link = page.headers["Link"]
    assert [each["run_id"] for each in api.get(link[1 : link.index(">")])] == [body["run"]["run_id"]]
    again = api.client.post(f"{path}/run", json={"reference": "again"})
    assert again.status_code == 200 and again.headers["Idempotent-Replayed"] == "true"
    assert again.get_json()["run_id"] == ids[1]


def test_a_wait_ends_when_the_run_is_over(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    run = created(api)["run"]
    asked = []
    until = Waiting.until

    def funded_meanwhile(self: Waiting, is_over: Any, timeout_s: float) -> None:
        asked.append(is_over())
        assert runs.step(self._engine, datetime.now(UTC), Progress())
        asked.append(is_over())  # It has started.
        fund(api)
        until(self, is_over, timeout_s)

    monkeypatch.setattr(Waiting, "until", funded_meanwhile)
    # The wait is longer than a test may take, so the test would fail if it went on.
    monkeypatch.setattr("web.accept.waiting.POLL_S", 1000.0)
    assert api.get(path_of(run), wait="60s")["status"] == "COMPLETED"
    assert asked == [False, False]


def test_a_wait_that_ends_before_the_run_says_how_far_it_is(api: Api) -> None:
    run = created(api)["run"]
    found = api.get(path_of(run), wait="10ms")
    assert found["status"] == "PENDING" and found["rows_total"] is None and found["rows_unposted"] is None


def test_long_polls_of_runs_are_counted_with_the_others(service: Service) -> None:
    places = service.waiting._places
    while places.acquire(blocking=False):
        pass
    service.waiting.until(lambda: pytest.fail("nobody waits without a place"), 60.0)


def test_rows_are_read_in_pages_and_by_what_became_of_them(api: Api) -> None:
    api.done(destination="@Pool", precise_amount=250)
    recipients = [{"destination": f"@{name}", "amount": 1} for name in "ABC"]
    body = created(api, recipients=recipients, allow_overdraft=None, until_limit=True)
    path = path_of(body["run"])
    assert api.get(f"{path}/rows") == []
    fund(api)
    assert [row["row"] for row in api.get(f"{path}/rows", status="APPLIED")] == [1, 2]
    assert [row["row"] for row in api.get(f"{path}/rows", status="UNPOSTED")] == [3]
    assert api.get(f"{path}/rows", status="REJECTED") == []
    page = api.client.get(f"{path}/rows?limit=2")
    link = page.headers["Link"]
    assert [row["row"] for row in api.get(link[1 : link.index(">")])] == [3]


def test_rows_of_holds_are_found_by_what_they_are_settled_to(api: Api) -> None:
    body = created(api, recipients=[{"destination": f"@{name}", "amount": 1} for name in "ABC"], inflight=True)
    runs.advance(api.app.extensions["pacioli"].engine)
    path = f"{path_of(body['run'])}/rows"
    rows = api.get(path)
    assert {row["status"] for row in rows} == {"INFLIGHT"}
    assert api.settle(rows[0]["transaction_id"], "commit", skip_queue=True).status_code == 200
    assert api.settle(rows[1]["transaction_id"], "void", skip_queue=True).status_code == 200
    for number, status in enumerate(("APPLIED", "VOID", "INFLIGHT"), 1):
        assert [(row["row"], row["status"]) for row in api.get(path, status=status)] == [(number, status)]


def test_rows_as_csv_have_the_same_columns_and_start_no_formula(api: Api, service: Service) -> None:
    recipients = [{"destination": "@A", "amount": "1.50", "description": "=1+1"}, {"destination": "@B", "amount": 1}]
    run = _with_a_rejected_row(api, service, recipients)
    rows = api.get(f"{path_of(run)}/rows")
    response = api.client.get(f"{path_of(run)}/rows", headers={"Accept": "text/csv"})
    assert response.content_type == "text/csv; charset=utf-8"
    found = list(csv.DictReader(io.StringIO(response.text, newline="")))
    assert list(found[0]) == list(rows[0])
    assert (found[0]["description"], found[0]["amount"], found[0]["destination"]) == ("'=1+1", "1.5", "@A")
    assert found[1]["status"] == "REJECTED" and found[1]["rejection"].startswith("insufficient_funds: ")
    assert found[1]["transaction_id"] == rows[1]["transaction_id"]


def test_rejected_rows_are_posted_again_once_under_new_references(api: Api, service: Service) -> None:
    run = _with_a_rejected_row(api, service, job()["recipients"])
    assert run["rejected_by_reason"] == {"insufficient_funds": 1} and run["rows_applied"] == 1
    (rejected,) = api.get(f"{path_of(run)}/rows", status="REJECTED")
    api.done(destination="@Pool", precise_amount=1000)
    response = api.client.post(f"{path_of(run)}/retry")
    assert response.status_code == 201, response.text
    again = api.client.post(f"{path_of(run)}/retry")
    assert again.status_code == 200 and again.headers["Idempotent-Replayed"] == "true"
    fund(api)
    retry = api.get(path_of(response.get_json()))
    assert retry["retry_of"] == run["run_id"] and retry["rows_applied"] == 1
    (row,) = api.get(f"{path_of(retry)}/rows")
    assert row["row"] == rejected["row"] and row["reference"] != rejected["reference"]
    assert row["first_transaction_id"] == rejected["transaction_id"]
    refused(api.client.post(f"{path_of(retry)}/retry"), 409, "GEN_CONFLICT")


# Changing


def test_a_paused_job_posts_nothing_until_it_is_resumed(api: Api) -> None:
    body = created(api)
    path = f"/funding-jobs/{body['job_id']}"
    assert api.client.post(f"{path}/pause").get_json()["status"] == "PAUSED"
    fund(api)
    assert api.get(path_of(body["run"]))["status"] == "PAUSED"
    refused(api.client.post(f"{path}/run"), 409, "GEN_CONFLICT")
    assert api.client.post(f"{path}/resume").get_json()["status"] == "ACTIVE"
    fund(api)
    assert api.get(path_of(body["run"]))["status"] == "COMPLETED"


def test_a_cancelled_job_stays_unposted(api: Api) -> None:
    body = created(api)
    path = f"/funding-jobs/{body['job_id']}"
    for _ in range(2):
        assert api.client.post(f"{path}/cancel").get_json()["status"] == "CANCELLED"
    fund(api)
    run = api.get(path_of(body["run"]), wait="60s")
    assert run["status"] == "CANCELLED" and run["rows_accepted"] == 0
    assert api.get(path)["pool"] is None
    for action in ("pause", "resume", "run"):
        refused(api.client.post(f"{path}/{action}"), 409, "GEN_CONFLICT")


def test_a_run_beyond_the_limit_is_refused_before_its_first_row(api: Api) -> None:
    run = created(api, overdraft_limit=2)["run"]
    fund(api)
    found = api.get(path_of(run), wait="60s")
    assert found["status"] == "REFUSED" and found["refusal"]["short_by"] == 100 and found["rows_accepted"] == 0


# Unknown jobs and runs


NO_IDS = ["nothing", "fund_", "fund_0", "run_x", "..", "fund_" + "0" * 10_000, "%00", "a%2Fb", "é", "%ff", "'"]


@pytest.mark.parametrize("id", NO_IDS)
def test_an_id_that_is_none_is_not_found(client: FlaskClient, id: str) -> None:
    made = client.post("/funding-jobs", json=job()).get_json()["job_id"]
    paths = [
        f"/funding-jobs/{id}",
        f"/funding-jobs/{id}/runs",
        *(f"/funding-jobs/{id}/runs/{id}{end}" for end in _ENDS),
    ]
    paths += [f"/funding-jobs/{made}/runs/{id}{end}" for end in _ENDS]
    for path in paths:
        assert client.get(path).status_code == 404, path
    for action in ("pause", "resume", "cancel", "run", f"runs/{id}/retry"):
        assert client.post(f"/funding-jobs/{id}/{action}").status_code == 404, action
    assert client.post(f"/funding-jobs/{made}/runs/{id}/retry").status_code == 404


_ENDS = ("", "/rows")


def test_a_run_of_another_job_is_not_found(api: Api) -> None:
    first, second = created(api), created(api)
    path = f"/funding-jobs/{first['job_id']}/runs/{second['run']['run_id']}"
    for each in (path, f"{path}/rows"):
        refused(api.client.get(each), 404, "FND_NOT_FOUND")
    refused(api.client.post(f"{path}/retry"), 404, "FND_NOT_FOUND")


def test_what_a_list_cannot_be_asked_for_is_said(api: Api) -> None:
    run = created(api)["run"]
    jobs, of_job, rows = "/funding-jobs", f"/funding-jobs/{run['job_id']}/runs", f"{path_of(run)}/rows"
    for path, query, hint in (
        (jobs, "status=DONE", "ACTIVE, PAUSED, CANCELLED, FINISHED"),
        (jobs, "status=", "ACTIVE"),
        (jobs, "after=x", "the id of a funding job"),
        (jobs, f"after={run['run_id']}", "the id of a funding job"),
        (jobs, "limit=0", "limit"),
        (of_job, "after=", "the id of a run"),
        (of_job, "limit=x", "limit"),
        (rows, "status=applied", "UNPOSTED, QUEUED, INFLIGHT, APPLIED, VOID, REJECTED"),
        (rows, "after=x", "number of a row"),
        (rows, "limit=-1", "limit"),
        (path_of(run), "wait=x", "a duration"),
    ):
        assert hint in refused(api.client.get(f"{path}?{query}"), 400, "GEN_VALIDATION_ERROR")["message"]


def _with_a_rejected_row(api: Api, service: Service, recipients: list[dict[str, Any]]) -> dict[str, Any]:
    """A run whose second row was rejected: somebody spent from the pool while the run was on its way."""
    api.done(destination="@Pool", precise_amount=300)
    body = created(api, recipients=recipients, allow_overdraft=None)
    progress = Progress()
    while api.get(path_of(body["run"]))["started_at"] is None:
        assert runs.step(service.engine, datetime.now(UTC), progress)
    api.done(source="@Pool", destination="@C", precise_amount=100, allow_overdraft=None)
    fund(api)
    found: dict[str, Any] = api.get(path_of(body["run"]))
    assert found["rows_rejected"] == 1, found
    return found


def _rows_of_all_tables(service: Service) -> dict[str, int]:
    with begin(service.engine) as conn:
        names = conn.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).scalars().all()
        return {name: conn.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() for name in sorted(names)}


def test_the_id_of_a_run_names_its_transactions_as_that_of_a_bulk_does(api: Api) -> None:
    run = created(api)["run"]
    fund(api)
    body = api.get(f"/transactions/{run['run_id']}")
    assert (body["transaction_count"], body["status"], body["progress"]) == (2, "APPLIED", 1)
    listed = api.get("/transactions", parent_transaction_eq=run["run_id"])
    assert [each["parent_transaction"] for each in listed] == [run["run_id"]] * 2
