"""``pacioli keys``: the secret alone on standard output, and what the others say."""

import json
import re
import stat
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask

from ops.cli import service
from tests.harness.api import ok, refused
from tests.harness.cli import Nearby, Run, runner
from tests.harness.key_ring import Holder, Keys, later
from tests.harness.keys import KEY
from web import api_keys


@pytest.fixture
def run(database_url: str, app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``pacioli`` with the master key, unless a test gives another as PACIOLI_KEY."""
    monkeypatch.setattr(service, "TRANSPORT", Nearby(app))
    monkeypatch.setattr(api_keys, "REMEMBERED_S", 0.0)
    monkeypatch.delenv("PACIOLI_SECRET_KEY", raising=False)
    monkeypatch.setenv("PACIOLI_KEY", KEY)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return runner(database_url)


CREATE = ("keys", "create", "--name", "tills", "--owner", "shop", "--scope", "ledgers:read")


def test_the_secret_stands_alone_on_standard_output(run: Run, keys: Keys) -> None:
    result = run(*CREATE, "--scope", "balances:read", "--days", "30")
    assert result.exit_code == 0, result.output
    assert re.fullmatch(r"pacioli_key_[0-9A-Za-z]{49}\n", result.stdout)
    assert "tills" in result.stderr and "not shown again" in result.stderr
    holder = Holder(keys.app, result.stdout.strip())
    ok(holder.ask("GET /balances"), 200)
    (listed,) = keys.list()
    assert listed["scopes"] == ["ledgers:read", "balances:read"]
    assert later(days=29) < listed["expires_at"] < later(days=31)


def test_a_secret_may_go_to_a_file_that_only_its_owner_reads(run: Run, keys: Keys, tmp_path: Path) -> None:
    file = tmp_path / "tills.key"
    result = run(*CREATE, "--save", str(file))
    assert (result.exit_code, result.stdout) == (0, ""), result.output
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    ok(Holder(keys.app, file.read_text().strip()).ask("GET /ledgers"), 200)
    again = run(*CREATE, "--save", str(file))
    assert again.exit_code == 2 and "cannot be written (File exists)" in again.stderr
    assert again.stdout.startswith("pacioli_key_")  # What was made is not lost.


def test_bounds_are_sent_as_they_are_written(run: Run, keys: Keys) -> None:
    bounds = [
        "--ledger", "general_ledger_id", "--indicator", "@A", "--indicator", "@B", "--network", "10.0.0.0/8",
        "--largest-amount", "USD=12345678901234567890.10,EUR=5", "--largest-overdraft", "0", "--rate", "5/10",
    ]  # fmt: skip
    result = run(*CREATE, *bounds, "--json")
    assert result.exit_code == 0, result.output
    assert '"USD": 12345678901234567890.10' in result.stdout
    assert keys.list()[0]["reach"]["indicators"] == ["@A", "@B"]
    failed(run(*CREATE, "--largest-amount", "much"), 2, "'much' is no amount: give 500, or USD=500,EUR=400")


def test_a_misspelt_scope_is_told_with_the_right_one(run: Run) -> None:
    failed(run(*CREATE, "--scope", "transaction:read"), 2, "did you mean transactions:read?")


def test_the_master_key_lists_all_keys_and_a_key_its_own(run: Run, keys: Keys) -> None:
    assert run("keys", "list").stdout.startswith("there are no keys")
    own, other = keys.make("api-keys:read"), keys.make("ledgers:read", owner="office")
    every = run("keys", "list").stdout
    assert own.key_id in every and other.key_id in every
    assert other.key_id not in run("keys", "list", "--owner", "shop").stdout
    found = json.loads(run("keys", "list", "--json", PACIOLI_KEY=own.secret).stdout)
    assert [key["api_key_id"] for key in found] == [own.key_id]
    failed(run("keys", "list", PACIOLI_KEY=other.secret), 1, "Insufficient permissions for api-keys:read")


def test_a_rotated_key_has_another_secret(run: Run, keys: Keys) -> None:
    old = keys.make("ledgers:read")
    result = run("keys", "rotate", old.key_id, "--overlap", "60")
    assert "works until" in result.stderr
    for secret in (old.secret, result.stdout.strip()):
        ok(Holder(keys.app, secret).ask("GET /ledgers"), 200)


def test_a_revocation_says_what_it_leaves_and_stops_it(run: Run, keys: Keys) -> None:
    keys.master.api.done(destination="@Till", precise_amount=1000)
    poster = keys.make("*:*")
    ok(poster.api.post(scheduled_for=later(days=1)), 201)
    poster.api.done(inflight=True, inflight_expiry_date=later(days=1))
    told = run("keys", "revoke", poster.key_id).stdout
    assert told == (
        f"{poster.key_id} is revoked\nstill to come: 1 scheduled transaction\n"
        "goes on: 1 date on which a hold expires\n`--with-pending` stops that\n"
    )
    stopped = run("keys", "revoke", poster.key_id, "--with-pending").stdout
    assert "stopped: 1 scheduled transaction\n" in stopped and "`--with-pending`" not in stopped
    assert "still to come" not in run("keys", "revoke", poster.key_id).stdout
    refused(keys.master.ask("DELETE /api-keys/api_key_x"), 404, "APIKEY_NOT_FOUND")
    failed(run("keys", "revoke", "api_key_x"), 1, "API key not found")


def test_a_profile_says_with_which_key(run: Run, keys: Keys, tmp_path: Path) -> None:
    own = keys.make("api-keys:read")
    folder = tmp_path / "config" / "pacioli"
    folder.mkdir(parents=True)
    (folder / "shop.key").write_text(own.secret)
    (folder / "shop.key").chmod(0o600)
    profile = f'[shop]\nurl = "http://localhost"\nkey_file = "{folder}/shop.key"\n'
    (folder / "profiles.toml").write_text(profile)
    found = json.loads(run("keys", "list", "--as", "shop", "--json").stdout)
    assert [key["api_key_id"] for key in found] == [own.key_id]


def failed(result: Result, status: int, text: str) -> None:
    assert (result.exit_code, text in result.stderr) == (status, True), result.output
