"""The command line: what it prints, what it exits with, and that failures are one line which says what to do next."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient
from pacioli_client.wire import Step, Try, Wire
from sqlalchemy import Engine, make_url, text
from structlog.testing import capture_logs

from core.base.db import begin, reading
from core.base.errors import TransientError
from core.base.ids import new_id
from core.ledger import append, drain, intake
from core.ledger.append import Submission
from core.ledger.intake import Batch
from core.ledger.rules import validation
from core.ledger.rules.requests import Leg
from core.ledger.store import queues as queue_store
from core.ledger.store import waiting as waiting_store
from ops.cli import demo
from ops.cli.main import main
from ops.cli.show.text import money
from tests.harness.api import close
from tests.harness.cli import HERE, Run, failed, ok, served
from tests.harness.factories import Ledger, transaction
from tests.harness.keys import KEY
from web.app import create_app


def test_the_help_teaches(run: Run) -> None:
    out = ok(run("--help"))
    for command in ("up", "demo", "balance", "transaction", "queues", "currencies", "verify", "snapshot", "migrate"):
        assert f"\n  {command} " in out
        assert "pacioli" in ok(run(command, "--help"))
    assert "pacioli queues resize 16" in ok(run("queues", "--help"))


def test_migrate_may_run_again(run: Run) -> None:
    assert "up to date" in ok(run("migrate"))


# Balances


@pytest.mark.smoke
def test_a_balance_by_name_shows_all_its_currencies(ledger: Ledger, run: Run) -> None:
    ledger.post(precise_amount=123456)
    ledger.post(precise_amount=7, currency="JPY", precision=1)
    ledger.post(precise_amount=2001, source="@A", destination="@B", inflight=True)
    ledger.drain()
    out = ok(run("balance", "@A"))
    for part in ("@A in USD", "@A in JPY", "1,234.56", "20.01", "1,214.55", "@World", "precision 100"):
        assert part in out
    assert "@A in JPY" not in ok(run("balance", "@A", "--currency", "USD"))


def test_a_balance_is_drawn_over_its_entries(ledger: Ledger, run: Run) -> None:
    for number in range(4):
        ledger.post(source="@World", destination="@Shop", amount=100, reference=f"chart-{number}")
    ledger.drain()
    drawn = ok(run("balance", "@Shop", "--chart", "--entries", "4"))
    assert "\n   █ 400.00\n" in drawn and "\n████\n" in drawn
    assert "reference" not in drawn


def test_a_balance_as_json_is_exact_beyond_any_float(ledger: Ledger, run: Run) -> None:
    huge = 10**40 + 1
    ledger.post(precise_amount=huge)
    ledger.drain()
    (body,) = json.loads(ok(run("balance", "@A", "--json")))
    assert body["balance"] == body["available_balance"] == body["entries"][0]["precise_amount"] == huge
    assert body["meta_data"] is None
    assert json.loads(ok(run("balance", body["balance_id"], "--json"))) == [body]


def test_the_last_entries_are_the_newest_and_in_order(ledger: Ledger, run: Run) -> None:
    for amount in range(1, 8):
        ledger.post(precise_amount=amount)
        ledger.post(precise_amount=1, inflight=True)  # Takes a version, and makes no entry.
    ledger.drain()
    (body,) = json.loads(ok(run("balance", "@A", "--entries", "3", "--json")))
    assert [entry["precise_amount"] for entry in body["entries"]] == [5, 6, 7]
    (body,) = json.loads(ok(run("balance", "@A", "--entries", "100", "--json")))
    assert [entry["precise_amount"] for entry in body["entries"]] == [1, 2, 3, 4, 5, 6, 7]
    assert "no entries yet" not in ok(run("balance", "@A", "--entries", "0"))
    (body,) = json.loads(ok(run("balance", "@A", "--entries", "0", "--json")))
    assert body["entries"] == []


def test_an_unknown_balance_says_what_to_give(ledger: Ledger, run: Run) -> None:
    ledger.post()
    failed(run("balance", "@Nobody"), 1, "there is no balance @Nobody", "give a bln_ id, or an @Name")
    failed(run("balance", "@A", "--currency", "EUR"), 1, "there is no balance @A in EUR")
    failed(run("balance", "bln_nonsense"), 1, "there is no balance bln_nonsense")


# Transactions


def test_a_rejected_transaction_shows_the_sum(ledger: Ledger, run: Run) -> None:
    posted = ledger.post(reference="r", source="@A", destination="@B", precise_amount=150, allow_overdraft=False)
    ledger.drain()
    out = ok(run("transaction", "r"))
    for part in ("REJECTED", "1.50 USD", "@A", "@B", "available USD0.00, asked USD1.50, short by USD1.50"):
        assert part in out
    body = json.loads(ok(run("transaction", posted.transaction_id, "--json")))
    assert body["rejection"]["short_by"] == 150
    assert [step["status"] for step in body["timeline"]] == ["QUEUED", "REJECTED"]


def test_a_queued_transaction_shows_its_place_in_line(ledger: Ledger, run: Run) -> None:
    ledger.post(source="@A", destination="@B")
    last = ledger.post(source="@A", destination="@B")
    out = ok(run("transaction", last.transaction_id))
    assert "QUEUED" in out
    assert f"1 ahead of it in queue {last.queue}" in out
    body = json.loads(ok(run("transaction", last.transaction_id, "--json")))
    assert (body["queue"]["ahead"], body["queue"]["number"]) == (1, last.queue)


def test_a_split_shows_its_legs(ledger: Ledger, run: Run) -> None:
    halves = [Leg("@A", distribution="50%"), Leg("@B", distribution="left")]
    ledger.post(destination=None, destinations=halves, reference="parted", precise_amount=5)
    ledger.drain()
    shown = ok(run("transaction", "parted"))
    assert "APPLIED" in shown
    assert "@A, @B" in shown
    assert "parted_1" in shown
    assert "parted_2" in shown
    body = json.loads(ok(run("transaction", "parted", "--json")))
    assert [leg["precise_amount"] for leg in body["legs"]] == [2, 3]


def test_a_batch_shows_its_transactions_by_status(ledger: Ledger, run: Run) -> None:
    batch = new_id("bulk_")
    paid, short = transaction(), transaction(source="@Empty", allow_overdraft=False)
    drafts = intake.draft_all([paid, short], ledger.directory, batch=Batch(batch))
    with begin(ledger.engine) as conn:
        append.append(conn, [Submission(drafts)])
    ledger.drain()
    counts = json.loads(ok(run("transaction", batch, "--json")))["counts"]
    assert {status: count for status, count in counts.items() if count} == {"APPLIED": 1, "REJECTED": 1}
    shown = ok(run("transaction", batch))
    assert "APPLIED" in shown
    assert "REJECTED" in shown


def test_a_scheduled_transaction_is_shown(ledger: Ledger, run: Run) -> None:
    ledger.post(reference="later", scheduled_for="2999-01-01T00:00:00Z")
    assert "SCHEDULED" in ok(run("transaction", "later"))


def test_a_settled_hold_shows_its_timeline(ledger: Ledger, run: Run) -> None:
    hold = ledger.post(precise_amount=500, inflight=True, reference="h")
    ledger.drain()
    ledger.settle(hold.transaction_id, "commit", precise_amount=200)
    ledger.drain()
    ledger.settle(hold.transaction_id, "void", reference="v")
    ledger.drain()
    out = ok(run("transaction", "h"))
    assert "committed 2.00, voided 3.00, remaining 0.00" in out
    assert out.index("QUEUED ") < out.index("INFLIGHT ") < out.rindex("APPLIED ")
    assert "3.00 USD" in ok(run("transaction", "v"))


def test_text_of_clients_cannot_steer_the_terminal(ledger: Ledger, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:  # An earlier release took such names.
        patch.setattr(validation, "unclear", lambda text: None)
        ledger.post(reference="r\x1b[2J", description="[bold]\x1b]0;owned\x07", destination="@\x1b[31mA")
    ledger.drain()
    for arguments in (("transaction", "r\x1b[2J"), ("balance", "@\x1b[31mA")):
        out = ok(run(*arguments))
        assert "\x1b" not in out
        assert "\x07" not in out
    assert "[bold]" in ok(run("transaction", "r\x1b[2J"))


def test_an_unknown_transaction_says_what_to_give(run: Run) -> None:
    failed(run("transaction", "nope"), 1, "there is no transaction nope", "the reference it was sent with")


# Queues and currencies


def test_queues_show_what_waits_and_can_be_resized(ledger: Ledger, run: Run) -> None:
    posted = ledger.post()
    states = json.loads(ok(run("queues", "--json")))
    assert [state["depth"] for state in states] == [int(number == posted.queue) for number in range(8)]
    assert "waiting" in ok(run("queues"))
    assert ok(run("queues", "resize", "3")) == "3 queues now, 8 before\n"
    assert len(json.loads(ok(run("queues", "--json")))) == 3
    assert ok(run("queues", "resize", "3")) == "3 queues already\n"
    failed(run("queues", "resize", "65"), 2, "65 is not in the range 1<=x<=64")


def test_a_precision_is_set_before_the_first_use_only(ledger: Ledger, run: Run) -> None:
    assert "no currency has a precision yet" in ok(run("currencies"))
    assert ok(run("currencies", "set", "JPY", "1")) == "JPY has precision 1\n"
    ok(run("currencies", "set", "JPY", "1"))
    ledger.post(precision=100)
    failed(run("currencies", "set", "USD", "1000"), 1, "USD has precision 100, and it cannot change")
    ledger.post(precision=None, currency="BTC")
    failed(run("currencies", "set", "BTC", "100000000"), 1, "BTC has precision 1, and it cannot change")
    ok(run("currencies", "set", "BTC", "1"))
    found = {each["currency"]: each["precision"] for each in json.loads(ok(run("currencies", "--json")))}
    assert found == {"BTC": 1, "JPY": 1, "USD": 100}
    assert "0.01" in ok(run("currencies"))


@pytest.mark.parametrize("arguments", [("USD", "0"), ("USD", "1.5"), ("", "100"), ("x" * 33, "1"), ("a\x00b", "1")])
def test_a_precision_that_cannot_be_is_refused(run: Run, arguments: tuple[str, str]) -> None:
    failed(run("currencies", "set", *arguments), 2)


# Verify


def test_verify_says_what_it_read(ledger: Ledger, run: Run) -> None:
    ledger.post()
    ledger.post(source="@A", destination="@B", precise_amount=2, allow_overdraft=False)
    ledger.drain()
    ledger.post()
    told = "the ledger is sound: 3 transactions (1 rejected, 1 not decided yet), 3 balances, 0 holds, 1 currency\n"
    said = ok(run("verify", PACIOLI_CHAIN_KEY="ab" * 32))
    assert said == told + "checkpoint 1 vouches for the log up to sequence 3; signed\n"
    ledger.drain()
    ledger.post()
    said = ok(run("verify", "--since-checkpoint"))
    assert "the ledger is sound: 1 transaction from sequence 4 on (0 rejected, 1 not decided yet)" in said
    assert "checkpoint 1 vouches for the log up to sequence 3; unsigned, or not checked" in said
    ledger.drain()
    body = json.loads(ok(run("verify", "--json")))
    assert (body["ok"], body["transactions"], body["problems"]) == (True, 4, [])
    assert (body["from_sequence"], body["to_sequence"], body["complete"]) == (1, 4, True)
    assert (body["checkpoint"]["id"], body["signed"]) == (1, False)


def test_verify_names_the_damage_and_exits_with_1(ledger: Ledger, run: Run) -> None:
    ledger.post(precise_amount=10)
    ledger.drain()
    with begin(ledger.engine) as conn:
        conn.execute(text("SET LOCAL session_replication_role = replica"))
        conn.execute(text("UPDATE outcomes SET amount = 11"))
    result = run("verify")
    assert result.exit_code == 1
    assert "the ledger is damaged" in result.stdout
    assert "first: outcomes, seq 1, amount: expected 10, by the log up to here, found 11" in result.stdout
    result = run("verify", "--json")
    assert result.exit_code == 1
    body = json.loads(result.stdout)
    assert not body["ok"]
    assert body["problems"][0]["table"] == "outcomes"


def test_a_key_that_is_none_is_refused(run: Run, tmp_path: Path, database_url: str) -> None:
    for key in ("zz" * 32, "ab" * 31, "secret"):
        failed(run("verify", PACIOLI_CHAIN_KEY=key), 2, "PACIOLI_CHAIN_KEY must be at least 64 hexadecimal digits")
    (tmp_path / "state.json").write_text(json.dumps({"database_url": database_url}))
    (tmp_path / "chain.key").write_text("secret")
    runner = CliRunner(env={"DATABASE_URL": None, "PACIOLI_CHAIN_KEY": None})
    failed(runner.invoke(main, ["verify", "--data", str(tmp_path)]), 2, "chain.key: must be at least")


# Which database


def test_without_a_database_the_running_instance_is_found(database_url: str, ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(json.dumps({"database_url": database_url}))
    ledger.post()
    ledger.drain()
    (tmp_path / "chain.key").write_text("ab" * 32 + "\n")
    runner = CliRunner(env={"DATABASE_URL": None, "PACIOLI_CHAIN_KEY": None})
    assert "vouches for the log up to sequence 1; signed" in ok(
        runner.invoke(main, ["verify", "--data", str(tmp_path)])
    )
    for arguments in (
        ["queues", "--data", str(tmp_path), "resize", "4"],
        ["queues", "resize", "5", "--data", str(tmp_path)],
    ):
        assert "queues now" in ok(runner.invoke(main, arguments))


def test_failures_to_ask_are_one_line_and_exit_with_2(database_url: str, tmp_path: Path) -> None:
    def run(url: str | None) -> Result:
        return CliRunner(env={"DATABASE_URL": url}).invoke(main, ["verify", "--data", str(tmp_path)])

    failed(run(None), 2, "no instance runs in", "start one with `pacioli up`")
    (tmp_path / "state.json").write_text("{")
    failed(run(None), 2, "cannot read")
    (tmp_path / "state.json").write_text("{}")
    failed(run(None), 2, "does not say its database_url")
    failed(run("nonsense"), 2, "DATABASE_URL is not a URL")
    failed(run("postgresql://nobody@127.0.0.1:1/nothing"), 2, "the database does not answer", "see that it runs")
    name = make_url(database_url).set(database="no_such_database").render_as_string(hide_password=False)
    failed(run(name), 2, "no_such_database")
    bare = make_url(database_url).set(database="template1").render_as_string(hide_password=False)
    failed(run(bare), 2, "run `pacioli migrate`")


def test_migrate_without_a_server_is_one_line(tmp_path: Path) -> None:
    runner = CliRunner(env={"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"})
    failed(runner.invoke(main, ["migrate"]), 2, "the database does not answer")


@pytest.mark.parametrize(
    ("minor", "precision", "text"),
    [
        (0, 100, "0.00"),
        (5, 100, "0.05"),
        (-5, 100, "-0.05"),
        (123456789, 100, "1,234,567.89"),
        (-123450, 100, "-1,234.50"),
        (1000, 1, "1,000"),
        (1000, None, "1,000"),
        (3, 4, "0.75"),
        (10**40, 100, "100," + ",".join(["000"] * 12) + ".00"),
    ],
)  # fmt: skip
def test_money_for_people(minor: int, precision: int | None, text: str) -> None:
    assert money(minor, precision) == text


# The demo


@pytest.fixture
def service(database_url: str, engine: Engine) -> Iterator[str]:
    """The web application on a port of its own, and a thread that drains as workers would."""
    app = create_app({"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": KEY})
    done = threading.Event()

    def work() -> None:
        while not done.wait(0.01):
            with reading(engine) as conn:
                waiting = waiting_store.with_work(conn)
            for queue in waiting:
                drain.drain(engine, queue)

    worker = threading.Thread(target=work)
    worker.start()
    with served(app) as url, capture_logs():  # They would end up in what the command prints.
        yield url
    done.set()
    worker.join()
    close(app)


def test_the_demo_tells_the_truth_and_may_be_told_again(service: str, run: Run) -> None:
    out = ok(run("demo", "--url", service, PACIOLI_KEY=KEY))
    assert "short by USD83.50" in out
    assert "add up to: EUR 0, USD 0" in out
    assert "All as told." in out
    body = json.loads(ok(run("demo", "--url", service, "--json", PACIOLI_SECRET_KEY=KEY)))
    assert body["ok"]
    pool = next(one for one in body["balances"] if one["name"] == "@FundingPool")
    assert (pool["before"], pool["change"], pool["now"]) == (-22550, -22550, -45100)
    assert sum(one["change"] for one in body["balances"]) == 0
    assert body["totals"] == {name: {"change": 0, "all_balances": 0} for name in ("USD", "EUR")}
    assert ok(run("verify")).startswith("the ledger is sound: 24 transactions (2 rejected, 0 not decided yet)")


def test_the_demo_is_not_led_astray_by_other_postings(service: str, ledger: Ledger, run: Run) -> None:
    done = threading.Event()

    def post() -> None:
        while not done.wait(0.02):
            ledger.bulk(*(transaction(destination="@Revenue", source="@FundingPool") for _ in range(3)))

    other = threading.Thread(target=post)
    other.start()
    out = run("demo", "--url", service, PACIOLI_KEY=KEY)
    done.set()
    other.join()
    assert "All as told." in ok(out)


def test_a_demo_that_is_not_as_told_exits_with_1(service: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    do = Wire._do

    def lying(self: Wire, step: Step) -> Any:
        response = do(self, step)
        if isinstance(step, Try) and step.request.path.startswith("/transactions/") and b"tourist" in response.content:
            content = response.content.replace(b'"APPLIED"', b'"REJECTED"')
            return httpx.Response(response.status_code, content=content)
        return response

    monkeypatch.setattr(Wire, "_do", lying)
    failed(run("demo", "--url", service, PACIOLI_KEY=KEY), 1, "not as told", "tourist", "APPLIED", "REJECTED")


def test_the_demo_says_why_it_cannot_begin(service: str, run: Run, tmp_path: Path) -> None:
    failed(run("demo", "--url", service), 2, "wants a key")
    failed(run("demo", "--url", "http://127.0.0.1:1"), 2, "cannot reach http://127.0.0.1:1", "pacioli up")
    (tmp_path / "state.json").write_text(json.dumps({"web_url": service}))
    failed(run("demo", "--data", str(tmp_path), PACIOLI_URL=""), 2, f"{service} wants a key")


def test_a_command_finds_the_key_of_the_instance_and_sends_it_nowhere_else(
    service: str, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "api.key").write_text(f"{KEY}\n")
    key_file = str(tmp_path / "api.key")
    (tmp_path / "state.json").write_text(json.dumps({"web_url": service, "key_file": key_file}))
    data = ("--data", str(tmp_path))
    ok(run("queues", *data, PACIOLI_URL=""))
    ok(run("queues", *data, "--url", service))
    ok(run("queues", *data, PACIOLI_URL="", PACIOLI_SECRET_KEY="the-key-of-another-ledger"))
    failed(run("queues", *data, PACIOLI_URL="", PACIOLI_KEY="wrong"), 2, "wants a key")
    (tmp_path / "other.key").write_text("wrong\n")
    other = str(tmp_path / "other.key")
    failed(run("queues", *data, "--key-file", other, PACIOLI_URL=""), 2, "wants a key")
    failed(run("queues", *data, PACIOLI_URL="", PACIOLI_KEY_FILE=other), 2, "wants a key")
    ok(run("queues", "--url", service, "--key-file", key_file))
    ok(run("queues", "--url", service, PACIOLI_KEY_FILE=key_file))
    failed(run("queues", *data, "--key-file", f"{other}.gone", PACIOLI_URL=""), 2, "which cannot be read: No such file")
    (tmp_path / "state.json").write_text(json.dumps({"web_url": "http://127.0.0.1:1", "key_file": key_file}))
    failed(run("queues", *data, "--url", service), 2, "wants a key")


def test_the_demo_says_when_no_worker_runs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "DECIDED_TIMEOUT_S", 0.0)
    monkeypatch.setattr(demo, "WAIT_S", 0.1)
    failed(run("demo"), 1, "does a worker run?")


# Which service


ASKING = (
    ("balance", "@A"), ("transaction", "r"), ("queues",), ("funding",), ("funding", "show", "j"), ("demo",),
    ("fund", "--ledger", "ldg_x", "--amount", "1", "--source", "bln_x"),
)  # fmt: skip


@pytest.mark.parametrize("arguments", ASKING, ids=" ".join)
def test_without_a_service_a_command_says_in_one_line_what_to_do(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setattr("pacioli_client.wire.sleep", lambda _: None)
    failed(run(*arguments, PACIOLI_URL="http://127.0.0.1:1"), 2, "cannot reach http://127.0.0.1:1", "`pacioli up`")
    failed(run(*arguments, PACIOLI_URL="nonsense"), 2, "nonsense", "such as http://127.0.0.1:5001")
    nowhere = run(*arguments, "--data", str(tmp_path), PACIOLI_URL="")
    failed(nowhere, 2, f"no instance runs in {tmp_path}", "`pacioli up`", "--url or PACIOLI_URL")


def test_the_service_of_the_running_instance_is_asked(run: Run, tmp_path: Path, ledger: Ledger) -> None:
    ledger.post()
    ledger.drain()
    (tmp_path / "state.json").write_text(json.dumps({"web_url": HERE}))
    for arguments in (("balance", "@A"), ("funding",), ("funding", "--data", str(tmp_path), "show", "nope")):
        result = run(*arguments, *(() if "--data" in arguments else ("--data", str(tmp_path))), PACIOLI_URL="")
        if "show" in arguments:
            failed(result, 1, "there is no funding job nope")
        else:
            assert ok(result)


def test_a_service_that_is_busy_or_at_fault_is_told_with_its_request(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: Any) -> None:
        raise TransientError("gone")

    def broken(*_: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("pacioli_client.wire.sleep", lambda _: None)
    monkeypatch.setattr(queue_store, "states", lost)
    failed(run("queues"), 2, "cannot answer now (gone)", "then try again")
    monkeypatch.setattr(queue_store, "states", broken)
    failed(run("queues"), 2, "answered with status 500: internal server error", "in its log")


def test_what_the_service_sends_is_what_json_prints(run: Run, ledger: Ledger, client: FlaskClient) -> None:
    ledger.post(reference="r", precise_amount=10**40 + 1)
    ledger.drain()
    assert json.loads(ok(run("transaction", "r", "--json"))) == client.get("/transactions/reference/r").json
    assert json.loads(ok(run("queues", "--json"))) == client.get("/queues").json
    sent = client.get("/verify").get_json()
    printed = json.loads(ok(run("verify", "--since-checkpoint", "--json")))
    assert printed == {**sent, "checkpoint": printed["checkpoint"]}  # The command wrote it.
    assert sent["checkpoint"] is None and printed["checkpoint"]["sequence"] == 1
