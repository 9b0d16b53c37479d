"""Puts the words of the service into those of a command: ``scheduled_for`` is ``--at`` to whoever typed it."""

import re

import click
from pacioli_client.requests import NewBalance, NewJob, NewTransaction, Refund, Rule, Settlement

_OTHER_NAMES = {
    "source": "sources",
    "destination": "destinations",
    "precise_amount": "amount",
    "effective_date": "effective",
    "meta_data": "metadata",
}
"""The parameters that stand for a field under another name."""

_FIELDS = frozenset(
    name for kind in (NewBalance, NewJob, NewTransaction, Refund, Rule, Settlement) for name in kind.__struct_fields__
)
_OF_A_FILE = "recipients: "
"""Such a message names columns of a file, which are called as the fields are."""
_SNAKE = re.compile(r"(?<![\w@.-])[a-z]+(?:_[a-z]+)+(?![\w@])")
_FIRST = re.compile(r"[a-z_]+(?=: )")
_TRUE = re.compile(r"\b([a-z_]+): true\b")


def of_command(message: str) -> str:
    """Name options where the message of an error names fields of the request."""
    context = click.get_current_context(silent=True)
    if context is None or message.startswith(_OF_A_FILE):
        return message
    known = {str(each.name): each for each in context.command.params}

    def word(found: re.Match[str]) -> str:
        name = found[0]
        if name not in _FIELDS:
            return name
        parameter = known.get(name) or known.get(_OTHER_NAMES.get(name, ""))
        if parameter is None:
            return name.replace("_", " ")
        return parameter.opts[0] if isinstance(parameter, click.Option) else str(parameter.name).upper()

    def flag(found: re.Match[str]) -> str:
        parameter = known.get(found[1])
        is_flag = isinstance(parameter, click.Option) and parameter.is_flag
        return parameter.opts[0] if parameter is not None and is_flag else found[0]

    return _SNAKE.sub(word, _FIRST.sub(word, _TRUE.sub(flag, message), count=1))
