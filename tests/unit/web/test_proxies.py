"""Proxies that are trusted tell the address of a client, and nobody else does."""

import pytest

from core.base.setting_values import networks
from web.http.proxies import Proxies, client_address, is_from_this_machine

TRUSTED = "10.0.0.0/8,::1,127.0.0.1"


@pytest.mark.parametrize(
    ("trusted", "peer", "headers", "client"),
    [
        # Nobody is believed when nobody is named, nor is anybody else.
        ("", "10.0.0.1", {"X_FORWARDED_FOR": "192.0.2.7"}, "10.0.0.1"),
        (TRUSTED, "203.0.113.5", {"X_FORWARDED_FOR": "192.0.2.7"}, "203.0.113.5"),
        (TRUSTED, "203.0.113.5", {"FORWARDED": "for=192.0.2.7"}, "203.0.113.5"),
        (TRUSTED, "10.0.0.1", {}, "10.0.0.1"),
        (TRUSTED, "10.0.0.1", {"X_FORWARDED_FOR": "192.0.2.7"}, "192.0.2.7"),
        (TRUSTED, "::ffff:10.0.0.1", {"X_FORWARDED_FOR": "192.0.2.7"}, "192.0.2.7"),
        (TRUSTED, "::1", {"X_FORWARDED_FOR": "2001:db8::7"}, "2001:db8::7"),
        # What stands before the nearest that is not trusted may be forged.
        (TRUSTED, "10.0.0.1", {"X_FORWARDED_FOR": "127.0.0.1, 10.9.9.9, 192.0.2.7"}, "192.0.2.7"),
        (TRUSTED, "10.0.0.1", {"X_FORWARDED_FOR": "198.51.100.1, 192.0.2.7, 10.1.1.1"}, "192.0.2.7"),
        (TRUSTED, "10.0.0.1", {"X_FORWARDED_FOR": "198.51.100.1,192.0.2.7:4711,10.1.1.1"}, "192.0.2.7"),
        (TRUSTED, "10.0.0.1", {"X_FORWARDED_FOR": "10.2.2.2, 10.1.1.1"}, "10.2.2.2"),
        # What is no address ends the search.
        (TRUSTED, "10.0.0.1", {"X_FORWARDED_FOR": "192.0.2.7, unknown"}, "10.0.0.1"),
        (TRUSTED, "10.0.0.1", {"X_FORWARDED_FOR": "192.0.2.7, junk, 10.1.1.1"}, "10.1.1.1"),
        (TRUSTED, "10.0.0.1", {"X_FORWARDED_FOR": ", ,"}, "10.0.0.1"),
        (TRUSTED, "10.0.0.1", {"FORWARDED": "for=192.0.2.7;proto=https;by=10.0.0.1"}, "192.0.2.7"),
        (TRUSTED, "10.0.0.1", {"FORWARDED": 'For="[2001:db8::7]:4711"'}, "2001:db8::7"),
        (TRUSTED, "10.0.0.1", {"FORWARDED": "for=198.51.100.1, for=192.0.2.7:80, for=10.1.1.1"}, "192.0.2.7"),
        (TRUSTED, "10.0.0.1", {"FORWARDED": "for=_hidden"}, "10.0.0.1"),
        (TRUSTED, "10.0.0.1", {"FORWARDED": "by=10.0.0.1"}, "10.0.0.1"),
        # A proxy writes one of the two, and the client may have sent the other, so nobody knows. It is not the proxy itself.
        (TRUSTED, "10.0.0.1", {"FORWARDED": "for=198.51.100.1", "X_FORWARDED_FOR": "192.0.2.7"}, "unknown"),
    ],
)
def test_the_address_of_a_client(trusted: str, peer: str, headers: dict[str, str], client: str) -> None:
    environ = {"REMOTE_ADDR": peer} | {f"HTTP_{name}": value for name, value in headers.items()}
    assert Proxies(networks(trusted)).client(environ) == client


def test_without_trusted_proxies_the_address_is_that_of_the_connection() -> None:
    assert client_address({"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "192.0.2.7"}) == "10.0.0.1"


@pytest.mark.parametrize(
    ("peer", "headers", "is_ours"),
    [
        ("127.0.0.1", {}, True),
        ("127.0.0.1", {"X_FORWARDED_FOR": "127.0.0.1"}, True),
        ("127.0.0.1", {"X_FORWARDED_FOR": "192.0.2.7"}, False),
        ("127.0.0.1", {"X_FORWARDED_FOR": "127.0.0.1, 192.0.2.7"}, False),
        ("127.0.0.1", {"X_FORWARDED_FOR": "192.0.2.7, 127.0.0.1"}, False),
        ("127.0.0.1", {"FORWARDED": "for=192.0.2.7"}, False),
        ("127.0.0.1", {"FORWARDED": "for=unknown"}, False),
        ("127.0.0.1", {"FORWARDED": "by=127.0.0.1"}, False),
        ("192.0.2.7", {"X_FORWARDED_FOR": "127.0.0.1"}, False),
        ("192.0.2.7", {"FORWARDED": "for=127.0.0.1"}, False),
    ],
)
def test_only_this_machine_is_this_machine(peer: str, headers: dict[str, str], is_ours: bool) -> None:
    environ = {"REMOTE_ADDR": peer} | {f"HTTP_{name}": value for name, value in headers.items()}
    assert is_from_this_machine(environ) is is_ours


@pytest.mark.parametrize("text", ["10.0.0.0/33", "proxy.example", "10.0.0.1/8", "*"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no address or network"):
        networks(text)
