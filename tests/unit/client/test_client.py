"""The client against a stub: its requests, its reading of answers, and its repeats."""

import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from threading import Barrier
from typing import Any

import httpx
import pytest
from pacioli_client import Client, NewJob, NewLimits, NewTransaction, Recipient, Refund, Rule, Settlement, connect, wire
from pacioli_client.errors import (
    Conflict,
    Invalid,
    KeyRefused,
    NotConfigured,
    NotFound,
    PacioliError,
    Problem,
    Refused,
    Unavailable,
    Unreachable,
    Unsendable,
)

URL = "http://ledger.example:5001"
LEDGER = {"ledger_id": "ldg_1", "name": "Customers", "created_at": "2026-01-01T00:00:00Z", "meta_data": None}
BUSY = {"error": "busy", "error_detail": {"code": "GEN_UNAVAILABLE", "message": "busy"}}

Stub = Callable[..., Client]


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between tries, which take no time."""
    made: list[float] = []
    monkeypatch.setattr("pacioli_client.wire.sleep", made.append)
    return made


class Service:
    """Gives its answers in turn, and then the last one again and again."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.requests: list[httpx.Request] = []
        self.bodies: list[bytes] = []
        self._answers = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.bodies.append(request.read())
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    def client(self, key: str | None = None) -> Client:
        return Client(URL, key, transport=httpx.MockTransport(self))


def answer(body: Any, status: int = 200, **headers: str) -> httpx.Response:
    return httpx.Response(status, json=body, headers=headers)


# Addresses and keys


def test_the_key_is_sent_as_the_service_wants_it() -> None:
    service = Service(answer([]))
    service.client("secret").queues()
    assert service.requests[0].headers["X-Blnk-Key"] == "secret"
    assert str(service.requests[0].url) == f"{URL}/queues"


KEYS = [f"PACIOLI_{name}KEY{end}" for name in ("", "SECRET_") for end in ("", "_FILE")]


@pytest.mark.parametrize("variable", ["PACIOLI_KEY_FILE", "PACIOLI_SECRET_KEY_FILE"])
def test_the_key_may_be_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "key"
    monkeypatch.setenv(variable, str(file))
    with pytest.raises(NotConfigured, match=f"{variable}: {file} cannot be read .No such file"):
        connect(URL)
    file.write_text("")
    with pytest.raises(NotConfigured, match="is empty"):
        connect(URL)
    file.write_text("secret\n")
    service = Service(answer([]))
    connect(URL, transport=httpx.MockTransport(service)).queues()
    assert service.requests[0].headers["X-Blnk-Key"] == "secret"


def test_arguments_win_over_the_environment_and_that_over_the_running_instance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PACIOLI_URL", *KEYS):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "state.json").write_text(json.dumps({"web_url": "http://local"}))
    assert connect(data=tmp_path).url == "http://local"
    monkeypatch.setenv("PACIOLI_URL", "http://environment/")
    monkeypatch.setenv("PACIOLI_KEY", "its key")
    service = Service(answer([]))
    found = connect(data=tmp_path, transport=httpx.MockTransport(service))
    assert found.url == "http://environment"
    found.queues()
    assert service.requests[0].headers["X-Blnk-Key"] == "its key"
    assert connect("http://argument", "k", data=tmp_path).url == "http://argument"


@pytest.mark.parametrize(
    ("state", "says"), [(None, "no instance runs"), ("{", "cannot read"), ("{}", "does not say its web_url")]
)
def test_without_an_address_it_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str | None, says: str
) -> None:
    monkeypatch.delenv("PACIOLI_URL", raising=False)
    if state is not None:
        (tmp_path / "state.json").write_text(state)
    with pytest.raises(NotConfigured, match=says):
        connect(data=tmp_path)


def test_names_are_escaped_in_paths() -> None:
    service = Service(answer(LEDGER))
    service.client().ledgers.read("a/b?c d")
    assert service.requests[0].url.raw_path == b"/ledgers/a%2Fb%3Fc%20d"


# Numbers


def test_numbers_are_exact_both_ways() -> None:
    huge = 10**40 + 1
    service = Service(answer({"meta_data": {}, "metadata": {}}))
    service._answers = [httpx.Response(200, content=b'{"meta_data": {"rate": 0.10, "n": %d}}' % huge)]
    found = service.client().add_metadata("txn_1", {"rate": Decimal("0.10"), "n": huge})
    assert found == {"rate": Decimal("0.10"), "n": huge}
    assert service.bodies[0] == b'{"meta_data":{"rate":0.10,"n":%d}}' % huge


def test_the_limits_of_a_balance_are_read_and_set() -> None:
    balances = Service(answer({"balance_id": "bln_1", "changes": []})).client().balances
    for found in (balances.limits("bln_1"), balances.limit("bln_1", NewLimits(floor=500))):
        assert (found.balance_id, found.changes) == ("bln_1", [])


def test_threads_that_need_one_decoder_at_once_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_decoders", {})
    client = Service(answer(LEDGER)).client()
    together = Barrier(8)

    def read(_: int) -> str:
        together.wait()
        return client.ledgers.read("ldg_1").name

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(read, range(8))) == {"Customers"}
    assert len(wire._decoders) == 1


# Errors


@pytest.mark.parametrize(
    ("status", "kind"), [(400, Invalid), (401, KeyRefused), (404, NotFound), (409, Conflict), (500, Refused)]
)
def test_an_error_says_everything_that_the_service_said(status: int, kind: type[Refused]) -> None:
    detail = {"code": "FND_INVALID_RECIPIENTS", "message": "2 problems", "details": {
        "problems": [{"row": 2, "field": "amount", "message": "is required"}], "problem_count": 1}}  # fmt: skip
    service = Service(answer({"error": "2 problems", "error_detail": detail}, status, **{"X-Request-Id": "r1"}))
    with pytest.raises(kind) as caught:
        service.client().ledgers.read("ldg_1")
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.code, error.message, error.request_id) == (
        status, "FND_INVALID_RECIPIENTS", "2 problems", "r1",
    )  # fmt: skip
    assert error.problems == [Problem("is required", "amount", 2)]


def test_a_field_that_is_named_is_a_problem() -> None:
    detail = {"code": "GEN_VALIDATION_ERROR", "message": "unknown field", "details": {"field": "allow_overdrft"}}
    with pytest.raises(Invalid) as caught:
        Service(answer({"error": "", "error_detail": detail}, 400)).client().ledgers.read("ldg_1")
    assert caught.value.problems == [Problem("unknown field", "allow_overdrft")]


@pytest.mark.parametrize(
    ("details", "problem"),
    [
        ([{"Param": "sort_by", "Message": "must be status"}], Problem("must be status", "sort_by")),
        (
            {"problems": [{"index": 3, "field": "amount", "message": "is wrong"}]},
            Problem("is wrong", "amount", index=3),
        ),
    ],
)
def test_the_problems_of_a_list_and_of_a_batch_are_read(details: Any, problem: Problem) -> None:
    detail = {"code": "GEN_VALIDATION_ERROR", "message": "wrong", "details": details}
    with pytest.raises(Invalid) as caught:
        Service(answer({"error": "", "error_detail": detail}, 400)).client().ledgers.read("ldg_1")
    assert caught.value.problems == [problem]


@pytest.mark.parametrize("content", [b"404 page not found", b"\xff", b"[]", b""])
def test_an_error_that_is_not_json_is_an_error_all_the_same(content: bytes) -> None:
    service = Service(httpx.Response(404, content=content))
    with pytest.raises(NotFound):
        service.client().ledgers.read("ldg_1")


def test_an_answer_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(PacioliError, match="cannot be read"):
        Service(httpx.Response(200, content=b"<html>")).client().queues()


def test_down_is_an_answer_to_the_question_of_health() -> None:
    body = {"status": "DOWN", "reason": "database unreachable", "checks": {"database": "DOWN"}}
    service = Service(answer(body, 503))
    assert service.client().health().status == "DOWN"
    assert len(service.requests) == 1


# Repeating


def _read(client: Client) -> Any:
    return client.ledgers.read("ldg_1")


def _create_ledger(client: Client) -> Any:
    return client.ledgers.create("Customers")


def _make_key(client: Client) -> Any:
    return client.keys.create("n", owner="o", scopes=[], expires_at=datetime(2030, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("first", [answer(BUSY, 503), httpx.ReadError("gone"), httpx.ReadTimeout("slow")])
def test_a_read_is_repeated(pauses: list[float], first: Any) -> None:
    service = Service(first, first, answer(LEDGER))
    assert _read(service.client()).name == "Customers"
    assert (len(service.requests), pauses) == (3, [0.2, 0.4])


@pytest.mark.parametrize("ask", [_make_key])
@pytest.mark.parametrize(("first", "error"), [(answer(BUSY, 503), Unavailable), (httpx.ReadError("gone"), Unreachable)])
def test_what_might_be_done_twice_is_not_repeated(
    pauses: list[float], ask: Callable[[Client], Any], first: Any, error: type[PacioliError]
) -> None:
    service = Service(first)
    with pytest.raises(error):
        ask(service.client())
    assert (len(service.requests), pauses) == (1, [])


@pytest.mark.parametrize("ask", [_read, _create_ledger])
def test_what_was_never_sent_is_repeated_and_certainly_not_done(
    pauses: list[float], ask: Callable[[Client], Any]
) -> None:
    service = Service(httpx.ConnectError("refused"))
    with pytest.raises(Unreachable) as caught:
        ask(service.client())
    assert (len(service.requests), caught.value.uncertain) == (wire.TRIES, False)
    assert str(caught.value) == f"cannot reach {URL} (ConnectError)"


def test_it_gives_up_after_some_tries(pauses: list[float]) -> None:
    service = Service(answer(BUSY, 503))
    with pytest.raises(Unavailable):
        _read(service.client())
    assert len(service.requests) == wire.TRIES


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.transactions.create(NewTransaction(source="@A", destination="@B")),
        lambda client: client.transactions.commit_inflight("txn_1", Settlement(precise_amount=1)),
        lambda client: client.transactions.refund("txn_1", Refund(precise_amount=1)),
        lambda client: client.funding.run("fund_1"),
        lambda client: client.funding.create(NewJob(name="n", source="@Pool", rule=Rule(ledger_id="ldg_1"))),
    ],
)
def test_what_moves_money_is_repeated_with_the_same_reference(
    pauses: list[float], ask: Callable[[Client], Any]
) -> None:
    service = Service(httpx.ReadError("gone"), answer({"error": "stop"}, 400))
    with pytest.raises(Invalid):
        ask(service.client())
    first, second = service.bodies
    assert first == second
    assert json.loads(first)["reference"].startswith("client-")


@pytest.mark.parametrize("ask", [_create_ledger, lambda client: client.transactions.refund("txn_1")])
def test_what_has_no_reference_is_repeated_with_the_same_idempotency_key(
    pauses: list[float], ask: Callable[[Client], Any]
) -> None:
    service = Service(httpx.ReadError("gone"), answer(BUSY, 503), answer({"error": "stop"}, 400))
    with pytest.raises(Invalid):
        ask(service.client())
    keys = {request.headers["Idempotency-Key"] for request in service.requests}
    assert (len(service.requests), len(keys), len(set(service.bodies))) == (3, 1, 1)


# Pages


def test_a_list_follows_the_links() -> None:
    following = answer([LEDGER], Link='</ledgers?limit=1&after=ldg_1>; rel="next"')
    service = Service(following, answer([LEDGER]))
    assert len(list(service.client().ledgers.list(limit=1, name_eq="Customers"))) == 2
    queries = [request.url.query for request in service.requests]
    assert queries == [b"limit=1&name_eq=Customers", b"limit=1&after=ldg_1"]


def test_a_list_of_values_is_written_as_its_filter_reads_it() -> None:
    service = Service(answer([]))
    ledgers = service.client().ledgers
    assert not list(ledgers.list(name_in=["A B", "C"], created_at_between=(datetime(2026, 1, 1, tzinfo=UTC), "2027")))
    params = service.requests[0].url.params
    assert (params["name_in"], params["created_at_between"]) == ("A B,C", "2026-01-01T00:00:00+00:00|2027")
    with pytest.raises(Unsendable, match="name_in: a value has a ,"):
        list(ledgers.list(name_in=["A, B", "C"]))
    assert len(service.requests) == 1


# Names


@pytest.mark.parametrize(("name", "path"), [("..", b"/ledgers/%2E%2E"), ("a/b?c", b"/ledgers/a%2Fb%3Fc")])
def test_a_name_stays_one_step_of_the_path(name: str, path: bytes) -> None:
    service = Service(answer(LEDGER))
    service.client().ledgers.read(name)
    assert service.requests[0].url.raw_path == path


@pytest.mark.parametrize("name", ["", "\ud800"])
def test_a_name_that_no_path_can_have_is_never_sent(name: str) -> None:
    service = Service(answer(LEDGER))
    with pytest.raises(Unsendable, match="the id or name is "):
        service.client().ledgers.read(name)
    with pytest.raises(Unsendable, match="no Unicode"):
        service.client().ledgers.create("\ud800")
    assert service.requests == []


# Uploads


class Pipe(io.BytesIO):
    """A file that cannot be read twice."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise io.UnsupportedOperation("seek")

    def tell(self) -> int:
        raise io.UnsupportedOperation("tell")


@pytest.mark.parametrize(
    "second",
    [
        Recipient(destination="@Ben", precise_amount=5),
        Recipient(destination="@Ben", amount=Decimal(5), precise_amount=5),
    ],
)
def test_every_row_has_the_same_kind_of_amount(second: Recipient) -> None:
    service = Service(answer({}))
    job = NewJob(name="welcome", source="@Pool")
    with pytest.raises(Unsendable, match="@Ben"):
        service.client().funding.create(job, [Recipient(destination="@Ana", amount=Decimal(1)), second])
    assert service.requests == []


CSV = b"destination,amount,description\n@Ana,1.50,Hello\n@Ben,2,\n"


def _after_a_header() -> io.BytesIO:
    file = io.BytesIO(b"skipped" + CSV)
    file.seek(7)
    return file


@pytest.mark.parametrize(
    "recipients",
    [
        lambda: io.BytesIO(CSV),
        _after_a_header,
        lambda: Pipe(CSV),
        lambda: iter(
            [Recipient(destination="@Ana", amount=Decimal("1.50"), description="Hello"),
             Recipient(destination="@Ben", amount=Decimal(2))]
        ),
    ],
)  # fmt: skip
def test_a_list_is_sent_whole_each_time_and_with_its_length(pauses: list[float], recipients: Callable[[], Any]) -> None:
    service = Service(answer(BUSY, 503), answer({"error": "stop"}, 400))
    told: list[tuple[int, int]] = []
    with pytest.raises(Invalid):
        service.client().funding.create(
            NewJob(name="n", source="@Pool"), recipients(), sent=lambda done, of: told.append((done, of))
        )
    assert len(service.bodies) == 2
    for request, body in zip(service.requests, service.bodies, strict=True):
        assert CSV in body
        assert b"skipped" not in body
        assert b'name="job"\r\n\r\n{"name":"n","source":"@Pool","reference":"client-' in body
        assert int(request.headers["Content-Length"]) == len(body)
    assert told[-1] == (len(CSV), len(CSV))
