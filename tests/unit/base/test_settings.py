"""Settings are read from an environment, and whatever is wrong in it is named."""

import secrets
import uuid

import pytest

from core.base.environment import SettingsError, missing, read, variables
from core.base.redis_url import RedisUrl
from core.base.secrets import Secret
from core.base.setting_values import api_key, chain_key
from core.base.variables import without_password

KEY = "ab" * 32
API_KEY = "pacioli_Vb2kq0Zr"


def faults(environ: dict[str, str], *required: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read(environ, required=required)
    return caught.value.faults


def test_nothing_has_to_be_set() -> None:
    settings = read({})
    assert settings.precision_check is True
    assert settings.broker == "redis://127.0.0.1:6379/0"
    assert settings.data == ".pacioli"
    assert settings.log_level == "info"
    without_default = [field for field, variable in variables().items() if not variable.default]
    assert {getattr(settings, field) for field in without_default} == {None}


def test_a_blank_variable_is_not_set() -> None:
    assert read({variable.name: "" for variable in variables().values()}) == read({})


def test_every_variable_has_its_own_name_and_a_meaning() -> None:
    assert len({variable.name for variable in variables().values()}) == len(variables())
    assert all(variable.meaning.endswith(".") for variable in variables().values())


def test_values_are_checked_and_converted() -> None:
    settings = read({"PACIOLI_CHAIN_KEY": KEY, "PACIOLI_PRECISION_CHECK": "off", "PACIOLI_SECRET_KEY": API_KEY})
    assert settings.precision_check is False
    assert settings.chain_key == Secret(b"\xab" * 32)
    assert settings.secret_key == Secret(API_KEY)


def test_all_faults_are_told_at_once() -> None:
    environ = {
        "DATABASE_URL": "mysql://host/ledger",
        "REDIS_URL": "localhost:6379",
        "BROKER_URL": "rabbit",
        "PACIOLI_CHAIN_KEY": "secret",
        "PACIOLI_PRECISION_CHECK": "OFF",
    }
    assert faults(environ) == [
        "DATABASE_URL is not a URL such as postgresql://user:password@host/database: mysql:// names a driver that is not ours",
        "REDIS_URL is not a URL such as redis://host:6379/0",
        "BROKER_URL is not a URL such as amqp://user:password@host/vhost",
        "PACIOLI_CHAIN_KEY must be at least 64 hexadecimal digits, such as `openssl rand -hex 32` prints",
        "PACIOLI_PRECISION_CHECK must be on or off, not 'OFF'",
    ]


def test_a_door_says_what_it_cannot_do_without() -> None:
    assert faults({"PACIOLI_PRECISION_CHECK": "no"}, "DATABASE_URL") == [
        missing("DATABASE_URL"),
        "PACIOLI_PRECISION_CHECK must be on or off, not 'no'",
    ]


def test_a_broker_of_files_needs_its_folder() -> None:
    assert faults({"BROKER_URL": "filesystem://"}) == [
        "BROKER_FOLDER is not set, and BROKER_URL says that files carry the messages"
    ]
    assert read({"BROKER_URL": "filesystem://", "BROKER_FOLDER": "here"}).broker_folder == "here"


@pytest.mark.parametrize(
    "url", ["postgres://h/db", "postgresql://u:p@h:5432/db", "postgresql+psycopg://postgres@/db?host=%2Ftmp"]
)
def test_the_usual_urls_of_postgres_will_do(url: str) -> None:
    assert read({"DATABASE_URL": url}).database_url == Secret(url)


def test_another_broker_goes_before_redis() -> None:
    assert read({"REDIS_URL": "rediss://h/1"}).broker == "rediss://h/1"
    assert read({"REDIS_URL": "redis://h/1", "BROKER_URL": "amqp://h"}).broker == "amqp://h"


def test_a_redis_that_is_the_broker_also_takes_notes() -> None:
    assert read({"BROKER_URL": "redis://h/1"}).redis == RedisUrl(hosts=(("h", 6379),), db=1)
    assert read({"BROKER_URL": "redis://h/1", "REDIS_URL": "redis://i/2"}).redis == RedisUrl(hosts=(("i", 6379),), db=2)
    assert read({}).redis == RedisUrl(hosts=(("127.0.0.1", 6379),))
    assert read({"BROKER_URL": "amqp://h"}).redis is None


@pytest.mark.parametrize("text", ["x", "ab" * 31, "zz" * 32, "ab" * 31 + "a"])
def test_a_key_has_64_hexadecimal_digits(text: str) -> None:
    with pytest.raises(ValueError, match="at least 64 hexadecimal digits"):
        chain_key(text)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("s3cret", "must have 16 characters at least"),
        ("Zr8kq0Vb2mXw5t1", "must have 16 characters at least"),
        ("a b c d e f g h i", "without blanks"),
        ("pacioli\n_Vb2kq0ZrTx", "without blanks"),
        ("schl\N{LATIN SMALL LETTER U WITH DIAERESIS}ssel-Vb2kq0Zr", "must have only ASCII"),
        ("a" * 40, "can be guessed"),
        ("secretsecretsecret", "can be guessed"),
        ("Changeme-ChangeMe", "can be guessed"),
        ("abcxyzabcxyzabcxyz", "can be guessed"),
        ("0123456789abcdef", "can be guessed"),
        ("9876543210987654", "can be guessed"),
        ("abcdefghijklmnopqrstuvwxyz", "can be guessed"),
        ("qwertyuiopasdfghjkl", "can be guessed"),
        ("my-super-secret-key-1", "can be guessed"),
        ("pacioli_api_key_123", "can be guessed"),
    ],
)
def test_a_short_or_guessable_key_is_refused_and_not_repeated(text: str, fault: str) -> None:
    (found,) = faults({"PACIOLI_SECRET_KEY": text})
    assert found.startswith("PACIOLI_SECRET_KEY ")
    assert fault in found
    assert found.endswith("make another with `openssl rand -hex 32`")
    assert text not in found


def test_a_key_that_a_generator_made_is_taken() -> None:
    for make in (secrets.token_hex, secrets.token_urlsafe, lambda size: str(uuid.UUID(bytes=secrets.token_bytes(16)))):
        for _ in range(500):
            key = make(32)
            assert api_key(key) == key


def test_what_is_shown_holds_no_secret() -> None:
    environ = {
        "DATABASE_URL": "postgresql://me:pass@host/ledger",
        "PACIOLI_SECRET_KEY": API_KEY,
        "PACIOLI_CHAIN_KEY": KEY,
        "PACIOLI_KEY": "k",
    }
    shown = {variable.name: variable.shown(environ) for variable in variables().values()}
    assert shown["DATABASE_URL"] == "postgresql://me:***@host/ledger"
    assert shown["PACIOLI_SECRET_KEY"] == shown["PACIOLI_CHAIN_KEY"] == shown["PACIOLI_KEY"] == "(hidden)"
    assert shown["PACIOLI_PRECISION_CHECK"] == "on"
    assert shown["REDIS_URL"] is None
    assert without_password("redis://:pw@h:1/0") == "redis://:***@h:1/0"
    assert (
        without_password("sentinel://h:1?master=m&sentinel_password=pw")
        == "sentinel://h:1?master=m&sentinel_password=***"
    )


SECRET = "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://me:hunter2@host/db",
        "postgresql://me:a@hunter2@host/db",
        "postgresql://me:a/hunter2@host/db",
        "postgresql://me:a:hunter2@host/db",
        "postgresql://me:a?hunter2#x@host/db",
        "postgresql+psycopg://:hunter2@/db?host=/tmp",
        "postgresql://me@h1:1,h2:2/db?password=hunter2&sslmode=require",
        "postgresql://h/db?user=me&pass%77ord=hunter2",
        "postgresql://h/db?sslpassword=hunter2",
        "host=h password=hunter2 dbname=db",
        "host=h password = 'a hunter2' dbname=db",
        r"host=h password='it\'s hunter2' dbname=db",
        'connection to "postgresql://me:hunter2@host/db" failed: see postgresql://you:hunter2@other/db',
        "rediss://:hunter2@h:1/0",
        "amqp://me:hunter2@host/vhost",
        "sentinel://h:1;sentinel://h:2?sentinel_password=hunter2",
    ],
)
def test_no_form_of_a_url_shows_its_password(text: str) -> None:
    assert SECRET not in without_password(text)
    assert "***" in without_password(text)


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://h1:5432,h2:5432/db?target_session_attrs=read-write",
        "postgresql+psycopg://postgres@/db?host=/tmp&passfile=/etc/pass",
        "host=h user=me",
    ],
)
def test_what_is_no_password_is_shown(text: str) -> None:
    assert without_password(text) == text


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://h1:5432,h2:5433/db",
        "postgresql://u:p%40%3A%2F@[::1]:5432/db?options=-c%20search_path%3Dx",
        "postgresql://u@/db?host=h1:1&host=h2:2&target_session_attrs=primary",
        "postgresql:///db?service=x&passfile=/p",
        "postgres://",
        "PostgreSQL://h/db",
    ],
)
def test_every_url_of_libpq_will_do(url: str) -> None:
    assert read({"DATABASE_URL": url}).database_url == Secret(url)


@pytest.mark.parametrize(
    "driver", ["postgresql+asyncpg", "postgresql+psycopg2", "mysql", "sqlite", "postgresql+pg8000"]
)
def test_another_driver_is_named_and_refused(driver: str) -> None:
    (fault,) = faults({"DATABASE_URL": f"{driver}://me:hunter2@h/db"})
    assert f"{driver}:// names a driver that is not ours" in fault
    assert SECRET not in fault


@pytest.mark.parametrize(
    "rest", ["me:hunter2@h:99999x/db", "me:hunter2%zz@h/db", "me:hunter2@h/db?no_such=1", "me:hunter2@[::1/db"]
)
def test_a_url_that_libpq_cannot_read_is_refused_without_its_password(rest: str) -> None:
    (fault,) = faults({"DATABASE_URL": f"postgresql://{rest}"})
    assert fault.startswith("DATABASE_URL is not a URL such as postgresql://")
    assert SECRET not in fault


@pytest.mark.parametrize("text", ["0", "-1", "ten", "1.5", "9999999"])
def test_a_budget_is_a_count(text: str) -> None:
    assert faults({"PACIOLI_WEB_CONNECTIONS": text}) == [
        f"PACIOLI_WEB_CONNECTIONS must be a whole number from 1 on, not {text!r}"
    ]
