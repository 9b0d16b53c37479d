"""Reads the value of a setting from its text.

Each function raises ValueError with the end of a sentence that begins with the name of the variable.
"""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import pairwise

from core.base import database_url, redis_url

CHAIN_KEY_DIGITS = 64

API_KEY_MIN = 16
"""A key has at least so many characters."""

_OWN_CHARACTERS_MIN = 6
"""So many different characters of a key are not part of well-known words."""

_WELL_KNOWN = re.compile(
    "change[-_]?(?:me|this|it)|replace[-_]?me|secret|passw(?:or)?d|passphrase|default|example|insecure|pacioli|blnk|ledger"
    "|admin|token|super|test|demo|this|your|my|is|api|key|letmein|qwerty(?:uiop)?|asdfgh(?:jkl)?|deadbeef|[^a-z0-9]"
)
"""These words are in many keys, so they add nothing to one. Neither do signs between them."""

LOG_LEVELS = ("debug", "info", "warning", "error")


def database(text: str) -> str:
    """Check the URL of the database."""
    database_url.parameters(text)
    return text


def redis(text: str) -> str:
    """Check the URL of a Redis server."""
    redis_url.parse(text)
    return text


def broker(text: str) -> str:
    """Check the URL of a broker."""
    if redis_url.is_redis(text):
        return redis(text)
    if not re.match(r"[\w+.-]+://", text):
        raise ValueError("is not a URL such as amqp://user:password@host/vhost")
    return text


def host_names(text: str) -> frozenset[str]:
    """Read names of hosts with commas between them."""
    names = frozenset(name.strip().lower() for name in text.split(",") if name.strip())
    for name in names:
        if not re.fullmatch(r"[a-z0-9_.-]+|[0-9a-f:]+", name):
            raise ValueError(
                f"has {name!a}, which is no host name such as ledger.example.com: leave out scheme and port"
            )
    return names


Network = IPv4Network | IPv6Network


def networks(text: str) -> tuple[Network, ...]:
    """Read addresses and networks with commas between them."""
    found = []
    for each in filter(None, (part.strip() for part in text.split(","))):
        try:
            found.append(ip_network(each))
        except ValueError:
            raise ValueError(f"has {each!a}, which is no address or network such as 10.0.0.0/8") from None
    return tuple(found)


Private = bool | tuple[Network, ...]
"""Private networks: all of them, none, or some."""


def private(text: str) -> Private:
    """Read a switch, or networks with commas between them."""
    return text == "on" if text in ("on", "off") else networks(text)


Sums = Decimal | Mapping[str, Decimal]
"""A sum in major units: one for all currencies, or one for each."""


def sums(text: str) -> Sums:
    """Read a sum such as ``10000``, or one for each currency such as ``USD:10000,EUR:9000.50``."""
    number = r"[0-9]{1,30}(?:\.[0-9]{1,18})?"
    if re.fullmatch(number, text, re.ASCII):
        return Decimal(text)
    found = [re.fullmatch(rf"\s*([^\s:,]{{1,64}}):({number})\s*", part, re.ASCII) for part in text.split(",")]
    of_currencies = {each[1]: Decimal(each[2]) for each in found if each is not None}
    if len(of_currencies) < len(found):
        raise ValueError(
            "must be a sum in major units such as 10000, or one for each currency such as USD:10000,EUR:9000.50"
        )
    return of_currencies


_HEADER = re.compile(r"\s*([A-Za-z0-9!#$%&'*+.^_`|~-]+)\s*:\s*([\x20-\x7e]*?)\s*")


def header_text(text: str) -> str:
    """Check headers: a JSON object, or ``name:value`` with commas between them. The error repeats none."""
    headers(text)
    return text


def headers(text: str) -> dict[str, str]:
    """Read headers in either of the forms that Blnk documents."""
    fault = "must be a JSON object of texts, or name:value with commas between them"
    if text.lstrip().startswith("{"):
        try:
            given = json.loads(text)
        except ValueError:
            raise ValueError(fault) from None
        pairs = [f"{name}:{value}" if isinstance(value, str) else "" for name, value in given.items()]
    else:
        pairs = [pair for pair in text.split(",") if pair.strip()]
    found = [_HEADER.fullmatch(pair) for pair in pairs]
    if not found or None in found:
        raise ValueError(fault)
    return {each[1]: each[2] for each in found if each is not None}


def count(text: str) -> int:
    """Read a whole number from 1 to 999,999."""
    if not re.fullmatch(r"[1-9][0-9]{0,5}", text):
        raise ValueError(f"must be a whole number from 1 on, not {text!r}")
    return int(text)


def count_from_2(text: str) -> int:
    """Read a whole number from 2 on."""
    if count(text) < 2:
        raise ValueError("must be 2 at least: one for requests, and one for the checks of /health")
    return int(text)


def on_or_off(text: str) -> bool:
    """Read a switch."""
    if text not in ("on", "off"):
        raise ValueError(f"must be on or off, not {text!r}")
    return text == "on"


def port(text: str) -> int:
    """Read the number of a port."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise ValueError(f"must be a port from 1 to 65535, not {text!r}")
    return int(text)


def limit(text: str) -> int:
    """Read a whole number from 1 to 999,999,999,999."""
    if not (text.isascii() and text.isdecimal() and 1 <= len(text) <= 12 and int(text) > 0):
        raise ValueError(f"must be a whole number from 1 to 999999999999, not {text!r}")
    return int(text)


def log_format(text: str) -> str:
    """Check the name of a form of the log."""
    if text not in ("console", "json"):
        raise ValueError(f"must be console or json, not {text!r}")
    return text


def log_level(text: str) -> str:
    """Check the name of a level of the log."""
    if text not in LOG_LEVELS:
        raise ValueError(f"must be one of {', '.join(LOG_LEVELS)}, not {text!r}")
    return text


def chain_key(text: str) -> bytes:
    """Read the key that signs checkpoints from its hexadecimal digits.

    Raises:
        ValueError: the text is no such key.
    """
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if 2 * len(key) < CHAIN_KEY_DIGITS:
        raise ValueError(
            f"must be at least {CHAIN_KEY_DIGITS} hexadecimal digits, such as `openssl rand -hex 32` prints"
        )
    return key


def notary_key(text: str) -> bytes:
    """Read the private key of the notary from its hexadecimal digits."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise ValueError("must be 64 hexadecimal digits, such as `openssl rand -hex 32` prints")
    return key


def public_keys(text: str) -> frozenset[str]:
    """Read public keys of notaries, with commas between them."""
    keys = frozenset(key.strip().lower() for key in text.split(",") if key.strip())
    for key in keys:
        if not re.fullmatch(r"[0-9a-f]{64}", key):
            raise ValueError(f"must be 64 hexadecimal digits, such as `pacioli notary key` prints, not {key!a}")
    return keys


def web_address(text: str) -> str:
    """Check the address of a web service."""
    if not re.match(r"https?://[^\s/]+", text):
        raise ValueError("is not a URL such as https://example.com/seals")
    return text


def api_key(text: str) -> str:
    """Check the key that requests must carry. The error does not repeat it.

    Raises:
        ValueError: it cannot be sent in a header, or it can be guessed.
    """
    if not re.fullmatch(r"[!-~]+", text):
        fault = "must have only ASCII letters, digits and signs, without blanks"
    elif len(text) < API_KEY_MIN:
        fault = f"must have {API_KEY_MIN} characters at least"
    elif _is_guessable(text.lower()):
        fault = "can be guessed"
    else:
        return text
    raise ValueError(f"{fault}: make another with `openssl rand -hex 32`")


def secrets(text: str) -> str:
    """Check secrets with commas between them. The error repeats none.

    Raises:
        ValueError: one of them can be guessed.
    """
    return ",".join(api_key(each.strip()) for each in text.split(","))


def _is_guessable(text: str) -> bool:
    """Tell whether a text is made of repeated, well-known or successive characters."""
    doubled = (text + text).find(text, 1)
    own = _WELL_KNOWN.sub("", text[:doubled])
    steps = sum(abs(ord(one) - ord(next_)) == 1 for one, next_ in pairwise(own))
    return len(set(own)) < _OWN_CHARACTERS_MIN or 2 * steps > len(own)
