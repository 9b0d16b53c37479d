"""Decides where a webhook may go: which URLs are well formed, and which addresses may be connected to.

A URL is somebody's wish, and the service stands inside a network. So a name is resolved here, each of its addresses is checked,
and the connection goes to an address that was checked, so that a name cannot mean another one a moment later. Whatever form an
address is written in, such as ``http://2130706433/`` or ``http://0177.1/``, the resolver turns it into one that is checked.
"""

import queue
import socket
import threading
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_URL = 2048
_PORTS = {"http": 80, "https": 443}
_PORT_MIN = 1024
"""The ports below are those of mail, of names and the like, and no web server of ours or of others but 80 and 443."""

_NAT64 = IPv6Network("64:ff9b::/96")
_SIIT = IPv6Network("::ffff:0:0:0/96")
_PUBLIC = IPv6Network("2000::/3")
"""All public IPv6 addresses are here (RFC 4291, IANA). Those of a site, for one, are not, whatever Python calls them."""
_PROTOCOLS = IPv4Network("192.0.0.0/24")
_LINK_LOCAL = (
    IPv4Network("169.254.0.0/16"),
    IPv6Network("fe80::/10"),
    IPv4Network("100.100.100.200/32"),  # Alibaba Cloud
    IPv4Network("168.63.129.16/32"),  # Azure, which took a public one
    IPv4Network("192.0.0.192/32"),  # Oracle Cloud
    IPv6Network("fd00:ec2::254/128"),  # AWS
    IPv6Network("fd20:ce::254/128"),  # Google Cloud
    IPv6Network("64:ff9b:1::/48"),  # Stands for IPv4 addresses in ways that only the network knows (RFC 8215).
)
"""The addresses of a link, and those where clouds keep the credentials of a machine. ``on`` does not allow them."""


class Refused(Exception):
    """A webhook may not go there. The text says why, and names the address."""


class Unresolved(Exception):
    """The name has no address, or the resolver did not answer in time."""


class Guard(Struct, frozen=True):
    """The addresses beside public ones that webhooks may go to."""

    private: bool = False
    """Whether private and loopback addresses are allowed, and any port."""
    networks: tuple[Network, ...] = ()
    """Networks that are allowed whatever they are, with any port."""

    def check(self, address: Address, port: int) -> None:
        """Check one address.

        Raises:
            Refused: it is not public, and not allowed.
        """
        meant = _meant(address)
        if any(address in network or meant in network for network in self.networks):
            return
        if any(meant in network for network in _LINK_LOCAL) or meant.is_multicast or meant.is_unspecified:
            raise Refused(f"{address} is a link-local, metadata, multicast or unspecified address")
        if self.private:
            return
        if not meant.is_global or meant in _PROTOCOLS or (isinstance(meant, IPv6Address) and meant not in _PUBLIC):
            raise Refused(f"{address} is not a public address; PACIOLI_WEBHOOK_ALLOW_PRIVATE allows more")
        if port < _PORT_MIN and port not in _PORTS.values():
            raise Refused(f"port {port} is none of a web server: use 80, 443 or one from {_PORT_MIN} on")


EVERYWHERE = Guard(private=True, networks=(IPv4Network("0.0.0.0/0"), IPv6Network("::/0")))
"""The guard of a URL that the operator has set in the environment."""


def problem_of(url: str) -> str | None:
    """Say what is wrong with the form of a URL."""
    if not url or len(url) > MAX_URL:
        return f"must be a URL of at most {MAX_URL} characters"
    if not url.isascii() or any(c <= " " or c in '\x7f"<>\\^`{|}' for c in url):
        return "must be a URL in ASCII without spaces: write others with % or in punycode"
    try:
        parts, port = urlsplit(url), urlsplit(url).port
    except ValueError:
        return "is no URL"
    if parts.scheme not in _PORTS:
        return "must begin with https:// or http://"
    if not parts.hostname or port == 0:
        return "must name a host, such as https://example.com/hooks"
    if "@" in parts.netloc:
        return "must have no user and password: put them into headers"
    if "#" in url:
        return "must have no fragment"
    return None


def port_of(parts: SplitResult) -> int:
    """Return the port that a URL means."""
    return parts.port or _PORTS[parts.scheme]


def allowed(host: str, port: int, guard: Guard, within_s: float) -> list[Address]:
    """Resolve a name, and return its addresses that may be connected to.

    Raises:
        Refused: all of its addresses are refused.
        Unresolved: it has none, or the resolver did not answer in time.
    """
    found: list[Address] = []
    refused: Refused | None = None
    for address in _resolve(host, port, within_s):
        try:
            guard.check(address, port)
            found.append(address)
        except Refused as error:
            refused = error
    if refused is not None and not found:
        raise refused
    return found


def _meant(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, if it does: mapped, translated, or tunnelled."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64 or address in _SIIT or (int(address) >> 32 == 0 and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _resolve(host: str, port: int, within_s: float) -> Sequence[Address]:
    """Resolve a name in a thread of its own, because the resolver knows no deadline."""
    answers: queue.SimpleQueue[list[str] | OSError | UnicodeError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answers.put([str(info[4][0]) for info in infos])
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=ask, name="resolver", daemon=True).start()
    try:
        answer = answers.get(timeout=max(0.001, within_s))
    except queue.Empty:
        raise Unresolved(f"the resolver did not answer for {host}") from None
    if not isinstance(answer, list) or not answer:
        raise Unresolved(f"{host} has no address")
    return [ip_address(text.partition("%")[0]) for text in dict.fromkeys(answer)]
