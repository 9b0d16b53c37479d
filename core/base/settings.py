"""Defines the settings: every environment variable with its check, its default and its meaning.

A door (web, worker, command line) hands its environment to ``read`` once, and gets all faults together. The core itself
never reads the environment. ``pacioli settings`` and the documentation print this table.
"""

import os
import re
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import Annotated, Any, get_type_hints
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from core.base import database_url, redis_url, setting_values
from core.base.rate import Rate
from core.base.rate import rate as read_rate
from core.base.redis_url import RedisUrl
from core.base.secrets import Secret, remember

_FILE_BYTES_MAX = 65_536

DEFAULT_BROKER = "redis://127.0.0.1:6379/0"

_PASSWORD = re.compile(r"(//[^:@/\s]*):[^\s]*@")
"""Matches from the first colon of a URL's user to the last @, because a password may hold any character by mistake."""

_OPTION = re.compile(r"(?P<name>[\w%.-]+)(?P<equals>\s*=\s*)(?P<value>'(?:\\.|[^'\\])*'|[^\s&'\"]+)")
_SECRET = re.compile(r"(?i)pass(word|wd|phrase)?$|pwd$|secret$|token$|credentials?$")


class SettingsError(Exception):
    """Some variables are wrong or missing. ``faults`` has one sentence for each, which begins with its name."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class Variable(Struct, frozen=True, kw_only=True):
    """One environment variable. A blank one counts as not set."""

    name: str
    meaning: str
    parse: Callable[[str], Any] = str
    """Converts the text to the value. It raises ValueError with the end of a sentence that begins with the name."""
    default: str = ""
    """The text that counts when the variable is not set."""
    is_secret: bool = False
    """Nobody may see its value."""
    has_password: bool = False
    """Its value is a URL, which may have a password in it."""

    @property
    def file_name(self) -> str | None:
        """The name of the variable that names a file with the value. Only what may be secret has one."""
        return f"{self.name}_FILE" if self.is_secret or self.has_password else None

    def text(self, environ: Mapping[str, str]) -> str:
        """Return the text that counts: that of the environment, else that of the file, else the default.

        Raises:
            ValueError: both are set, or the file has no text. The message is a sentence.
        """
        text = environ.get(self.name, "")
        path = environ.get(self.file_name, "") if self.file_name else ""
        if not path:
            return text or self.default
        if text:
            raise ValueError(f"{self.name} and {self.file_name} are both set: keep one of them")
        return text_of_file(path, str(self.file_name))

    def shown(self, environ: Mapping[str, str]) -> str | None:
        """Return the text that counts, with secrets hidden. Returns None when there is none."""
        if self.file_name and (path := environ.get(self.file_name)):
            return f"(hidden, from {path})"
        text = environ.get(self.name) or self.default
        if not text:
            return None
        return "(hidden)" if self.is_secret or not self._is_url(text) else without_password(text)

    def _is_url(self, text: str) -> bool:
        """Tell whether a text has the form of this URL. If not, it may be a password that is there by mistake."""
        try:
            self.parse(text)
        except ValueError:
            return not self.has_password
        return True


def text_of_file(path: str, name: str) -> str:
    """Read a secret from its file, without the line break at its end.

    Raises:
        ValueError: there is no such text. The message is a sentence, which begins with the name of what names the file.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(_FILE_BYTES_MAX + 1).decode().rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"{name} names {path}, which cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{name} names {path}, which is not text in UTF-8") from None
    if not text.strip():
        raise ValueError(f"{name} names {path}, which is empty")
    if len(text) > _FILE_BYTES_MAX or "\n" in text or "\0" in text:
        raise ValueError(f"{name} names {path}, which has more than one line with the value")
    return text


class Settings(Struct, frozen=True, kw_only=True):
    """The checked values of all environment variables. None means that a variable is not set."""

    database_url: Annotated[
        Secret[str] | None,
        Variable(
            name="DATABASE_URL",
            meaning="Postgres 15 or newer, which holds the ledger. `pacioli up` starts one when it is not set.",
            parse=setting_values.database,
            has_password=True,
        ),
    ]
    owner_url: Annotated[
        Secret[str] | None,
        Variable(
            name="PACIOLI_OWNER_URL",
            meaning="The same database for the role that owns the tables. `migrate`, `queues resize` and `identity renew` "
            "use it, and `migrate` then gives the roles of DATABASE_URL and PACIOLI_NOTARY_URL only what they need. When it "
            "is not set, DATABASE_URL does everything.",
            parse=setting_values.database,
            has_password=True,
        ),
    ]
    notary_url: Annotated[
        Secret[str] | None,
        Variable(
            name="PACIOLI_NOTARY_URL",
            meaning="The same database for the role that alone adds checkpoints and seals. The notary, workers and `verify` need "
            "it. When it is not set, they use DATABASE_URL.",
            parse=setting_values.database,
            has_password=True,
        ),
    ]
    redis_url: Annotated[
        Secret[str] | None,
        Variable(
            name="REDIS_URL",
            meaning="Redis: the broker of Celery, and what wakes `?wait=`. Several ledgers may share one. redis://, rediss:// "
            "(TLS), unix:// and sentinel:// mean the same to all parts. `pacioli up` starts one when it is not set.",
            parse=setting_values.redis,
            has_password=True,
        ),
    ]
    broker_url: Annotated[
        Secret[str] | None,
        Variable(
            name="BROKER_URL",
            meaning="Another broker for Celery, such as amqp://host. When it is not set, Redis is the broker. "
            "Without Redis, `?wait=` polls the database every half second.",
            parse=setting_values.broker,
            has_password=True,
        ),
    ]
    broker_folder: Annotated[
        str | None,
        Variable(
            name="BROKER_FOLDER",
            meaning="The folder that carries the messages when BROKER_URL is filesystem://. `pacioli up` sets both where "
            "there is no Redis.",
        ),
    ]
    secret_key: Annotated[
        Secret[str] | None,
        Variable(
            name="PACIOLI_SECRET_KEY",
            meaning="A request needs it in the header `X-Blnk-Key`, except for `/`, `/health`, `/docs` and `/openapi.json`. It "
            f"has {setting_values.API_KEY_MIN} characters at least. `pacioli up` makes "
            "one, `api.key` in the data folder, when it is not set.",
            parse=setting_values.api_key,
            is_secret=True,
        ),
    ]
    pepper: Annotated[
        Secret[str] | None,
        Variable(
            name="PACIOLI_PEPPER",
            meaning="Keys the hashes that stand for API keys in the database, so that whoever writes to the database can make "
            "no key. All web processes need the same one, and another one ends all API keys. `pacioli up` makes one, "
            "`pepper.key` in the data folder. When it is not set, it is derived from PACIOLI_SECRET_KEY.",
            parse=setting_values.api_key,
            is_secret=True,
        ),
    ]
    key_max_days: Annotated[
        int,
        Variable(
            name="PACIOLI_KEY_MAX_DAYS",
            meaning="An API key lasts so many days at most. A request for a longer one is refused.",
            parse=setting_values.count,
            default="1826",
        ),
    ]
    insecure: Annotated[
        bool,
        Variable(
            name="PACIOLI_INSECURE",
            meaning="`on` lets the web service run without PACIOLI_SECRET_KEY. It then listens on loopback addresses alone. "
            "`pacioli up --insecure` sets it.",
            parse=setting_values.on_or_off,
            default="off",
        ),
    ]
    allowed_hosts: Annotated[
        frozenset[str] | None,
        Variable(
            name="PACIOLI_ALLOWED_HOSTS",
            meaning="The names that the web service answers under beside `localhost` and loopback addresses, with commas "
            "between them: `ledger.example.com`, or `.example.com` with all names below it. `pacioli up --host` adds its own.",
            parse=setting_values.host_names,
        ),
    ]
    trusted_proxies: Annotated[
        tuple[setting_values.Network, ...] | None,
        Variable(
            name="PACIOLI_TRUSTED_PROXIES",
            meaning="The addresses or networks of reverse proxies, with commas between them: `10.0.0.0/8,::1`. What they say "
            "about the address of a client, in `X-Forwarded-For` or `Forwarded`, counts for wrong keys and in the log. Nobody "
            "else is believed.",
            parse=setting_values.networks,
        ),
    ]
    rate: Annotated[
        Rate | None,
        Variable(
            name="PACIOLI_RATE",
            meaning="The requests a second that a key may send, and after a slash how many may come at once: `500/1000`. The "
            "web processes share it. More are answered 429 with `Retry-After`. When it is not set, there is no limit.",
            parse=read_rate,
        ),
    ]
    chain_key: Annotated[
        Secret[bytes] | None,
        Variable(
            name="PACIOLI_CHAIN_KEY",
            meaning=f"Signs checkpoints: at least {setting_values.CHAIN_KEY_DIGITS} hexadecimal digits. `pacioli up` makes one, "
            "`chain.key` in the data folder. Keep a copy elsewhere.",
            parse=setting_values.chain_key,
            is_secret=True,
        ),
    ]
    notary_key: Annotated[
        Secret[bytes] | None,
        Variable(
            name="PACIOLI_NOTARY_KEY",
            meaning="The private key of the notary, 64 hexadecimal digits, which no other process may have. `pacioli up` makes "
            "one, `notary.key` in the data folder. It can be replaced while the notary runs if it is in a file.",
            parse=setting_values.notary_key,
            is_secret=True,
        ),
    ]
    notary_public_key: Annotated[
        frozenset[str] | None,
        Variable(
            name="PACIOLI_NOTARY_PUBLIC_KEY",
            meaning="The public key of the notary, as `pacioli notary key` prints it, by which verifications check seals. Keep "
            "it outside the database. When it is not set, the key of the first seal is believed.",
            parse=setting_values.public_keys,
        ),
    ]
    notary_file: Annotated[
        str | None,
        Variable(
            name="PACIOLI_NOTARY_FILE",
            meaning="The file to which the notary appends each seal, and from which it knows its last one when it starts. Keep "
            "it where nobody can write who can write the database. `pacioli up` has `seals.jsonl` in the data folder.",
        ),
    ]
    notary_syslog: Annotated[
        str | None,
        Variable(
            name="PACIOLI_NOTARY_SYSLOG",
            meaning="Where the notary publishes the hash of each seal as a line of syslog: `/dev/log`, or `host:514` over UDP.",
        ),
    ]
    notary_webhook: Annotated[
        str | None,
        Variable(
            name="PACIOLI_NOTARY_WEBHOOK",
            meaning="A URL to which the notary posts each seal.",
            parse=setting_values.web_address,
        ),
    ]
    notary_timestamps: Annotated[
        str | None,
        Variable(
            name="PACIOLI_NOTARY_TIMESTAMPS",
            meaning="The URL of a time stamp authority (RFC 3161), which the notary asks for a stamp of a seal once an hour. The "
            "stamps are in PACIOLI_NOTARY_FILE too.",
            parse=setting_values.web_address,
        ),
    ]
    tokenization_secret: Annotated[
        Secret[str] | None,
        Variable(
            name="PACIOLI_TOKENIZATION_SECRET",
            meaning="The keys under which fields of identities are tokenized, the newest first, with commas between them. "
            "After a new one is put first, `pacioli identities rotate` seals everything under it. `pacioli up` makes one, "
            "`tokenization.key` in the data folder. Without it nothing is tokenized. Keep a copy elsewhere.",
            parse=setting_values.secrets,
            is_secret=True,
        ),
    ]
    webhook_url: Annotated[
        Secret[str] | None,
        Variable(
            name="BLNK_WEBHOOK_URL",
            meaning="Blnk's setting: a URL that gets every event, signed with PACIOLI_SECRET_KEY. It is the endpoint `default` "
            "of `pacioli webhooks`, and may lead anywhere. More endpoints are made with POST /webhooks.",
            parse=setting_values.web_address,
            has_password=True,
        ),
    ]
    webhook_headers: Annotated[
        Secret[str] | None,
        Variable(
            name="BLNK_WEBHOOK_HEADERS",
            meaning="Headers for BLNK_WEBHOOK_URL, which may replace those of the service: a JSON object, or `name:value` with "
            "commas between them.",
            parse=setting_values.header_text,
            is_secret=True,
        ),
    ]
    webhook_allow: Annotated[
        setting_values.Private | None,
        Variable(
            name="PACIOLI_WEBHOOK_ALLOW_PRIVATE",
            meaning="Where webhooks and hooks may go beside public addresses: `on` for private and loopback ones, or networks "
            "with commas between them, such as `10.0.0.0/8`. Link-local and metadata addresses must be among the networks.",
            parse=setting_values.private,
        ),
    ]
    precision_check: Annotated[
        bool,
        Variable(
            name="PACIOLI_PRECISION_CHECK",
            meaning="`off` lets transactions of one currency have different precisions, as Blnk does.",
            parse=setting_values.on_or_off,
            default="on",
        ),
    ]
    log_format: Annotated[
        str | None,
        Variable(
            name="PACIOLI_LOG",
            meaning="How web and worker write their log: `console` for people, `json` for programs. When it is not set, "
            "a terminal gets the first and everything else the second. `pacioli up` passes on what its own output is.",
            parse=setting_values.log_format,
        ),
    ]
    log_level: Annotated[
        str,
        Variable(
            name="PACIOLI_LOG_LEVEL",
            meaning="Lines below this level are left out of the log: `debug`, `info`, `warning` or `error`. `debug` has a "
            "line for every request.",
            parse=setting_values.log_level,
            default="info",
        ),
    ]
    access_log: Annotated[
        bool,
        Variable(
            name="PACIOLI_ACCESS_LOG",
            meaning="`on` writes a line of JSON for each request into the log of the web processes: the actor, route, status, "
            "milliseconds, bytes and request ID.",
            parse=setting_values.on_or_off,
            default="off",
        ),
    ]
    metrics_folder: Annotated[
        str | None,
        Variable(
            name="PROMETHEUS_MULTIPROC_DIR",
            meaning="The folder where the processes of a host keep their counters, so that one scrape shows all of them. "
            "`pacioli up` sets it. It must be empty when the service starts, and on a disk of this host.",
        ),
    ]
    metrics_port: Annotated[
        int | None,
        Variable(
            name="PACIOLI_METRICS_PORT",
            meaning="A port on which a worker serves the counters of its host at `/metrics`, for a host without a web "
            "process. It needs the key as the web service does. Without PACIOLI_SECRET_KEY it listens on 127.0.0.1 alone. "
            "When it is not set, there is none.",
            parse=setting_values.port,
        ),
    ]
    pooler: Annotated[
        bool,
        Variable(
            name="PACIOLI_POOLER",
            meaning="`on` when DATABASE_URL leads to PgBouncer or another pooler in transaction mode. Nothing is then kept in "
            "a session, and nothing is prepared.",
            parse=setting_values.on_or_off,
            default="off",
        ),
    ]
    web_connections: Annotated[
        int,
        Variable(
            name="PACIOLI_WEB_CONNECTIONS",
            meaning="How many connections to Postgres one web process opens at most. Too few are slow, and not wrong.",
            parse=setting_values.count_from_2,
            default="10",
        ),
    ]
    worker_connections: Annotated[
        int,
        Variable(
            name="PACIOLI_WORKER_CONNECTIONS",
            meaning="How many connections to Postgres one worker process opens at most. A worker has one process more than it "
            "decides in.",
            parse=setting_values.count,
            default="3",
        ),
    ]
    statement_timeout_s: Annotated[
        int,
        Variable(
            name="PACIOLI_STATEMENT_TIMEOUT_S",
            meaning="Postgres cancels a statement of web or worker after so many seconds. Lists have 5 seconds.",
            parse=setting_values.count,
            default="60",
        ),
    ]
    max_waiting: Annotated[
        int,
        Variable(
            name="PACIOLI_MAX_WAITING",
            meaning="The number of undecided transactions at which a POST gets 503 `QUEUE_BACKPRESSURE`. Queues with less "
            "than their share go on. Commits and voids of holds are taken up to twice as many.",
            parse=setting_values.limit,
            default="1000000",
        ),
    ]
    max_waiting_age_s: Annotated[
        int,
        Variable(
            name="PACIOLI_MAX_WAITING_AGE_S",
            meaning="The seconds that the oldest transaction of a queue may wait before a POST to that queue gets 503 "
            "`QUEUE_BACKPRESSURE`.",
            parse=setting_values.limit,
            default="3600",
        ),
    ]
    new_names: Annotated[
        int,
        Variable(
            name="PACIOLI_NEW_NAMES",
            meaning="An API key may create so many internal balances in an hour, by naming new `@Names`. More are answered 429. "
            "The master key has no limit.",
            parse=setting_values.count,
            default="20000",
        ),
    ]
    active_jobs: Annotated[
        int,
        Variable(
            name="PACIOLI_ACTIVE_JOBS",
            meaning="An API key may have so many funding jobs that are not over: active, paused, or waiting for an approval. "
            "One more is answered 409. The master key has no limit.",
            parse=setting_values.count,
            default="1000",
        ),
    ]
    approve_above: Annotated[
        setting_values.Sums | None,
        Variable(
            name="PACIOLI_APPROVE_ABOVE",
            meaning="A funding job that pays more than this in one run waits until a key of another owner approves it, and so "
            "does a job with a rule, whose sum is not known before. It is in major units: `10000`, or `USD:10000,EUR:9000` for "
            "each currency, and in any other currency every job waits. When it is not set, no job waits.",
            parse=setting_values.sums,
        ),
    ]
    funding_repeat_s: Annotated[
        int,
        Variable(
            name="PACIOLI_FUNDING_REPEAT_S",
            meaning="The seconds within which a funding job with the same pool, rows and terms is taken for a repetition: 409 "
            "`FND_REPEATED`, unless it has a reference of its own or says `again`. A job that is not over counts for longer.",
            parse=setting_values.count,
            default="72000",
        ),
    ]
    audit_days: Annotated[
        int | None,
        Variable(
            name="PACIOLI_AUDIT_DAYS",
            meaning="The days for which `pacioli audit cut` leaves rows in the audit log. When it is not set, they are kept for "
            "ever. Nothing but that command removes any.",
            parse=setting_values.count,
        ),
    ]
    event_days: Annotated[
        int,
        Variable(
            name="PACIOLI_EVENT_DAYS",
            meaning="The days for which `GET /events` keeps events. Those of transactions come from the log, and are kept for "
            "ever. A reader that comes back later is told from where it can go on.",
            parse=setting_values.count,
            default="90",
        ),
    ]
    idempotency_hours: Annotated[
        int,
        Variable(
            name="PACIOLI_IDEMPOTENCY_HOURS",
            meaning="The hours for which the answer to a request with an `Idempotency-Key` is kept. After that the same key is "
            "taken for a new one, and still pays nothing twice.",
            parse=setting_values.count,
            default="72",
        ),
    ]
    traces_url: Annotated[
        str | None,
        Variable(
            name="OTEL_EXPORTER_OTLP_ENDPOINT",
            meaning="Where traces are sent over OTLP and HTTP, such as http://collector:4318. It needs "
            "`pip install 'pacioli[otel]'`. When it is not set, there are no traces.",
        ),
    ]
    data: Annotated[
        str,
        Variable(
            name="PACIOLI_DATA",
            meaning="The data folder of the instance that `pacioli up` runs, and that other commands find.",
            default=".pacioli",
        ),
    ]
    web_url: Annotated[
        str | None,
        Variable(
            name="PACIOLI_URL",
            meaning="Where clients find the service. When it is not set, they ask the instance on this machine.",
        ),
    ]
    authorities: Annotated[
        str | None,
        Variable(
            name="PACIOLI_CA",
            meaning="A file of certificates in PEM, by which clients check that of the service. When it is not set, they know "
            "the public authorities, and the command line trusts the certificate of an instance on this machine.",
        ),
    ]
    client_key: Annotated[
        Secret[str] | None,
        Variable(
            name="PACIOLI_KEY",
            meaning="The key that clients send. When it is not set, they send that of the profile "
            "or of the instance on this machine, each to its own address alone, else PACIOLI_SECRET_KEY.",
            is_secret=True,
        ),
    ]
    profile: Annotated[
        str | None,
        Variable(
            name="PACIOLI_PROFILE",
            meaning="The name of a profile in `~/.config/pacioli/profiles.toml`, which says where the service is and which key "
            "it gets. It counts when PACIOLI_URL is not set.",
        ),
    ]

    @property
    def broker(self) -> str:
        """The URL of Celery's broker."""
        named = self.broker_url or self.redis_url
        return DEFAULT_BROKER if named is None else named.reveal()

    @property
    def broker_is_redis(self) -> bool:
        """Whether Redis is the broker."""
        return redis_url.is_redis(self.broker)

    @property
    def redis(self) -> RedisUrl | None:
        """The Redis of doorbells and of `?wait=`, which is also the broker unless BROKER_URL names another."""
        if self.redis_url is not None:
            return redis_url.parse(self.redis_url.reveal())
        return redis_url.parse(self.broker) if self.broker_is_redis else None


@cache
def variables() -> dict[str, Variable]:
    """List every environment variable, by the field of ``Settings`` that holds its value."""
    hints = get_type_hints(Settings, include_extras=True)
    return {field: hints[field].__metadata__[0] for field in Settings.__struct_fields__}


def read(environ: Mapping[str, str], *, required: Collection[str] = ()) -> Settings:
    """Read and check all settings. ``required`` names the variables that this door needs.

    Raises:
        SettingsError: some variables are wrong or missing. It lists all of them.
    """
    values: dict[str, Any] = {}
    faults: list[str] = []
    for field, variable in variables().items():
        values[field] = None
        try:
            text = variable.text(environ)
        except ValueError as error:
            faults.append(str(error))
            continue
        if variable.file_name:
            _remember(variable, text)
        try:
            if text:
                value = variable.parse(text)
                values[field] = Secret(value) if variable.file_name else value
            elif variable.name in required:
                faults.append(missing(variable.name))
        except ValueError as error:
            faults.append(f"{variable.name} {error}")
    settings = Settings(**values)
    if settings.broker.startswith("filesystem:") and settings.broker_folder is None:
        faults.append("BROKER_FOLDER is not set, and BROKER_URL says that files carry the messages")
    if faults:
        raise SettingsError(faults)
    return settings


def names() -> Iterator[str]:
    """List the names of all variables, those that name files among them."""
    for variable in variables().values():
        yield variable.name
        if variable.file_name:
            yield variable.file_name


def without_files(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the values that are in files, in place of the names of the files.

    Raises:
        SettingsError: a file cannot be read.
    """
    found, faults = dict(environ), []
    for variable in variables().values():
        if variable.file_name and environ.get(variable.file_name):
            try:
                found[variable.name] = variable.text(environ)
            except ValueError as error:
                faults.append(str(error))
            del found[variable.file_name]
    if faults:
        raise SettingsError(faults)
    return found


def open_files(environ: Mapping[str, str]) -> list[str]:
    """Write a warning for each file with a secret that other users of the machine may read."""
    warnings = []
    for variable in variables().values():
        path = environ.get(variable.file_name, "") if variable.file_name else ""
        with suppress(OSError):
            if path and stat.S_IMODE(os.stat(path).st_mode) & 0o077:
                warnings.append(f"{variable.file_name}: other users may open {path}; `chmod 600` keeps it secret")
    return warnings


def missing(name: str) -> str:
    """Write the fault of a required variable that is not set."""
    (variable,) = (each for each in variables().values() if each.name == name)
    return f"{name} is not set: {variable.meaning}"


def without_password(text: str) -> str:
    """Hide every password in a URL, or in a text with URLs or libpq's ``name=value`` pairs in it."""
    return _OPTION.sub(_hide, _PASSWORD.sub(r"\1:***@", text))


def _hide(option: re.Match[str]) -> str:
    is_secret = _SECRET.search(unquote(option["name"]))
    return f"{option['name']}{option['equals']}***" if is_secret else option[0]


def _remember(variable: Variable, text: str) -> None:
    """Keep a key, or the passwords of a URL, out of every line of the log."""
    if variable.is_secret:
        remember(text)
        if variable.parse is setting_values.header_text:
            with suppress(ValueError):
                for value in setting_values.headers(text).values():
                    remember(value)
        return
    with suppress(ValueError):
        remember(unquote(urlsplit(text).password or ""))
    for option in _OPTION.finditer(text):
        if _SECRET.search(unquote(option["name"])):
            remember(unquote(option["value"]))
    with suppress(ValueError):
        remember(database_url.parameters(text).get("password", ""))
