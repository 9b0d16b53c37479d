"""Lists the settings: every environment variable with its check, its default and its meaning.

``environment.py`` reads them. ``pacioli settings`` and the documentation print this table.
"""

from typing import Annotated

from msgspec import Struct

from core.base import redis_url, setting_values
from core.base.rate import Rate
from core.base.rate import rate as read_rate
from core.base.redis_url import RedisUrl
from core.base.secrets import Secret
from core.base.variables import Variable

DEFAULT_BROKER = "redis://127.0.0.1:6379/0"


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
