"""Help by topic, the completion of shells, the version, and errors in the words of a command."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ops.cli.help import TOPICS
from ops.cli.main import COMMANDS, ELSEWHERE, main
from ops.cli.wording import of_command


def run(*arguments: str, **env: str) -> str:
    result = CliRunner(env=env).invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_help_explains_topics_and_commands() -> None:
    listed = run("help")
    for topic, text in TOPICS.items():
        assert topic in listed
        assert run("help", topic) == f"{text}\n"
        assert max(map(len, text.splitlines())) <= 130
    assert "Create a balance, and print its id." in run("help", "balance", "create")
    assert "tomorrow 8:00" in run("help", "dates")
    wrong = CliRunner().invoke(main, ["help", "nonsense"])
    assert (wrong.exit_code, "no command and no topic nonsense" in wrong.output) == (2, True)


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("bokks", "Did you mean one of: 'books'"),
        ("transction", "'transaction'"),
        ("stop", "Ctrl-C in the terminal of `pacioli up`"),
        ("backup", "docs/how-to/backup.md"),
        ("status", "pacioli top --once"),
    ],
)
def test_a_command_that_does_not_exist_leads_to_one_that_does(typed: str, told: str) -> None:
    wrong = CliRunner().invoke(main, [typed])
    assert (wrong.exit_code, told in wrong.output) == (2, True), wrong.output


def test_what_is_elsewhere_is_no_command_and_help_says_where() -> None:
    assert not ELSEWHERE.keys() & COMMANDS.keys()
    assert ELSEWHERE["restore"] in CliRunner().invoke(main, ["help", "restore"]).output


@pytest.mark.parametrize(
    ("shell", "file"),
    [
        ("bash", "data/bash-completion/completions/pacioli"),
        ("zsh", "data/zsh/site-functions/_pacioli"),
        ("fish", "config/fish/completions/pacioli.fish"),
    ],
)
def test_the_completion_is_written_where_the_shell_reads_it(shell: str, file: str, tmp_path: Path) -> None:
    env = {
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "SHELL": f"/bin/{shell}",
    }
    assert str(tmp_path / file) in run("completion", **env)
    assert (tmp_path / file).read_text().strip() == run("completion", shell, "--print").strip()
    assert "_PACIOLI_COMPLETE" in (tmp_path / file).read_text()


def test_commands_are_completed() -> None:
    env = {"_PACIOLI_COMPLETE": "bash_complete", "COMP_WORDS": "pacioli balan", "COMP_CWORD": "1"}
    result = CliRunner(env=env).invoke(main, [], prog_name="pacioli", complete_var="_PACIOLI_COMPLETE")
    assert "plain,balance" in result.output and "plain,balances" in result.output


def test_the_version_is_said() -> None:
    assert run("--version").startswith("pacioli 0.")


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("scheduled_for: must be later than now", "--at: must be later than now"),
        ("source: cannot be blank.", "--from: cannot be blank."),
        ("precise_amount: is required; precision says its unit", "AMOUNT: is required; precision says its unit"),
        ("needs allow_overdraft or overdraft_limit", "needs --allow-overdraft or overdraft limit"),
        ("it was retried; allow_overdraft: true does so", "it was retried; --allow-overdraft does so"),
        ("it was retried; again: true pays once more", "it was retried; again: true pays once more"),
        ("balance general_ledger_id of some_thing", "balance general_ledger_id of some_thing"),
        ("recipients: there is amount or precise_amount", "recipients: there is amount or precise_amount"),
        ("reference client_a_b is taken", "reference client_a_b is taken"),
    ],
)
def test_fields_are_named_as_the_options_of_the_command(message: str, told: str) -> None:
    @click.command()
    @click.argument("amount")
    @click.option("--at", "scheduled_for")
    @click.option("--from", "sources")
    @click.option("--allow-overdraft", is_flag=True)
    def command(**_: object) -> None:
        click.echo(of_command(message))

    assert CliRunner().invoke(command, ["1"]).output == f"{told}\n"
    assert of_command(message) == message  # There is no command.
