"""Finds what a person named: a balance by its ``@Name`` or id, and the names of the balances that an answer only has ids of."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import click
from pacioli_client import Client
from pacioli_client.answers.balances import Balance
from pacioli_client.answers.transactions import Transaction
from pacioli_client.errors import NotFound

from core.base.names import currency_problem

AT_ONCE = 50
"""One request asks for the names of so many balances."""


def balances_named(client: Client, name: str, currency: str | None) -> Iterator[Balance]:
    """Find the balances of an ``@Name`` in one currency or in all, or the one of an id."""
    if not name.startswith("@"):
        with suppress(NotFound):
            found = client.balances.read(name)
            if currency is None or found.currency == currency:
                yield found
        return
    only: dict[str, Any] = {} if currency is None else {"currency_eq": currency}
    for row in sorted(client.balances.list(indicator_eq=name, **only), key=lambda row: row.currency):
        yield client.balances.read(row.balance_id)


def balance_named(client: Client, name: str, currency: str | None) -> Balance:
    """Find the one balance of a name.

    Raises:
        click.ClickException: there is none.
        click.UsageError: the name has several currencies.
    """
    found = list(balances_named(client, name, currency))
    if not found:
        raise no_balance(client, name, currency)
    if len(found) > 1:
        known = ", ".join(row.currency for row in found)
        raise click.UsageError(f"{name} has several currencies: say which with --currency, one of {known}")
    return found[0]


def no_balance(client: Client, name: str, currency: str | None) -> click.ClickException:
    """Make the error of a balance that is not there. It says which currencies the name has."""
    if currency is None:
        return click.ClickException(f"there is no balance {name}: give a bln_ id, or an @Name that has been used")
    others = sorted(row.currency for row in balances_named(client, name, None))
    text = f"there is no balance {name} in {currency}"
    if others:
        return click.ClickException(f"{text}: {meant(currency, others) or 'it has ' + ', '.join(others)}")
    return click.ClickException(f"{text}: give a bln_ id, or an @Name that has been used")


def meant(currency: str, known: Iterable[str] = ()) -> str | None:
    """Say which currency a person probably meant, or nothing."""
    near = next((each for each in known if each.upper() == currency.upper() != each), None)
    near = near or next((each for each in known if each.upper() == currency.upper()), None)
    if near is not None and near != currency:
        return f"did you mean {near}?"
    _, hint, right = (currency_problem(currency) or "").partition("did you mean ")
    return f"{hint}{right}" if hint else None


def names_in(client: Client, rows: Iterable[Transaction]) -> dict[str, str]:
    """Find the ``@Name`` of each balance of some transactions that has one, by its id."""
    return names_of(client, (side for row in rows for side in _sides(row)))


def names_of(client: Client, ids: Iterable[str]) -> dict[str, str]:
    """Find the ``@Name`` of each balance that has one, by its id."""
    wanted = list(dict.fromkeys(each for each in ids if each.startswith("bln_")))
    names: dict[str, str] = {}
    for start in range(0, len(wanted), AT_ONCE):
        some = wanted[start : start + AT_ONCE]
        for found in client.balances.list(limit=len(some), balance_id_in=",".join(some)):
            names[found.balance_id] = found.indicator or found.balance_id
    return names


def _sides(row: Transaction) -> Iterator[str]:
    yield from (row.source, row.destination)
    for leg in row.legs or ():
        yield from (leg.source or "", leg.destination or "")
