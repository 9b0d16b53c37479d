"""A group of commands with one that is meant when none is named: ``pacioli balance @World`` is ``balance show @World``."""

from typing import Any

import click


class DefaultGroup(click.Group):
    """Takes the name of its ``default`` command for granted."""

    def __init__(self, *arguments: Any, default: str, **given: Any) -> None:
        super().__init__(*arguments, **given)
        self._default = default

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [self._default, *args]
        return super().parse_args(ctx, args)
