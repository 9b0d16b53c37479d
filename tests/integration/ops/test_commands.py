"""The commands that post and read: what they do, what they print at each width, and what they refuse."""

import csv
import io
import json
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from ops.cli.show import text
from tests.harness.cli import Run, failed, ok
from tests.harness.factories import Ledger


@pytest.fixture(autouse=True)
def _decided(ledger: Ledger) -> Iterator[None]:
    """Decide what is posted, as a worker would."""
    ended = threading.Event()

    def drain() -> None:
        while not ended.wait(0.02):
            ledger.drain()

    worker = threading.Thread(target=drain)
    worker.start()
    yield
    ended.set()
    worker.join()


POST = ("post", "120", "USD", "--from", "@World", "--to", "@Ana", "--allow-overdraft", "--precision", "100")


def post(run: Run, *arguments: str) -> Any:
    return json.loads(ok(run("post", *arguments, "--json")))


@pytest.fixture
def shop(run: Run) -> Run:
    """A ledger with a few transactions of each kind."""
    ok(run(*POST, "--reference", "start/ana", "--description", "A starting balance"))
    shares = ("--to", "@Fees=1.28", "--to", "@Tax=19%", "--to", "@Revenue=left")
    ok(run("post", "1,042.50", "USD", "--from", "@World", *shares, "--allow-overdraft", "--reference", "sale/1"))
    ok(run("hold", "60", "USD", "--from", "@Ana", "--to", "@Revenue", "--reference", "order/7"))
    return run


@pytest.mark.smoke
def test_a_payment_is_posted_and_shown_as_it_was_asked_for(run: Run) -> None:
    out = ok(run(*POST, "--reference", "start/ana", "--metadata", "customer_id=7"))
    for part in ("APPLIED  120.00 USD", "@World", "@Ana", "start/ana", " UTC", " later"):
        assert part in out
    again = json.loads(ok(run(*POST, "--reference", "start/ana", "--metadata", "customer_id=7", "--json")))
    assert (again["amount"], again["meta_data"]["customer_id"]) == (120, 7)
    assert "120.00" in ok(run("balance", "@Ana"))


def test_what_is_rejected_exits_with_1(shop: Run) -> None:
    result = shop("post", "500", "USD", "--from", "@Ana", "--to", "@Ben")
    assert (result.exit_code, "REJECTED  500.00 USD" in result.stdout, "short by" in result.stdout) == (1, True, True)


def test_legs_have_the_names_of_the_request(shop: Run) -> None:
    out = ok(shop("transaction", "sale/1"))
    assert "@Fees, @Tax, @Revenue" in " ".join(out.split())
    for name, amount in (("@Fees", "1.28"), ("@Tax", "198.07"), ("@Revenue", "843.15")):
        assert re.search(rf"{name} +{amount}", out), out


def test_a_hold_is_committed_voided_and_what_followed_is_shown(shop: Run) -> None:
    ok(shop("commit", "order/7", "45.00"))
    ok(shop("void", "order/7"))
    out = ok(shop("transaction", "order/7"))
    assert "committed 45.00, voided 15.00, remaining 0.00" in " ".join(out.split())
    assert re.search(r"commit of the hold +45\.00 +APPLIED", out)
    assert re.search(r"void of the hold +15\.00 +VOID", out)


def test_a_refund_is_shown_with_what_it_refunded(shop: Run) -> None:
    ok(shop("refund", "start/ana", "20", "--reference", "back/1", "--description", "One novel was damaged"))
    assert re.search(r"refund +20\.00 +APPLIED", ok(shop("transaction", "start/ana")))
    refunded = json.loads(ok(shop("transaction", "start/ana", "--json")))["transaction_id"]
    assert f"belongs to   {refunded}" in ok(shop("transaction", "back/1"))
    failed(shop("refund", "nonsense"), 1, "there is no transaction nonsense")


def test_a_dry_run_keeps_nothing(shop: Run) -> None:
    out = ok(shop("post", "10", "USD", "--from", "@Ana", "--to", "@New", "--dry-run", "--reference", "dry"))
    assert "would be applied" in out and "@New" in out and "120.00" in out
    failed(shop("transaction", "dry"), 1, "there is no transaction dry")
    assert shop("post", "900", "USD", "--from", "@Ana", "--to", "@New", "--dry-run").exit_code == 1


def test_a_scheduled_payment_says_when_in_both_zones(shop: Run) -> None:
    result = shop("post", "10", "USD", "--from", "@Ana", "--to", "@Ben", "--at", "2031-12-24 08:00 Europe/Berlin")
    assert result.exit_code == 0, result.output
    assert "it is posted on Wed 2031-12-24 0" in result.stderr
    assert "SCHEDULED" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("post", "12,50", "USD", "--from", "@A", "--to", "@B"), "has a decimal comma: write 12.50"),
        (("post", "1.234,50", "USD", "--from", "@A", "--to", "@B"), "write 1234.50"),
        (("post", "$5", "USD", "--from", "@A", "--to", "@B"), "is not an amount: write one such as 12.50"),
        (("post", "0", "USD", "--from", "@A", "--to", "@B"), "is not more than zero"),
        (("post", "5", "usd", "--from", "@A", "--to", "@B", "--precision", "100"), "did you mean USD?"),
        (("post", "5", "USD", "--from", "@A", "--to", "@B=1", "--to", "@C"), "several need a share each"),
        (("post", "5", "USD", "--from", "@A", "--to", "@B", "--at", "24.12.2026"), "is not a time: write one such as"),
        (("post", "5", "USD", "--from", "@A", "--to", "@B", "--metadata", "x"), "is not a key and a value"),
        (("balances", "--least", "5"), "say which with --currency"),
        (("transactions", "--since", "tomorrow 8"), "write 8:00, or 8am"),
    ],
)
def test_a_wrong_argument_says_what_would_be_right(run: Run, arguments: tuple[str, ...], says: str) -> None:
    failed(run(*arguments), 2, says)


def test_a_mistyped_currency_is_suggested(shop: Run) -> None:
    failed(shop("balance", "@Ana", "--currency", "usd"), 1, "there is no balance @Ana in usd: did you mean USD?")
    failed(shop("balance", "@Ana", "--currency", "EUR"), 1, "there is no balance @Ana in EUR: it has USD")
    ok(shop("post", "5", "EUR", "--from", "@World", "--to", "@Ana", "--allow-overdraft", "--precision", "100"))
    failed(shop("balance", "history", "@Ana", "--at", "now"), 2, "@Ana has several currencies", "EUR, USD")


# Lists


def test_balances_are_listed_searched_and_sorted(shop: Run) -> None:
    out = ok(shop("balances", "--internal"))
    assert all(name in out for name in ("@World", "@Ana", "@Fees", "-1,162.50"))
    names = [row["indicator"] for row in json.loads(ok(shop("balances", "fee", "--json")))]
    assert names == ["@Fees"]
    smallest = json.loads(ok(shop("balances", "--currency", "USD", "--sort", "smallest", "--limit", "1", "--json")))
    assert [row["indicator"] for row in smallest] == ["@World"]
    found = json.loads(ok(shop("balances", "--currency", "USD", "--least", "150", "--most", "200", "--json")))
    assert [row["indicator"] for row in found] == ["@Tax"]
    assert "and more: --limit 20 shows more" in ok(shop("balances", "--limit", "2"))


def test_a_ledger_and_a_balance_are_created_and_found_by_their_metadata(shop: Run) -> None:
    ledger = ok(shop("ledger", "create", "Customers")).strip()
    made = ok(
        shop(
            *("balance", "create", "--ledger", ledger, "--currency", "USD"),
            *("--metadata", "customer_id=7", "--metadata", "name=Ana"),
        )
    ).strip()
    assert "Customers" in ok(shop("ledger", "list", "cust"))
    (found,) = json.loads(ok(shop("balances", "--metadata", "customer_id=7", "--json")))
    assert (found["balance_id"], found["meta_data"]) == (made, {"customer_id": 7, "name": "Ana"})
    assert "Ana " in ok(shop("balances", "--ledger", ledger))
    assert "@Till" in ok(shop("balances", "--internal")) or ok(
        shop("balance", "create", "--name", "@Till", "--currency", "USD")
    )


def test_what_a_balance_held_is_shown(shop: Run) -> None:
    assert "120.00" in ok(shop("balance", "history", "@Ana", "--at", "now"))
    out = ok(shop("balance", "history", "@Ana", "--currency", "USD", "--at", "2 days ago", "--recompute"))
    assert re.search(r"balance +0\.00", out)


def test_transactions_are_searched(shop: Run) -> None:
    references = [row["reference"] for row in json.loads(ok(shop("transactions", "starting", "--json")))]
    assert references == ["start/ana"]
    held = json.loads(ok(shop("transactions", "--balance", "@Ana", "--status", "inflight", "--json")))
    assert [row["reference"] for row in held] == ["order/7"]
    large = json.loads(ok(shop("transactions", "--least", "500", "--json")))
    assert {row["reference"].partition("_")[0] for row in large} == {"sale/1"}
    assert json.loads(ok(shop("transactions", "--until", "1 hour ago", "--json"))) == []
    assert "no such transactions" in ok(shop("transactions", "100%"))


# Statements and books


def test_a_statement_opens_lists_and_closes(shop: Run) -> None:
    out = ok(shop("statement", "@World"))
    for part in ("opening balance", "closing balance", "@Ana", "-1,162.50", "from the first entry", "to now"):
        assert part in out
    found = json.loads(ok(shop("statement", "@World", "--basis", "effective", "--from", "1 hour ago", "--json")))
    assert (found["opening_balance"], found["closing_balance"], len(found["entries"])) == (0, -116250, 4)
    rows = list(csv.DictReader(io.StringIO(ok(shop("statement", "@World", "--csv")))))
    assert [row["debit"] for row in rows] == ["", "120.00", "1.28", "198.07", "843.15", ""]
    assert (rows[0]["description"], rows[-1]["balance"]) == ("opening balance", "-1162.50")
    monkeypatched = ok(shop("statement", "@World", "--to", "1 hour ago"))
    assert "closing balance" in monkeypatched and "@Ana" not in monkeypatched


def test_a_long_statement_says_how_much_more_there_is(shop: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.cli.statement.SHOWN", 2)
    out = ok(shop("statement", "@World"))
    assert "and 2 more: --all shows them, --csv writes them" in out
    assert "-1,162.50" in out  # The closing balance is that of the whole period.
    assert "more" not in ok(shop("statement", "@World", "--all"))


def test_the_books_add_up_to_zero(shop: Run) -> None:
    out = ok(shop("books"))
    assert re.search(r"together +1,162\.50 +1,162\.50 +0\.00", out), out
    assert re.search(r"@World +1,162\.50 +0\.00 +-1,162\.50", out), out
    failed(shop("books", "--currency", "usd"), 1, "nothing is in usd: did you mean USD?")


def test_the_json_of_a_command_is_that_of_the_service(shop: Run, client: FlaskClient) -> None:
    for arguments, path in (
        (("books",), "/books"),
        (("currencies",), "/currencies"),
        (("balances",), "/balances?limit=50"),
        (("transactions",), "/transactions?limit=20"),
        (("ledger", "list"), "/ledgers"),
        (("transaction", "order/7"), "/transactions/reference/order/7"),
        (("queues",), "/queues"),
    ):
        assert json.loads(ok(shop(*arguments, "--json"))) == client.get(path).get_json(), path


# Files


def test_a_file_of_transactions_is_posted_together(shop: Run, tmp_path: Path) -> None:
    (tmp_path / "pay.csv").write_text("from,to,amount,currency,reference\n@Ana,@Ben,1.50,USD,p1\n@Ana,@Cleo,2,USD,p2\n")
    (tmp_path / "pay.json").write_text(
        '[{"source": "@Ana", "destination": "@Ben", "amount": 1.10, "description": "d", "currency": "USD", "precision": 100}]'
    )
    counted = json.loads(ok(shop("batch", str(tmp_path / "pay.csv"), "--atomic", "--json")))
    assert counted["counts"]["APPLIED"] == 2
    assert "APPLIED" in ok(shop("batch", str(tmp_path / "pay.json")))
    rows = [f"@Ana,@Ben,1,USD,{reference}" for reference in ("q1", "q2")]
    for found, says in (([rows[0]], "APPLIED"), ([rows[1]], "APPLIED"), (rows, "2 transactions were accepted before")):
        (tmp_path / "again.csv").write_text("\n".join(["from,to,amount,currency,reference", *found]))
        assert says in ok(shop("batch", str(tmp_path / "again.csv")))
    assert json.loads(ok(shop("batch", str(tmp_path / "again.csv"), "--json")))["batch_id"] is None
    assert "6.60" in ok(shop("balance", "@Ana")) or "113.40" in ok(shop("balance", "@Ana"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("from,to,amount\n", "has no column currency"),
        ("from,to,amount,currency,colour\n", "there is no column 'colour'"),
        ("from,to,amount,currency\n@A,@B,x,USD\n", "line 2: 'x' is not an amount"),
        ("from,to,amount,currency\n@A,@B,1\n", "line 2: it has not as many columns"),
        ("from,to,amount,currency\n", "has 0 transactions"),
        ("[{]", "is not a list of transactions"),
        ('{"transactions": [{"amount": "x"}]}', "is not a list of transactions"),
    ],
)
def test_a_file_with_a_mistake_is_refused_with_its_line(run: Run, tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "f").write_text(content)
    failed(run("batch", str(tmp_path / "f")), 2, says)


# Widths

SHOWN = (
    ("balance", "@World"), ("balances",), ("transactions",), ("transaction", "sale/1"), ("transaction", "order/7"),
    ("balance", "history", "@Ana", "--at", "now"), ("ledger", "list"), ("queues",), ("funding",), ("currencies",), ("settings",),
    ("books",), ("statement", "@World"), ("statement", "@Ana", "--to", "1 hour ago"),
)  # fmt: skip
WORD = re.compile(r"@[A-Za-z]+|-?[\d,]+\.\d\d|APPLIED|INFLIGHT|general_ledger_id|(?:bln|txn)_[0-9a-f-]{36}|\w+/\w+")


def test_no_line_is_too_long_and_no_word_is_broken(shop: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ok(shop("commit", "order/7", "45.00"))
    for arguments in SHOWN:
        monkeypatch.setattr(text, "PIPE_WIDTH", 1000)
        whole = set(WORD.findall(ok(shop(*arguments))))
        for width in (60, 80, 160):
            monkeypatch.setattr(text, "PIPE_WIDTH", width)
            out = ok(shop(*arguments))
            if folder := os.environ.get("SHOW_WIDTHS"):
                (Path(folder) / f"{'_'.join(arguments).replace('/', '-')}.{width}.txt").write_text(out)
            assert max(len(line.rstrip()) for line in out.splitlines()) <= width, out
            assert set(WORD.findall(out)) <= whole, out
