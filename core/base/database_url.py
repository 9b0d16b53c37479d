"""Reads the URL of the ledger's database, and shows URLs without their secrets.

Libpq reads the URL, so everything that Postgres's own programs understand has its meaning here: several hosts, Unix
sockets, ``sslmode``, ``options``, ``target_session_attrs``, ``passfile``, ``service``. SQLAlchemy's way to name several
hosts, ``?host=a:5432&host=b:5432``, is understood as well.
"""

import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote, unquote_plus

if TYPE_CHECKING:
    from sqlalchemy import URL  # All that reads the settings loads this module, also where there is no database.

EXAMPLE = "postgresql://user:password@host/database"

_SCHEME = re.compile(r"(?i)postgres(ql)?(\+psycopg)?://")
_DRIVER = re.compile(r"(?i)([a-z][\w+.-]*)://")
_HOST_AND_PORT = re.compile(r"(?P<host>[^/@:][^:]*|\[[^\]]*\]):(?P<port>\d+)")

DEFAULTS = {
    "application_name": "pacioli",
    "connect_timeout": "3",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
"""These values count when the URL does not say otherwise. A peer that is gone is noticed after about 15 seconds."""


def parameters(url: str) -> dict[str, str]:
    """Return libpq's parameters of a URL. ``DEFAULTS`` has what counts for those that it leaves out.

    Raises:
        ValueError: the URL is none, or names a driver that is not ours. The text ends a sentence that begins with the
            name of the setting, and has no secret in it.
    """
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    if not (scheme := _SCHEME.match(url)):
        named = _DRIVER.match(url)
        if named is None:
            raise ValueError(f"is not a URL such as {EXAMPLE}")
        raise ValueError(f"is not a URL such as {EXAMPLE}: {named[1]}:// names a driver that is not ours")
    try:
        given = conninfo_to_dict(_with_joined_hosts("postgresql://" + url[scheme.end() :]))
        if any(port and not 0 < int(port) < 65536 for port in str(given.get("port", "")).split(",")):
            raise ValueError
    except (psycopg.Error, ValueError):  # The message could have a piece of the password in it.
        raise ValueError(
            f"is not a URL such as {EXAMPLE}: see its port, the names after the ?, and that each of @ : / ? # % in "
            "a name or password is written as %40 %3A %2F %3F %23 %25"
        ) from None
    return {name: str(value) for name, value in given.items()}


class Account(NamedTuple):
    """The user that a URL leads to, and its password if the URL has one."""

    user: str
    password: str | None


def account(url: str) -> Account:
    """Return the account of a URL. Libpq has a user for a URL without one.

    Raises:
        ValueError: as ``parameters``.
    """
    given = parameters(url)
    return Account(given.get("user") or _default("user"), given.get("password"))


def environment_options() -> str:
    """Return the options that libpq takes from PGOPTIONS when the URL has none."""
    return _default("options")


def _default(name: str) -> str:
    import psycopg

    values = (option.val for option in psycopg.pq.Conninfo.get_defaults() if option.keyword == name.encode())
    return (next(values, None) or b"").decode()


def engine_url(of: dict[str, str]) -> "URL":
    """Write parameters as SQLAlchemy's URL, for engines and those who copy them. Several hosts are in its query."""
    from sqlalchemy import URL

    rest = {name: value for name, value in of.items() if name not in ("user", "password", "dbname", "sslpassword")}
    host, port = rest.get("host", ""), rest.get("port", "")
    plain = "," not in host + port and not host.startswith(("/", "@")) and port.isdigit()
    return URL.create(
        "postgresql+psycopg",
        username=of.get("user"),
        password=of.get("password"),
        host=rest.pop("host", None) if plain else None,
        port=int(rest.pop("port")) if plain else None,
        database=of.get("dbname"),
        query=rest,
    )


def _with_joined_hosts(url: str) -> str:
    """Join the hosts of a query into one parameter, and their ports into another, as libpq wants them."""
    before, mark, query = url.partition("?")
    if not mark:
        return url
    pairs = [(unquote(name), value) for name, _, value in (pair.partition("=") for pair in query.split("&") if pair)]
    # SQLAlchemy writes a plus sign for a blank, and libpq keeps it. Only options have blanks, and they need no plus sign.
    values = [(name, (unquote_plus if name == "options" else unquote)(value)) for name, value in pairs]
    hosts = [host for name, value in values if name == "host" for host in value.split(",")]
    ports = [port for name, value in values if name == "port" for port in value.split(",")]
    split = [_HOST_AND_PORT.fullmatch(host) for host in hosts]
    if any(split):
        ports = [found["port"] if found else "" for found in split]
        hosts = [found["host"] if found else host for found, host in zip(split, hosts, strict=True)]
    joined = [(name, ",".join(each)) for name, each in (("host", hosts), ("port", ports)) if each]
    others = [(name, value) for name, value in values if name not in ("host", "port")]
    return before + "?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in others + joined)
