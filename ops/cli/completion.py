"""``pacioli completion``: the shell completes commands, options and their values."""

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")

_FILES = {
    "bash": ("XDG_DATA_HOME", "~/.local/share", "bash-completion/completions/pacioli"),
    "zsh": ("XDG_DATA_HOME", "~/.local/share", "zsh/site-functions/_pacioli"),
    "fish": ("XDG_CONFIG_HOME", "~/.config", "fish/completions/pacioli.fish"),
}
"""The variable of the folder, its default, and the file that the shell reads by itself."""


@click.command()
@click.argument("shell", type=click.Choice(SHELLS), required=False)
@click.option("--print", "only_print", is_flag=True, help="Print the script, and write nothing.")
def completion(shell: str | None, only_print: bool) -> None:
    """Install the completion of pacioli for SHELL, which is the shell of this user unless it is given.

    \b
    Examples:
      pacioli completion
      pacioli completion fish
      pacioli completion bash --print
    """
    from ops.cli.main import main

    name = shell or Path(os.environ.get("SHELL", "")).name
    kind = get_completion_class(name) if name in SHELLS else None
    if kind is None:
        raise click.UsageError(f"say for which shell: one of {', '.join(SHELLS)}")
    script = kind(main, {}, "pacioli", "_PACIOLI_COMPLETE").source()
    if only_print:
        click.echo(script)
        return
    variable, default, file = _FILES[name]
    path = Path(os.environ.get(variable) or default).expanduser() / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script)
    click.echo(f"{path} is written: a new {name} completes pacioli")
    if name == "zsh":
        click.echo(f"if it does not, put this into ~/.zshrc before compinit: fpath=({path.parent} $fpath)")
