"""``pacioli help``: the help of a command, or of a topic that many commands share."""

import click
from pacioli_client import profiles

from ops.cli.dates import EXAMPLES
from ops.cli.main import ELSEWHERE

TOPICS = {
    "amounts": """Amounts are written in major units, as people write them: 12.50, 1,234.50 or 1500. A decimal comma is refused,
because 1,234 could mean two amounts. They are exact: an amount that is finer than the currency's minor unit is refused.
The first transaction in a currency needs --precision, the number of minor units in a major unit: 100 for cents.
In JSON, fields whose names begin with precise_ and all sums of balances are integers, in minor units.""",
    "dates": f"""Times are written as {EXAMPLES}.
A time without a zone is one of this machine's zone, or that of --timezone. A zone may stand behind it: 2026-12-24 08:00
Europe/Berlin. An hour that the clocks leave out, or that comes twice, is refused. What was understood is shown back with
its zone. Times in tables are in UTC.""",
    "names": """A balance is named by its id, bln_..., or, when it is internal, by its @Name. An @Name may have a balance in
each currency, so many commands want --currency as well. The first use of an @Name creates it; at a terminal you are asked.
A transaction is named by its id, txn_..., or by the reference that it was sent with. A batch has an id, bulk_....""",
    "service": f"""A command asks the service at --url or PACIOLI_URL, else that of --profile or PACIOLI_PROFILE, else that of the
default profile, else the instance that `pacioli up` runs in .pacioli, here or in a folder above, or in --data or PACIOLI_DATA.
The key is that of --key-file, PACIOLI_KEY or PACIOLI_KEY_FILE, else that of the profile or of the instance. A key is sent to its
own address alone. Profiles are in {profiles.FILE}:

    default = "shop"

    [shop]
    url = "https://ledger.example"
    key_file = "~/.config/pacioli/shop.key\"""",
    "json": """With --json a command prints the JSON of the service: the same fields and values as over HTTP, with exact
numbers. A list is one array of all rows that are shown. Errors go to standard error, in words.""",
    "exit": """0 means that it is done. 1 means bad news: the transaction is rejected, nothing has that name, the ledger is
damaged. 2 means that it could not ask: an option is wrong, or the service does not answer. 130 means that Ctrl-C ended it.""",
}


@click.command("help")
@click.argument("topic", nargs=-1)
@click.pass_context
def help_(ctx: click.Context, topic: tuple[str, ...]) -> None:
    """Explain TOPIC: a command, or one of amounts, dates, names, service, json and exit. Without one, list them.

    \b
    Examples:
      pacioli help
      pacioli help dates
      pacioli help balance create
    """
    parent = ctx.find_root()
    if not topic:
        click.echo(parent.get_help())
        click.echo(f"\nTopics of `pacioli help`: {', '.join(TOPICS)}.")
        return
    if len(topic) == 1 and topic[0] in TOPICS:
        click.echo(TOPICS[topic[0]])
        return
    command: click.Command = parent.command
    for name in topic:
        found = command.get_command(parent, name) if isinstance(command, click.Group) else None
        if found is None:
            there = ELSEWHERE.get(" ".join(topic), f"topics are {', '.join(TOPICS)}")
            raise click.UsageError(f"there is no command and no topic {' '.join(topic)}: {there}")
        parent = click.Context(found, parent=parent, info_name=name)
        command = found
    click.echo(command.get_help(parent))
