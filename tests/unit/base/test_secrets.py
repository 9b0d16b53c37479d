"""Secrets are seen nowhere, and can come from a file."""

import io
import json
import pickle
from pathlib import Path

import pytest
import structlog

from core.base import logs, secrets
from core.base.environment import SettingsError, names, open_files, read, variables, without_files
from core.base.redis_url import parse
from core.base.secrets import Secret, hide, remember

PLANTED = "planted-5f3c9a7e21-hidden"
URLS = {
    "DATABASE_URL": f"postgresql://me:{PLANTED}@h/db",
    "PACIOLI_OWNER_URL": f"postgresql://me:{PLANTED}@h/db",
    "PACIOLI_NOTARY_URL": f"postgresql://h/db?user=me&password={PLANTED}",
    "REDIS_URL": f"redis://:{PLANTED}@h",
    "BROKER_URL": f"amqp://me:{PLANTED}@h",
    "BLNK_WEBHOOK_URL": f"https://me:{PLANTED}@h.example/x",
    "BLNK_WEBHOOK_HEADERS": f"X-Own:{PLANTED}",
}
KEYS = {
    *URLS,
    *(f"PACIOLI_{name}" for name in ("SECRET_KEY", "PEPPER", "CHAIN_KEY", "NOTARY_KEY", "KEY", "TOKENIZATION_SECRET")),
}


def value_of(name: str) -> str:
    return URLS.get(name) or ("ab" * 32 if name in ("PACIOLI_CHAIN_KEY", "PACIOLI_NOTARY_KEY") else PLANTED)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.touch(mode=0o600)
    return path


@pytest.mark.parametrize("held", [PLANTED, PLANTED.encode()])
def test_no_way_of_writing_a_secret_shows_it(held: str) -> None:
    secret = Secret(held)
    shown = f"{secret} {secret!r} {secret!s} {[secret]} {{}} %s" % secret + format(secret)
    assert PLANTED not in shown
    assert secret.reveal() == held
    assert secret == Secret(held) != Secret(held[1:])
    assert secret != held
    with pytest.raises(TypeError):
        pickle.dumps(secret)


def test_settings_and_what_is_made_of_them_show_no_secret() -> None:
    settings = read({name: value_of(name) for name in KEYS})
    shown = repr(settings) + repr(settings.redis) + repr(parse(f"sentinel://h?master=m&sentinel_password={PLANTED}"))
    assert PLANTED not in shown
    assert "abab" not in shown
    assert repr(parse("redis://h:1/2")).startswith("RedisUrl(hosts=(('h', 1),), ")


def test_all_that_is_secret_may_be_in_a_file() -> None:
    assert {variable.name for variable in variables().values() if variable.file_name} == KEYS
    assert {f"{name}_FILE" for name in KEYS} < set(names())


@pytest.mark.parametrize("name", sorted(KEYS))
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_secret_in_a_file_counts_as_one_of_the_environment(file: Path, name: str, end: str) -> None:
    file.write_bytes((value_of(name) + end).encode())
    environ = {f"{name}_FILE": str(file)}
    assert read(environ) == read({name: value_of(name)})
    assert without_files(environ) == {name: value_of(name)}
    (shown,) = (each.shown(environ) for each in variables().values() if each.name == name)
    assert shown == f"(hidden, from {file})"
    assert open_files(environ) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "which is empty"),
        (b" \n", "which is empty"),
        (b"\xff\xfe", "which is not text in UTF-8"),
        (f"{PLANTED}\nanother".encode(), "which has more than one line"),
        (b"x" * 100_000, "which has more than one line"),
    ],
)
def test_a_file_without_a_secret_is_refused(file: Path, text: bytes, said: str) -> None:
    file.write_bytes(text)
    for call in (read, without_files):
        with pytest.raises(SettingsError) as caught:
            call({"PACIOLI_SECRET_KEY_FILE": str(file)})
        assert f"PACIOLI_SECRET_KEY_FILE names {file}, {said}" in str(caught.value)
        assert PLANTED not in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for path, reason in ((tmp_path, "Is a directory"), (tmp_path / "none", "No such file or directory")):
        with pytest.raises(SettingsError, match=f"DATABASE_URL_FILE names {path}, which cannot be read: {reason}"):
            read({"DATABASE_URL_FILE": str(path)})


def test_the_fault_of_a_value_from_a_file_is_told_by_its_name(file: Path) -> None:
    file.write_text("short")
    with pytest.raises(SettingsError, match="PACIOLI_CHAIN_KEY must be at least 64"):
        read({"PACIOLI_CHAIN_KEY_FILE": str(file)})


def test_a_secret_that_is_set_twice_is_refused(file: Path) -> None:
    file.write_text("other")
    environ = {"PACIOLI_SECRET_KEY": PLANTED, "PACIOLI_SECRET_KEY_FILE": str(file)}
    with pytest.raises(SettingsError, match="PACIOLI_SECRET_KEY and PACIOLI_SECRET_KEY_FILE are both set"):
        read(environ)


def test_a_required_setting_may_be_in_a_file(file: Path) -> None:
    file.write_text("postgresql://h/db")
    assert read({"DATABASE_URL_FILE": str(file)}, required=["DATABASE_URL"]).database_url == Secret("postgresql://h/db")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o602])
def test_a_file_that_others_may_open_is_warned_about(file: Path, mode: int) -> None:
    file.write_text(PLANTED)
    file.chmod(mode)
    (warning,) = open_files({"PACIOLI_KEY_FILE": str(file)})
    assert str(file) in warning and PLANTED not in warning


@pytest.fixture
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_known", set())


@pytest.mark.usefixtures("nothing_known")
@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("name", sorted(KEYS))
def test_no_line_of_the_log_shows_what_settings_hold(log_format: str, name: str) -> None:
    planted = "ab" * 32 if name in ("PACIOLI_CHAIN_KEY", "PACIOLI_NOTARY_KEY") else PLANTED
    read({name: value_of(name)})
    stream = io.StringIO()
    logs.configure(log_format, stream)
    logger = structlog.get_logger()
    logger.error(f"it is {planted}", nested={"deep": [planted]}, error=repr(planted))
    try:
        local = planted
        raise ValueError(f"no such key: {local}")
    except ValueError:
        logger.exception("failed")
    text = stream.getvalue()
    assert planted not in text
    assert text.count("***") >= 4
    assert "ValueError" in text
    if log_format == "json":
        assert [json.loads(line)["level"] for line in text.splitlines()] == ["error", "error"]


@pytest.mark.usefixtures("nothing_known")
def test_a_secret_is_found_in_each_form_of_writing_it() -> None:
    secret = "p@ss/w:rd?#%+;\"' é and more"
    remember(secret)
    for line in (
        secret,
        f"?password={secret}",
        json.dumps(secret),
        repr(secret),
        "p%40ss%2Fw%3Ard%3F%23%25%2B%3B%22%27%20%C3%A9%20and%20more",
    ):
        assert "***" in hide(f"before {line} after"), line
        assert "ss/w" not in hide(line)


@pytest.mark.usefixtures("nothing_known")
def test_a_short_secret_leaves_words_alone() -> None:
    remember("postgres")
    assert hide("postgres starts") == "postgres starts"
