"""``pacioli keys`` makes, lists, rotates and revokes the keys of a service."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import msgspec
from pacioli_client.answers.keys import ApiKey
from pacioli_client.errors import Invalid

from core.base.errors import ErrorCode
from core.base.number_texts import read_number
from ops.cli.service import Where, asks_service, service
from ops.cli.show.text import console, count, plain, print_json, table, time
from ops.numbers import Whole
from ops.server.instance import Unavailable


@click.group(invoke_without_command=False)
def keys() -> None:
    """Make, list, rotate and revoke the keys of a service.

    A key has an owner, scopes that say what it may do, a reach that bounds it, and an end. The master key manages all keys, and a
    key with `api-keys:write` those of its own owner, within its own bounds.

    \b
    Examples:
      pacioli keys create --name tills --owner shop --scope transactions:post --scope balances:read --days 90
      pacioli keys list
      pacioli keys rotate api_key_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11 --overlap 86400
      pacioli keys revoke api_key_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11 --with-pending
    """


def _limit(text: str) -> Any:
    """Read ``500`` for all currencies, or ``USD=500,EUR=400`` for each."""
    if "=" not in text:
        return _number(text)
    return {
        currency.strip(): _number(value) for currency, _, value in (each.partition("=") for each in text.split(","))
    }


def _number(text: str) -> Decimal:
    try:
        return read_number(text.strip())
    except ValueError:
        raise click.UsageError(f"{text!r} is no amount: give 500, or USD=500,EUR=400") from None


def _saves_secret(command: Any) -> Any:
    return click.option(
        "--save",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Write the secret to this new file, which only you can read, in place of standard output.",
    )(command)


@keys.command("create")
@click.option("--name", required=True, help="What the key is for.")
@click.option("--owner", required=True, help="Whom it belongs to.")
@click.option(
    "--scope", "scopes", multiple=True, required=True, help="What it may do: resource:action. Give it again for more."
)
@click.option("--days", type=Whole(1, 999_999), default=90, show_default=True, help="It ends after so many days.")
@click.option("--ledger", "ledgers", multiple=True, help="It reaches this ledger. Give it again for more.")
@click.option("--indicator", "indicators", multiple=True, help="It reaches this @Name. Give it again for more.")
@click.option(
    "--network", "networks", multiple=True, help="It is used from this network, such as 10.0.0.0/8. Give it again."
)
@click.option(
    "--largest-amount", metavar="AMOUNT", help="The largest amount of a transaction: 500, or USD=500,EUR=400."
)
@click.option("--largest-overdraft", metavar="AMOUNT", help="How far below zero it may take a balance, likewise.")
@click.option("--rate", help="The requests a second, and after a slash how many at once: 50/100.")
@_saves_secret
@asks_service
def create_key(
    name: str,
    owner: str,
    scopes: Sequence[str],
    days: int,
    save: Path | None,
    where: Where,
    as_json: bool,
    **bounds: Any,
) -> None:
    """Make a key. Its secret is printed once, on standard output, and the rest beside it.

    \b
    Examples:
      pacioli keys create --name tills --owner shop --scope transactions:post --scope balances:read
      pacioli keys create --name payouts --owner finance --scope transactions:post --indicator @Payouts \\
        --largest-amount USD=5000 --days 30 --save payouts.key
    """
    reach = {field: value for field, value in bounds.items() if value}
    for field in ("largest_amount", "largest_overdraft"):
        if field in reach:
            reach[field] = _limit(reach[field])
    expires_at = datetime.now(UTC) + timedelta(days=days)
    with service(where) as client:
        made = client.keys.create(name, owner=owner, scopes=scopes, expires_at=expires_at, reach=reach)
    _hand_over(made, save, as_json=as_json)


@keys.command("list")
@click.option("--owner", help="Only the keys of this owner.")
@asks_service
def list_keys(owner: str | None, where: Where, as_json: bool) -> None:
    """List the keys that the present one may see, the newest first.

    \b
    Examples:
      pacioli keys list
      pacioli keys list --owner shop --json
    """
    with service(where) as client:
        try:
            found = client.keys.list(owner)
        except Invalid as error:
            if error.code != ErrorCode.APIKEY_OWNER_REQUIRED:
                raise
            found = client.keys.list(every=True)  # The master key sees all.
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("there are no keys: make one with `pacioli keys create`")
        return
    shown = table("id", "name", "owner", "secret", "scopes", "state", "last used", wrap=["scopes"], drop=["secret"])
    for key in found:
        used = time(key.last_used_at) if key.was_used else "never"
        scopes = " ".join(key.scopes) + (" (bounded)" if key.reach else "")
        shown.add_row(
            key.api_key_id, plain(key.name), plain(key.owner_id), f"{key.key_prefix}…", scopes, _state(key), used
        )
    console().print(shown)


@keys.command("rotate")
@click.argument("key_id")
@click.option(
    "--overlap", "overlap_s", type=Whole(0), help="The seconds for which the old secret works. Default: 3600."
)
@_saves_secret
@asks_service
def rotate_key(key_id: str, overlap_s: int | None, save: Path | None, where: Where, as_json: bool) -> None:
    """Give the key KEY_ID a new secret. The old one works for the overlap, so that programs can change over one by one.

    \b
    Example:
      pacioli keys rotate api_key_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11 --overlap 86400 --save tills.key
    """
    with service(where) as client:
        made = client.keys.rotate(key_id, overlap_s=overlap_s)
    _hand_over(made, save, as_json=as_json)


@keys.command("revoke")
@click.argument("key_id")
@click.option("--with-pending", is_flag=True, help="Also stop what was asked for with it and is still to come.")
@asks_service
def revoke_key(key_id: str, with_pending: bool, where: Where, as_json: bool) -> None:
    """Revoke the key KEY_ID for good. Every process refuses it within a second.

    What was asked for with it goes on: scheduled transactions, the dates of holds, funding jobs, and the keys that it made. The
    command says what there is, and --with-pending stops it. An expiry of a hold goes on, for it only gives money back.

    \b
    Example:
      pacioli keys revoke api_key_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11 --with-pending
    """
    with service(where) as client:
        revoked = client.keys.revoke(key_id, with_pending=with_pending)
    if as_json:
        print_json(revoked)
        return
    click.echo(f"{revoked.api_key_id} is revoked")
    left = revoked.pending
    lines = [
        count(left.scheduled_transactions, "scheduled transaction"),
        count(left.hold_commits, "date on which a hold is committed", "dates on which holds are committed"),
        count(left.funding_jobs, "funding job"),
        count(left.funding_runs, "unfinished funding run"),
        count(left.keys, "key that it made", "keys that it made"),
    ]
    lines = [line for line in lines if not line.startswith("0 ")]
    if lines:
        click.echo(f"{'stopped' if revoked.stopped else 'still to come'}: {', '.join(lines)}")
    if left.hold_expiries:
        click.echo(
            f"goes on: {count(left.hold_expiries, 'date on which a hold expires', 'dates on which holds expire')}"
        )
    if lines and not revoked.stopped:
        click.echo("`--with-pending` stops that")


def _hand_over(made: ApiKey, save: Path | None, *, as_json: bool) -> None:
    """Print a new key: the secret alone on standard output, so that a script can take it from there."""
    if save is not None:
        try:
            with os.fdopen(os.open(save, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(made.key + "\n")
        except OSError as error:
            click.echo(made.key)  # It cannot be shown again.
            raise Unavailable(
                f"{save} cannot be written ({error.strerror}), so the secret is printed instead"
            ) from None
    if as_json:
        print_json(made if save is None else msgspec.structs.replace(made, key=""))
        return
    until = f" The secret of before works until {time(made.overlap_until)} UTC." if made.overlap_until else ""
    click.echo(
        f"{made.api_key_id} ({plain(made.name)}) of {plain(made.owner_id)} ends {time(made.expires_at)} UTC.{until}",
        err=True,
    )
    click.echo("The secret is in " + (f"{save}." if save else "the next line. It is not shown again."), err=True)
    if save is None:
        click.echo(made.key)


def _state(key: ApiKey) -> str:
    if key.revoked_at:
        return f"revoked {time(key.revoked_at)}"
    return f"{'expired' if key.expires_at <= datetime.now(UTC) else 'ends'} {time(key.expires_at)}"
