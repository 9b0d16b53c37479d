"""The help of the commands."""

import click
import pytest
from click.testing import CliRunner

from ops.cli.main import main
from tests.unit.ops.test_bad_values import COMMANDS


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_an_example_and_every_option_a_help(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(main, [*path, "--help"]).output
    _, _, examples = shown.partition("Example")
    assert f"pacioli {' '.join(path)}" in examples
    for parameter in COMMANDS[path].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.opts
