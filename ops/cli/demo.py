"""``pacioli demo``: a small shop's day over HTTP, told, and checked against what was told."""

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import requests
from rich.console import Console
from rich.text import Text

from ops.cli import show
from ops.server.instance import Unavailable, running

DEFAULT_URL = "http://127.0.0.1:5001"
CENTS = 100
DECIDED_TIMEOUT_S = 60.0
"""A worker that starts up, or a line that others filled, may take a while."""

WAIT = "10s"
"""How long one request waits for a decision."""

SHARED = (("@FundingPool", "USD"), ("@Revenue", "USD"), ("@Fees", "USD"), ("@World", "USD"))
SHARED_EUR = (("@Revenue", "EUR"), ("@World", "EUR"))

WALKED = 20_000
"""Balances that are added up over HTTP. A larger ledger is for ``pacioli verify``."""


class NotAsTold(click.ClickException):
    """The service answered something else than the story says."""

    def __init__(self, what: str, told: object, found: object) -> None:
        super().__init__(f"not as told: {what}: expected {told}, found {found}")


@click.command(short_help="Play a small shop's day over HTTP, and check it.")
@click.option("--url", help=f"The service. [default: the instance that runs in --data, else {DEFAULT_URL}]")
@click.option("--key", envvar="PACIOLI_SECRET_KEY", help="Sent as X-Blnk-Key. [env: PACIOLI_SECRET_KEY]")
@click.option("--data", type=click.Path(path_type=Path), default=".pacioli", show_default=True, help="Data folder.")
@click.option("--json", "as_json", is_flag=True, help="For programs: what was posted and what it came to.")
def demo(url: str | None, key: str | None, data: Path, as_json: bool) -> None:
    """Play a small shop's day over HTTP: funding, sales, fees, a refusal, a hold; and check every number.

    It may be run again and again on the same ledger: customers and references are new each time, and the table at the
    end shows what this run changed beside what the balances hold. The exit status is 1 if anything is not as told.

    \b
    Examples:
      pacioli demo
      pacioli demo --url http://ledger.example:5001 --json
    """
    out = show.console(quiet=as_json)
    client = Client(url or _running_url(data), key)
    story = Story(client, out)
    story.tell()
    if as_json:
        body = {"ok": True, "run": story.run, "url": client.url, "transactions": story.told, **story.result}
        show.print_json(body)


class Client:
    """The few requests that the story needs."""

    def __init__(self, url: str, key: str | None) -> None:
        self.url = url.rstrip("/")
        self._session = requests.Session()
        if key:
            self._session.headers["X-Blnk-Key"] = key

    def send(
        self, method: str, path: str, body: Any = None, *, status: Iterable[int] = (200, 201)
    ) -> requests.Response:
        """One request, whose answer must have one of these statuses."""
        try:
            response = self._session.request(method, self.url + path, json=body, timeout=70)
        except requests.RequestException as error:
            reason = type(error).__name__
            raise Unavailable(
                f"cannot reach {self.url} ({reason}): start it with `pacioli up`, or name it with --url"
            ) from None
        if response.status_code == 401:
            raise Unavailable(f"{self.url} wants a key: give it with --key or PACIOLI_SECRET_KEY")
        if response.status_code not in status:
            raise NotAsTold(
                f"{method} {path}", " or ".join(map(str, status)), f"{response.status_code} {response.text}"
            )
        return response

    def get(self, path: str) -> Any:
        return self.send("GET", path).json()

    def decided(self, path: str) -> Any:
        """A transaction once it is no longer QUEUED."""
        deadline = time.monotonic() + DECIDED_TIMEOUT_S
        while True:
            found = self.get(f"{path}{'&' if '?' in path else '?'}wait={WAIT}")
            if found["status"] != "QUEUED":
                return found
            if time.monotonic() > deadline:
                place = found.get("queue") or {}
                waits = f"QUEUED after {DECIDED_TIMEOUT_S:.0f} s, {place.get('ahead')} ahead of it; does a worker run?"
                raise NotAsTold(found["reference"], "a decision", waits)
            time.sleep(0.1)


@dataclass
class Account:
    """A balance of the story, as it was when the story began."""

    name: str
    currency: str
    balance_id: str | None
    before: int
    version: int


class Story:
    """One run. Its references begin with the run's name, so it can tell its own entries from all others."""

    def __init__(self, client: Client, out: Console) -> None:
        self.run = f"demo-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        self.told: list[dict[str, Any]] = []
        self.result: dict[str, Any] = {}
        self._client, self._out = client, out
        self._customers: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def tell(self) -> None:
        """Every chapter, in order.

        Raises:
            NotAsTold: at the first number that is not what the story says.
            Unavailable: the service cannot be reached.
        """
        self._open()
        accounts = [self._account(name, currency) for name, currency in SHARED + SHARED_EUR]
        accounts += [Account(name, "USD", id, 0, 1) for name, id in self._customers.items()]
        self._fund()
        self._sell()
        self._world()
        self._refuse()
        self._hold()
        self._close(accounts)

    def _open(self) -> None:
        if self._client.send("GET", "/health", status=(200, 503)).status_code == 503:
            raise Unavailable(f"{self._client.url} says that it is down: see what it logs, then try again")
        self._say("The shop opens", f"Run {self.run}. Three customers get balances in US dollars, all empty.")
        ledger = self._client.send("POST", "/ledgers", {"name": f"Customers of the corner shop, {self.run}"}).json()
        for name in ("Ana", "Ben", "Cleo"):
            asked = {"ledger_id": ledger["ledger_id"], "currency": "USD", "meta_data": {"name": name}}
            created = self._client.send("POST", "/balances", asked).json()
            self._expect(f"the balance of {name}", 0, created["balance"])
            self._customers[name] = created["balance_id"]
            self._names[created["balance_id"]] = name

    def _fund(self) -> None:
        self._say(
            "Starting balances",
            "They come from @FundingPool, an internal balance that is created by its first use. "
            "It may go below zero, as apply_overdraft says so; no customer may.",
        )
        rows = [
            self._post(f"fund-{name}", "@FundingPool", name, minor, "Creating a starting balance", apply_overdraft=True)
            for name, minor in (("Ana", 12000), ("Ben", 8000), ("Cleo", 2550))
        ]
        self._show(rows)

    def _sell(self) -> None:
        self._say(
            "A sale, and its fee",
            "Ana pays 42.50, of which the card company takes 1.28. The two are an atomic bulk: both or none.",
        )
        sale = self._request("sale", "Ana", "@Revenue", 4250, "Two novels and a lamp")
        fee = self._request("sale-fee", "@Revenue", "@Fees", 128, "Card fee")
        self._client.send("POST", "/transactions/bulk", {"transactions": [sale, fee], "atomic": True})
        rows = [self._decided(asked["reference"], "APPLIED") for asked in (sale, fee)]
        self._show(rows)

        self._out.print("The till was not sure, and sends the sale again: the same reference, the same transaction.\n")
        again = self._client.send("POST", "/transactions", sale)
        self._expect("Idempotent-Replayed of a repeated reference", "true", again.headers.get("Idempotent-Replayed"))
        self._expect("the id of a repeated reference", rows[0]["transaction_id"], again.json()["transaction_id"])

    def _world(self) -> None:
        self._say(
            "Money from outside, and to it",
            "@World stands for everybody else. Ben receives a wire, Cleo sends some money home, a tourist pays in euros: "
            "the same names in another currency are other balances.",
        )
        rows = [
            self._post("wire-in", "@World", "Ben", 20000, "Wire from his employer", allow_overdraft=True),
            self._post("wire-out", "Cleo", "@World", 1000, "Wire to her mother"),
            self._post("tourist", "@World", "@Revenue", 3000, "A postcard album", currency="EUR", allow_overdraft=True),
        ]
        self._show(rows)

    def _refuse(self) -> None:
        self._say("Too much", "Cleo has 15.50 left and tries to pay 99.00. A refusal is kept, with the sum behind it.")
        row = self._post("too-much", "Cleo", "@Revenue", 9900, "A bicycle", status="REJECTED")
        self._show([row])
        why = row["rejection"]
        for name, told in (("available", 1550), ("requested", 9900), ("short_by", 8350)):
            self._expect(f"{name} of the rejection", told, why[name])
        self._expect("the reason of the rejection", "insufficient_funds", why["reason"])
        self._out.print(f"  {show.plain(why['message'])}\n")

    def _hold(self) -> None:
        self._say(
            "A hold",
            "Ben orders for 60.00: the money is reserved, not moved. 45.00 of it is in stock and is taken; "
            "the rest is released.",
        )
        held = self._post(
            "order", "Ben", "@Revenue", 6000, "Three chairs, to be delivered", status="INFLIGHT", inflight=True
        )
        self._expect_balance("Ben", balance=28000, inflight_debit_balance=6000, available_balance=22000)
        path = f"/transactions/inflight/{held['transaction_id']}"
        commit = f"{self.run}-order-commit"
        self._client.send("PUT", path, {"status": "commit", "precise_amount": 4500, "reference": commit})
        committed = self._decided(commit, "APPLIED")
        self._expect_balance("Ben", balance=23500, inflight_debit_balance=1500, available_balance=22000)
        void = f"{self.run}-order-void"
        self._client.send("PUT", path, {"status": "void", "reference": void})
        voided = self._decided(void, "VOID")
        self._show(
            [held, {**committed, "description": "commit of a part"}, {**voided, "description": "void of the rest"}]
        )
        self._expect_balance("Ben", balance=23500, inflight_debit_balance=0, available_balance=23500)
        settled = self._client.get(f"/transactions/{held['transaction_id']}")
        self._expect("the hold, settled", "APPLIED", settled["status"])
        told = {"committed": 4500, "voided": 1500, "remaining": 0}
        self._expect("what became of the hold", told, settled["inflight_amounts"])
        self._out.print("The order itself went " + ", ".join(step["status"] for step in settled["timeline"]) + ".\n")

    def _close(self, accounts: list[Account]) -> None:
        """What this run changed, which is known to the cent, and what everything adds up to."""
        told = {
            ("Ana", "USD"): 7750, ("Ben", "USD"): 23500, ("Cleo", "USD"): 1550,
            ("@FundingPool", "USD"): -22550, ("@Revenue", "USD"): 8622, ("@Fees", "USD"): 128,
            ("@World", "USD"): -19000, ("@Revenue", "EUR"): 3000, ("@World", "EUR"): -3000,
        }  # fmt: skip
        self._say(
            "The books", "Whatever one balance has gained, others have given: all changes of this run add up to zero."
        )
        right = ("debits", "credits", "change", "balance now")
        self.result = {"balances": [], "totals": {}}
        for currency in ("USD", "EUR"):
            books = show.table("balance", *right, title=currency, right=right)
            sums = [0, 0, 0]
            for account in [account for account in accounts if account.currency == currency]:
                now = self._read(account)
                debits, credits = self._own_entries(account, now["balance_id"])
                change = credits - debits
                self._expect(f"the change of {account.name} in {currency}", told[account.name, currency], change)
                sums = [total + part for total, part in zip(sums, (debits, credits, change), strict=True)]
                books.add_row(account.name, *(_cell(minor) for minor in (debits, credits, change, now["balance"])))
                self.result["balances"].append(
                    {
                        "name": account.name,
                        "balance_id": now["balance_id"],
                        "currency": currency,
                        "before": account.before,
                        "debits": debits,
                        "credits": credits,
                        "change": change,
                        "now": now["balance"],
                    }
                )
            self._expect(f"the sum of all changes in {currency}", 0, sums[2])
            books.add_section()
            books.add_row("together", *map(_cell, sums), "")
            self._out.print(books)
            self.result["totals"][currency] = {"change": 0}
        self._add_up_everything()
        self._out.print(Text("All as told.", style="bold green"))

    def _add_up_everything(self) -> None:
        """Every balance of the ledger. Others may post while we read, so only a sum that stands still counts."""
        before = None
        for _ in range(5):
            balances = self._walk()
            if balances is None:
                self._out.print(f"The ledger has more than {WALKED:,} balances: `pacioli verify` adds them all up.\n")
                return
            totals: dict[str, int] = {}
            for found in balances:
                totals[found["currency"]] = totals.get(found["currency"], 0) + found["balance"]
            if not any(totals.values()):
                break
            if balances == before:
                raise NotAsTold("the sum of all balances", "0 in every currency", totals)
            before = balances
        else:
            self._out.print(
                "Others are posting right now, so the pages do not fit together: `pacioli verify` adds them up.\n"
            )
            return
        for currency, total in totals.items():
            self.result["totals"].setdefault(currency, {})["all_balances"] = total
        sums = ", ".join(f"{show.plain(currency)} {total}" for currency, total in sorted(totals.items()))
        self._out.print(f"And all {len(balances):,} balances of the ledger, from whatever run, add up to: {sums}.\n")

    def _walk(self) -> list[dict[str, Any]] | None:
        found: list[dict[str, Any]] = []
        after = ""
        while len(found) <= WALKED:
            page = self._client.get(f"/balances?limit=1000{after}")
            found += page
            if len(page) < 1000:
                return found
            after = f"&after={page[-1]['balance_id']}"
        return None

    # Posting and reading

    def _request(
        self, suffix: str, source: str, destination: str, minor: int, text: str, **fields: Any
    ) -> dict[str, Any]:
        return {
            "precise_amount": minor,
            "precision": CENTS,
            "currency": "USD",
            "reference": f"{self.run}-{suffix}",
            "source": self._customers.get(source, source),
            "destination": self._customers.get(destination, destination),
            "description": text,
            **fields,
        }

    def _post(
        self,
        suffix: str,
        source: str,
        destination: str,
        minor: int,
        text: str,
        *,
        status: str = "APPLIED",
        **fields: Any,
    ) -> dict[str, Any]:
        """Submit one transaction, and see it decided as the story says."""
        asked = self._request(suffix, source, destination, minor, text, **fields)
        answer = self._client.send("POST", "/transactions", asked, status=(201,)).json()
        self._expect(f"the status of {asked['reference']} when it is accepted", "QUEUED", answer["status"])
        return self._decided(str(asked["reference"]), status)

    def _decided(self, reference: str, status: str) -> dict[str, Any]:
        found: dict[str, Any] = self._client.get(f"/transactions/reference/{quote(reference)}")
        found = self._client.decided(f"/transactions/{found['transaction_id']}")
        self._expect(f"the status of {reference}", status, found["status"])
        self.told.append(
            {
                name: found[name]
                for name in ("reference", "transaction_id", "status", "precise_amount", "currency", "sequence")
            }
        )
        return found

    def _account(self, name: str, currency: str) -> Account:
        path = f"/balances/indicator/{quote(name)}/currency/{currency}"
        response = self._client.send("GET", path, status=(200, 404))
        if response.status_code == 404:
            return Account(name, currency, None, 0, 1)
        found = response.json()
        return Account(name, currency, found["balance_id"], found["balance"], found["version"])

    def _read(self, account: Account) -> Any:
        if account.balance_id is None:
            found = self._client.get(f"/balances/indicator/{quote(account.name)}/currency/{account.currency}")
            self._names[found["balance_id"]] = account.name
            return found
        return self._client.get(f"/balances/{account.balance_id}")

    def _own_entries(self, account: Account, balance_id: str) -> tuple[int, int]:
        """Debits and credits that this run has made, by the balance's statement since it began."""
        sums = {"debit": 0, "credit": 0}
        after = account.version
        while True:
            page = self._client.get(f"/balances/{balance_id}/entries?limit=1000&after={after}")
            for entry in page:
                if entry["reference"].startswith(self.run):
                    sums[entry["direction"]] += entry["precise_amount"]
            if len(page) < 1000:
                return sums["debit"], sums["credit"]
            after = page[-1]["version"]

    # Telling

    def _expect_balance(self, name: str, **told: int) -> None:
        found = self._client.get(f"/balances/{self._customers[name]}")
        self._expect(f"the balance of {name}", told, {field: found[field] for field in told})

    def _expect(self, what: str, told: object, found: object) -> None:
        if told != found:
            raise NotAsTold(what, told, found)

    def _say(self, title: str, sentence: str) -> None:
        self._out.print(Text(title, style="bold"))
        self._out.print(f"{sentence}\n")

    def _show(self, rows: list[dict[str, Any]]) -> None:
        transactions = show.table("transaction", "from", "to", "amount", "status", right=("amount",))
        for row in rows:
            source, destination = (self._name(row[side]) for side in ("source", "destination"))
            amount = f"{show.money(row['precise_amount'], CENTS)} {row['currency']}"
            status = Text(row["status"], style=show.STATUS_STYLES[row["status"]])
            transactions.add_row(row["description"], source, destination, amount, status)
        self._out.print(transactions)

    def _name(self, balance_id: str) -> str:
        if balance_id not in self._names:
            found = self._client.get(f"/balances/{balance_id}")
            self._names[balance_id] = found["indicator"] or balance_id
        return self._names[balance_id]


def _cell(minor: int) -> Text:
    return Text(show.money(minor, CENTS), style="red" if minor < 0 else "")


def _running_url(data: Path) -> str:
    try:
        return running(data, "web_url")
    except Unavailable:
        return DEFAULT_URL
