"""``pacioli notary``: run the notary, show its public key, and replace its key."""

import gc
import os
import signal
from pathlib import Path
from typing import Any

import click

from core.base import logs
from core.base.db import connect, reading
from core.base.setting_values import notary_key
from core.notary import seal_store
from core.notary.seals import keypair, read
from ops.cli.show.text import print_json
from ops.server.instance import As, Unavailable, finds_database, reads_ledger, settings, url_of
from ops.server.keys import NOTARY_KEY_FILE, new_notary_key
from ops.server.notary import KeyFile, service_of
from ops.server.opened import database

KEY_FILE = "PACIOLI_NOTARY_KEY_FILE"


@click.group()
def notary() -> None:
    """Run the notary, which signs what the log holds, and see to its key."""


@notary.command()
@finds_database
def run(data: Path) -> None:
    """Sign what is new every ten seconds, or ten thousand rows once they are decided, until a signal ends it.

    It needs PACIOLI_NOTARY_KEY, which no other process may have, and connects with PACIOLI_NOTARY_URL. `pacioli up` runs it.

    \b
    Examples:
      PACIOLI_NOTARY_KEY_FILE=/etc/pacioli/notary.key PACIOLI_NOTARY_FILE=/var/lib/notary/seals.jsonl pacioli notary run
    """
    known = settings()
    if known.notary_key is None:
        raise Unavailable("PACIOLI_NOTARY_KEY is not set: `openssl rand -hex 32` makes a key for the notary")
    logs.configure(known.log_format, level=known.log_level)
    engine = connect(url_of(As.NOTARY, data), connections=3, pooler=known.pooler)
    path = os.environ.get(KEY_FILE)
    service = service_of(engine, known, Path(path) if path else None)

    def stop(*_: Any) -> None:
        service.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    # A seal makes tens of thousands of tuples and no cycles, and a search for cycles costs a tenth of its time.
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    try:
        service.run()
    finally:
        engine.dispose()


@notary.command()
@reads_ledger
def key(data: Path, as_json: bool) -> None:
    """Print the public key of the notary, by the newest seal.

    An auditor writes it down once, from the people who run the service and not from the database, and gives it to
    PACIOLI_NOTARY_PUBLIC_KEY or `pacioli receipt check --public-key`. A key that replaces it is named by a seal of the old one.

    \b
    Examples:
      pacioli notary key
      pacioli notary key --json
    """
    with database(data) as engine, reading(engine) as conn:
        newest = seal_store.newest(conn)
    statement = read(newest[1]) if newest is not None else None
    if statement is None:
        raise click.ClickException("the notary has sealed nothing yet: see that it runs, and ask again in ten seconds")
    if as_json:
        print_json({"key": statement.next_key or statement.key, "number": statement.number, "at": statement.at})
    else:
        click.echo(statement.next_key or statement.key)


@notary.command()
@finds_database
def rotate(data: Path) -> None:
    """Replace the key of the notary that runs here. Its next seal names the new key, and is signed by the old one.

    The key must be in a file: that of PACIOLI_NOTARY_KEY_FILE, or `notary.key` in the data folder.

    \b
    Examples:
      pacioli notary rotate
    """
    given = os.environ.get(KEY_FILE)
    path = Path(given) if given else data / NOTARY_KEY_FILE
    if not path.exists():
        raise Unavailable(f"{path} is not there: name the file of the notary's key in {KEY_FILE}")
    keys = KeyFile(path)
    assert keys.next_path is not None
    if keys.next_path.exists():
        raise click.ClickException(f"{keys.next_path} waits for the notary already: see that the notary runs")
    text = new_notary_key()
    with os.fdopen(os.open(keys.next_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")
    click.echo(keypair(notary_key(text)).public)
