"""Tells the addresses that only this machine can reach."""

import socket
from ipaddress import IPv6Address, ip_address


def is_loopback(host: str) -> bool:
    """Tell whether a server that listens on this name or address can be reached from this machine alone.

    Raises:
        OSError: the name has no address.
    """
    return all(is_loopback_address(str(found[4][0])) for found in socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM))


def is_loopback_address(text: str) -> bool:
    """Tell whether a text is a loopback address, also when IPv6 has an IPv4 address in it."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    inner = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (inner or address).is_loopback
