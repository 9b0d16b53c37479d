"""Finds the address of a client behind reverse proxies, and believes only those that an operator has named."""

import re
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from core.base.setting_values import Network
from core.doors.loopback import is_loopback_address

CLIENT = "pacioli.client_address"
"""The key of the client's address in the WSGI environment, where it is not that of the connection."""

UNKNOWN = "unknown"
"""Stands for the address of a client that a proxy has told in two ways. RFC 7239 has the word."""

_FOR = re.compile(r'(?:^|[;,\s])for="?\[?([^\]",;\s]+)', re.IGNORECASE)
_PORT = re.compile(r":\d+$")


class Proxies:
    """The networks of proxies whose word about their clients is taken."""

    def __init__(self, networks: tuple[Network, ...]) -> None:
        self._networks = networks

        @lru_cache(maxsize=4096)
        def is_trusted(text: str) -> bool:
            address = address_of(text)
            return address is not None and any(address in network for network in networks)

        self._is_trusted = is_trusted

    def client(self, environ: Mapping[str, Any]) -> str:
        """Return the nearest address that is not one of a proxy.

        Each proxy adds the address that it was asked from at the end, so what is before the last that we do not trust may be
        forged. A proxy writes one of the two headers, and passes the other on, so with both there neither is believed, and
        the answer is ``UNKNOWN``, which is in no network.
        """
        peer: str = environ.get("REMOTE_ADDR", "")
        if not self._networks or not self._is_trusted(peer):
            return peer
        hops = forwarded(environ)
        if "HTTP_X_FORWARDED_FOR" in environ and "HTTP_FORWARDED" in environ:
            return UNKNOWN
        for hop in reversed(hops):
            address = address_of(hop)
            if address is None:
                return peer
            peer = str(address)
            if not self._is_trusted(peer):
                return peer
        return peer


def client_address(environ: Mapping[str, Any]) -> str:
    """Return the address of whoever asks."""
    found: str = environ.get(CLIENT) or environ.get("REMOTE_ADDR", "")
    return found


def is_from_this_machine(environ: Mapping[str, Any]) -> bool:
    """Tell whether the connection, and everybody whom a proxy names, is of this machine. A forged header only makes it False."""
    return is_loopback_address(environ.get("REMOTE_ADDR", "")) and all(map(is_loopback_address, forwarded(environ)))


def forwarded(environ: Mapping[str, Any]) -> list[str]:
    """List the addresses that proxies have written down, the farthest first."""
    hops = [_PORT.sub("", each.strip()) if each.count(":") == 1 else each.strip()
            for each in environ.get("HTTP_X_FORWARDED_FOR", "").split(",") if each.strip()]  # fmt: skip
    given = environ.get("HTTP_FORWARDED")
    if given is not None:
        found = [_PORT.sub("", each) if each.count(":") == 1 else each for each in _FOR.findall(given)]
        hops += found or ["unknown"]
    return hops


def address_of(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address, an IPv4 address inside of IPv6 as IPv4. Returns None when it is none."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    inner = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return inner or address
