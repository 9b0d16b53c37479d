"""Where the client finds the service: arguments, environment, profiles, the instance on this machine. A key goes nowhere else."""

import json
from pathlib import Path

import pytest
from pacioli_client import local, profiles
from pacioli_client.errors import NotConfigured

PROFILES = """
default = "shop"
[shop]
url = "https://shop.example"
key_file = "{folder}/shop.key"
[bank]
url = "https://bank.example"
"""


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("URL", "KEY", "KEY_FILE", "SECRET_KEY", "PROFILE", "DATA", "CA"):
        monkeypatch.delenv(f"PACIOLI_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The folder of the user's configuration, with two profiles."""
    folder = tmp_path / "config" / "pacioli"
    folder.mkdir(parents=True)
    (folder / "profiles.toml").write_text(PROFILES.format(folder=folder))
    key(folder / "shop.key", "shop's key")
    return folder


def key(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(f"{text}\n")
    path.chmod(mode)
    return path


def instance(folder: Path, url: str = "http://here:1") -> Path:
    folder.mkdir(parents=True)
    state = {"web_url": url, "key_file": str(key(folder / "api.key", "its key"))}
    (folder / "state.json").write_text(json.dumps(state))
    return folder


def test_a_profile_names_the_service_and_its_key(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert local.find()[:2] == ("https://shop.example", "shop's key")
    assert local.find(profile="bank")[:2] == ("https://bank.example", None)
    monkeypatch.setenv("PACIOLI_PROFILE", "bank")
    assert local.find()[:2] == ("https://bank.example", None)
    assert local.find(profile="shop")[:2] == ("https://shop.example", "shop's key")
    assert profiles.names() == ["bank", "shop"]


def test_the_key_of_a_profile_is_sent_to_its_address_alone(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert local.find("https://other.example")[:2] == ("https://other.example", None)
    assert local.find("https://other.example", profile="shop")[:2] == ("https://other.example", None)
    monkeypatch.setenv("PACIOLI_URL", "https://environment.example")
    assert local.find()[:2] == ("https://environment.example", None)
    monkeypatch.setenv("PACIOLI_KEY", "environment's key")
    assert local.find()[:2] == ("https://environment.example", "environment's key")
    assert local.find(profile="shop")[:2] == ("https://shop.example", "shop's key")


def test_the_key_of_an_instance_is_found_and_sent_to_it_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instance(tmp_path / "work" / ".pacioli")
    below = tmp_path / "work" / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert local.find()[:2] == ("http://here:1", "its key")
    assert local.find("http://here:1/")[1] == "its key"
    assert local.find("http://there:1")[1] is None
    assert local.find(key="mine")[1] == "mine"
    other = instance(tmp_path / "other", "http://other:1")
    assert local.find(data=other)[:2] == ("http://other:1", "its key")
    monkeypatch.setenv("PACIOLI_DATA", str(other))
    assert local.find()[0] == "http://other:1"


def test_a_key_may_stand_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACIOLI_KEY_FILE", str(key(tmp_path / "k", "from a file")))
    assert local.find("http://x")[1] == "from a file"
    for path, says in ((key(tmp_path / "empty", ""), "is empty"), (tmp_path / "missing", "cannot be read")):
        monkeypatch.setenv("PACIOLI_KEY_FILE", str(path))
        with pytest.raises(NotConfigured, match=f"PACIOLI_KEY_FILE.*{says}"):
            local.find("http://x")


def test_the_key_of_a_profile_must_be_closed_to_others(config: Path) -> None:
    (config / "shop.key").chmod(0o644)
    with pytest.raises(NotConfigured, match=r"other users can read .*: close it with `chmod 600"):
        local.find()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[shop", "cannot be read"),
        ("default = 'none'\n[shop]\nurl='u'", "has no profile 'none': it has shop"),
        ("default = 'shop'\n[shop]\nur='u'", "profile 'shop'"),
        ("default = 'shop'\n[shop]\nurl=3", "profile 'shop'"),
    ],
)
def test_a_file_that_cannot_be_used_is_said(config: Path, text: str, says: str) -> None:
    (config / "profiles.toml").write_text(text)
    with pytest.raises(NotConfigured, match=says):
        local.find()


def test_nothing_is_found_where_nothing_is() -> None:
    with pytest.raises(NotConfigured, match="no instance runs"):
        local.find()
