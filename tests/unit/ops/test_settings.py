"""``pacioli settings``."""

import json

from click.testing import CliRunner, Result

from core.base.environment import variables
from ops.cli.main import main
from tests.harness.keys import KEY

UNSET = {variable.name: None for variable in variables().values()}


def run(*arguments: str, **environ: str) -> Result:
    return CliRunner(env={**UNSET, **environ}).invoke(main, ["settings", *arguments])


def test_it_prints_every_setting_and_hides_secrets() -> None:
    result = run(DATABASE_URL="postgresql://me:pass@host/ledger", PACIOLI_SECRET_KEY=KEY)
    assert result.exit_code == 0
    assert all(variable.name in result.output for variable in variables().values())
    assert "postgresql://me:***@host/ledger" in result.output
    assert KEY not in result.output


def test_it_prints_json() -> None:
    result = run("--json", PACIOLI_PRECISION_CHECK="off")
    body = json.loads(result.output)
    assert body["faults"] == []
    (found,) = (each for each in body["settings"] if each["name"] == "PACIOLI_PRECISION_CHECK")
    assert found.pop("meaning")
    assert found == {"name": "PACIOLI_PRECISION_CHECK", "value": "off", "default": "on"}


def test_it_says_all_that_is_wrong_and_exits_with_1() -> None:
    result = run(PACIOLI_PRECISION_CHECK="OFF", DATABASE_URL="nonsense")
    assert result.exit_code == 1
    assert "DATABASE_URL is not a URL" in result.stderr
    assert "PACIOLI_PRECISION_CHECK must be on or off, not 'OFF'" in result.stderr


def test_every_command_tells_all_faults() -> None:
    result = CliRunner(env={**UNSET, "DATABASE_URL": "nonsense", "PACIOLI_CHAIN_KEY": "x"}).invoke(main, ["queues"])
    assert result.exit_code == 2
    assert "DATABASE_URL is not a URL" in result.stderr
    assert "PACIOLI_CHAIN_KEY must be" in result.stderr
