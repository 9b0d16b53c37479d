"""``pacioli demo`` plays a small shop's day over HTTP, and checks every number."""

import secrets
import time
from dataclasses import dataclass
from itertools import islice
from typing import Any

import click
from msgspec.structs import replace
from pacioli_client import Client, NewBalance, NewBatch, NewTransaction, Settlement
from pacioli_client.answers.balances import Balance
from pacioli_client.answers.transactions import Transaction
from pacioli_client.errors import Conflict, Invalid, NotFound
from rich.console import Console
from rich.text import Text

from ops.cli.service import Where, asks_service, service
from ops.cli.show.text import console, money, plain, print_json, status_text, table
from ops.server.instance import Unavailable

CENTS = 100
DECIDED_TIMEOUT_S = 60.0
"""A worker that starts, or a queue that others have filled, may take so long."""

WAIT_S = 10.0
"""One request waits so long for a decision."""

SHARED = (("@FundingPool", "USD"), ("@Revenue", "USD"), ("@Fees", "USD"), ("@World", "USD"))
SHARED_EUR = (("@Revenue", "EUR"), ("@World", "EUR"))

TOLD = ("reference", "transaction_id", "status", "precise_amount", "currency", "sequence")
"""``--json`` prints these fields of each transaction."""

WALKED = 20_000
"""The demo adds up so many balances over HTTP at most. ``pacioli verify`` adds up more."""


class NotAsTold(click.ClickException):
    """The service answers something else than the story says."""

    def __init__(self, what: str, told: object, found: object) -> None:
        super().__init__(f"not as told: {what}: expected {told}, found {found}")


@click.command()
@asks_service
def demo(where: Where, as_json: bool) -> None:
    """Play a small shop's day over HTTP: funding, sales, fees, a refusal, a hold; and check every number.

    It may be run again and again on the same ledger: customers and references are new each time, and the table at the
    end shows what this run changed beside what the balances hold. The exit status is 1 if anything is not as told.

    \b
    Examples:
      pacioli demo
      pacioli demo --url http://ledger.example:5001 --json
    """
    out = console(quiet=as_json)
    with service(where) as client:
        story = Story(client, out)
        try:
            story.tell()
        except (Invalid, NotFound, Conflict) as error:
            raise NotAsTold("what the service answers", "no error", error.message) from None
        if as_json:
            body = {"ok": True, "run": story.run, "url": client.url, "transactions": story.told, **story.result}
            print_json(body)


@dataclass
class Account:
    """A balance of the story, as it is when the story begins."""

    name: str
    currency: str
    balance_id: str | None
    before: int
    version: int


class Story:
    """One run of the story. Its references begin with its name, so it knows its own entries."""

    def __init__(self, client: Client, out: Console) -> None:
        self.run = f"demo-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        self.told: list[dict[str, Any]] = []
        self.result: dict[str, Any] = {}
        self._client, self._out = client, out
        self._customers: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def tell(self) -> None:
        """Play every chapter, in order.

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
        if self._client.health().status == "DOWN":
            raise Unavailable(f"{self._client.url} says that it is down: see what it logs, then try again")
        self._say("The shop opens", f"Run {self.run}. Three customers get balances in US dollars, all empty.")
        ledger = self._client.ledgers.create(f"Customers of the corner shop, {self.run}")
        for name in ("Ana", "Ben", "Cleo"):
            asked = NewBalance(ledger_id=ledger.ledger_id, currency="USD", meta_data={"name": name})
            created = self._client.balances.create(asked)
            self._expect(f"the balance of {name}", 0, created.balance)
            self._customers[name] = created.balance_id
            self._names[created.balance_id] = name

    def _fund(self) -> None:
        self._say(
            "Starting balances",
            "They come from @FundingPool, an internal balance that is created by its first use. "
            "It may go below zero, as allow_overdraft says so; no customer may.",
        )
        rows = [
            self._post(f"fund-{name}", "@FundingPool", name, minor, "Creating a starting balance", allow_overdraft=True)
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
        self._client.transactions.create_batch(NewBatch(transactions=[sale, fee], atomic=True))
        rows = [self._decided(str(asked.reference), "APPLIED") for asked in (sale, fee)]
        self._show(rows)

        self._out.print("The till was not sure, and sends the sale again: the same reference, the same transaction.\n")
        again = self._client.transactions.create(sale)
        self._expect("the id of a repeated reference", rows[0].transaction_id, again.transaction_id)
        self._expect("the status of a repeated reference", "APPLIED", again.status)

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
        why = row.rejection
        if not why:
            raise NotAsTold("the rejection", "the sum behind it", None)
        for name, told in (("available", 1550), ("requested", 9900), ("short_by", 8350)):
            self._expect(f"{name} of the rejection", told, getattr(why, name))
        self._expect("the reason of the rejection", "insufficient_funds", why.reason)
        self._out.print(f"  {plain(why.message)}\n")

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
        commit, void = f"{self.run}-order-commit", f"{self.run}-order-void"
        part = Settlement(precise_amount=4500, reference=commit)
        self._client.transactions.commit_inflight(held.transaction_id, part)
        committed = self._decided(commit, "APPLIED")
        self._expect_balance("Ben", balance=23500, inflight_debit_balance=1500, available_balance=22000)
        self._client.transactions.void_inflight(held.transaction_id, Settlement(reference=void))
        voided = self._decided(void, "VOID")
        self._show(
            [
                held,
                replace(committed, description="commit of a part"),
                replace(voided, description="void of the rest"),
            ]
        )
        self._expect_balance("Ben", balance=23500, inflight_debit_balance=0, available_balance=23500)
        settled = self._client.transactions.read(held.transaction_id)
        self._expect("the hold, settled", "APPLIED", settled.status)
        came = settled.inflight_amounts
        found = (came.committed, came.voided, came.remaining) if came else None
        self._expect("what was committed of the hold, voided, and left of it", (4500, 1500, 0), found)
        self._out.print("The order itself went " + ", ".join(step.status for step in settled.timeline) + ".\n")

    def _close(self, accounts: list[Account]) -> None:
        """Check what this run changed, to the cent, and that everything adds up to zero."""
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
            books = table("balance", *right, title=currency, right=right)
            sums = [0, 0, 0]
            for account in [account for account in accounts if account.currency == currency]:
                now = self._read(account)
                debits, credits = self._own_entries(account, now.balance_id)
                change = credits - debits
                self._expect(f"the change of {account.name} in {currency}", told[account.name, currency], change)
                sums = [total + part for total, part in zip(sums, (debits, credits, change), strict=True)]
                books.add_row(account.name, *(_cell(minor) for minor in (debits, credits, change, now.balance)))
                self.result["balances"].append(
                    {
                        "name": account.name,
                        "balance_id": now.balance_id,
                        "currency": currency,
                        "before": account.before,
                        "debits": debits,
                        "credits": credits,
                        "change": change,
                        "now": now.balance,
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
        """Add up every balance of the ledger. Others may post while we read, so only a sum that stays the same counts."""
        before = None
        for _ in range(5):
            balances = self._walk()
            if balances is None:
                self._out.print(f"The ledger has more than {WALKED:,} balances: `pacioli verify` adds them all up.\n")
                return
            totals: dict[str, int] = {}
            for found in balances:
                totals[found.currency] = totals.get(found.currency, 0) + found.balance
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
        sums = ", ".join(f"{plain(currency)} {total}" for currency, total in sorted(totals.items()))
        self._out.print(f"And all {len(balances):,} balances of the ledger, from whatever run, add up to: {sums}.\n")

    def _walk(self) -> list[Balance] | None:
        found = list(islice(self._client.balances.list(limit=1000), WALKED + 1))
        return found if len(found) <= WALKED else None

    # Posting and reading

    def _request(
        self, suffix: str, source: str, destination: str, minor: int, text: str, **fields: Any
    ) -> NewTransaction:
        return NewTransaction(
            **{
                "precise_amount": minor,
                "precision": CENTS,
                "currency": "USD",
                "reference": f"{self.run}-{suffix}",
                "source": self._customers.get(source, source),
                "destination": self._customers.get(destination, destination),
                "description": text,
                **fields,
            }
        )

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
    ) -> Transaction:
        """Create a transaction, and check that it is decided as the story says."""
        asked = self._request(suffix, source, destination, minor, text, **fields)
        answer = self._client.transactions.create(asked)
        self._expect(f"the status of {asked.reference} when it is accepted", "QUEUED", answer.status)
        return self._decided(str(asked.reference), status)

    def _decided(self, reference: str, status: str) -> Transaction:
        """Wait until a transaction is decided, and check its status."""
        found = self._client.transactions.by_reference(reference)
        deadline = time.monotonic() + DECIDED_TIMEOUT_S
        while (found := self._client.transactions.read(found.transaction_id, wait_s=WAIT_S)).status == "QUEUED":
            if time.monotonic() > deadline:
                ahead = found.queue.ahead if found.queue else None
                waits = f"QUEUED after {DECIDED_TIMEOUT_S:.0f} s, {ahead} ahead of it; does a worker run?"
                raise NotAsTold(reference, "a decision", waits)
            time.sleep(0.1)
        self._expect(f"the status of {reference}", status, found.status)
        self.told.append({name: getattr(found, name) for name in TOLD})
        return found

    def _account(self, name: str, currency: str) -> Account:
        try:
            found = self._client.balances.by_indicator(name, currency)
        except NotFound:
            return Account(name, currency, None, 0, 1)
        return Account(name, currency, found.balance_id, found.balance, found.version)

    def _read(self, account: Account) -> Balance:
        if account.balance_id is None:
            found = self._client.balances.by_indicator(account.name, account.currency)
            self._names[found.balance_id] = account.name
            return found
        return self._client.balances.read(account.balance_id)

    def _own_entries(self, account: Account, balance_id: str) -> tuple[int, int]:
        """Debits and credits that this run has made, by the balance's statement since it began."""
        sums = {"debit": 0, "credit": 0}
        for entry in self._client.balances.entries(balance_id, after=account.version):
            if entry.reference.startswith(self.run):
                sums[entry.direction] += entry.precise_amount
        return sums["debit"], sums["credit"]

    # Telling

    def _expect_balance(self, name: str, **told: int) -> None:
        found = self._client.balances.read(self._customers[name])
        self._expect(f"the balance of {name}", told, {field: getattr(found, field) for field in told})

    def _expect(self, what: str, told: object, found: object) -> None:
        if told != found:
            raise NotAsTold(what, told, found)

    def _say(self, title: str, sentence: str) -> None:
        self._out.print(Text(title, style="bold"))
        self._out.print(f"{sentence}\n")

    def _show(self, rows: list[Transaction]) -> None:
        transactions = table("transaction", "from", "to", "amount", "status", right=("amount",))
        for row in rows:
            amount = f"{money(row.precise_amount, CENTS)} {row.currency}"
            sides = (self._name(row.source), self._name(row.destination))
            transactions.add_row(row.description, *sides, amount, status_text(row.status))
        self._out.print(transactions)

    def _name(self, balance_id: str) -> str:
        if balance_id not in self._names:
            self._names[balance_id] = self._client.balances.read(balance_id).indicator or balance_id
        return self._names[balance_id]


def _cell(minor: int) -> Text:
    return Text(money(minor, CENTS), style="red" if minor < 0 else "")
