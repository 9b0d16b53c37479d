"""Which URLs and addresses a webhook may go to, however they are written."""

from ipaddress import ip_address, ip_network

import pytest

from core.webhooks.addresses import Guard, Refused, allowed, problem_of
from core.webhooks.sending import Sender, host_of


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "017700000001", "127.1", "0", "0.0.0.0",
        "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "224.0.0.1", "255.255.255.255",
        "::1", "::", "::ffff:127.0.0.1", "::ffff:a00:1", "::127.0.0.1", "fe80::1", "fc00::1", "fd00:ec2::254",
        "64:ff9b::7f00:1", "2002:7f00:1::", "ff02::1", "64:ff9b:1::7f00:1", "::ffff:0:7f00:1", "fec0::1", "4000::1",
        "192.0.0.192", "168.63.129.16", "64:ff9b::a83f:8110",
    ],
)  # fmt: skip
def test_an_address_that_is_not_public_is_refused_in_every_form(host: str) -> None:
    with pytest.raises(Refused):
        allowed(host, 443, Guard(), 5.0)
    url = f"http://[{host}]/" if ":" in host else f"http://{host}/"
    outcome = Sender(Guard()).post(url, {}, b"", timeout_s=5.0)
    assert outcome.status is None and outcome.error is not None and " is " in outcome.error


@pytest.mark.parametrize("host", ["8.8.8.8", "2606:4700:4700::1111"])
def test_a_public_address_is_allowed_with_the_ports_of_web_servers(host: str) -> None:
    for port in (80, 443, 8443):
        Guard().check(ip_address(host), port)
    for port in (22, 25, 53):
        with pytest.raises(Refused):
            Guard().check(ip_address(host), port)


def test_private_addresses_can_be_allowed_and_those_of_a_link_only_by_their_network() -> None:
    private = Guard(private=True)
    for host in ("127.0.0.1", "10.0.0.1", "::1"):
        private.check(ip_address(host), 25)
    for host in (
        "169.254.169.254", "fe80::1", "fd00:ec2::254", "::ffff:169.254.169.254", "::ffff:0:169.254.169.254",
        "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd20:ce::254", "64:ff9b:1::a9fe:a9fe",
    ):  # fmt: skip
        with pytest.raises(Refused):
            private.check(ip_address(host), 80)
    Guard(networks=(ip_network("169.254.0.0/16"),)).check(ip_address("169.254.1.1"), 80)
    with pytest.raises(Refused):
        Guard(networks=(ip_network("10.0.0.0/8"),)).check(ip_address("192.168.0.1"), 80)


@pytest.mark.parametrize(
    "url",
    [
        "", "example.com", "ftp://example.com", "file:///etc/passwd", "http://", "http:///x", "https://a b/", "http://a\n/",
        "http://user:pw@example.com/", "http://user@example.com/", "http://example.com/#x", "http://example.com:99999/",
        "http://example.com:0/", "http://exämple.com/", "http://example.com\\@127.0.0.1/", "http://[::1", "gopher://x",
        "https://example.com/" + "x" * 2048,
    ],
)  # fmt: skip
def test_a_url_of_another_form_is_refused(url: str) -> None:
    assert problem_of(url) is not None


@pytest.mark.parametrize(
    ("url", "place"), [("https://a.b/c?d=e", ("a.b", 443)), ("http://[2001:db8::1]:81/", ("2001:db8::1", 81))]
)
def test_a_url_names_its_host_and_port(url: str, place: tuple[str, int]) -> None:
    assert problem_of(url) is None
    assert host_of(url) == place


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["93.184.216.34", "127.0.0.1"])
    asked: list[str] = []

    def resolve(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [(0, 0, 0, "", (next(answers), 443))]

    connected: list[str] = []

    def connect(address: tuple[str, int], *_: object, **__: object) -> None:
        connected.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    monkeypatch.setattr("socket.create_connection", connect)
    assert (
        Sender(Guard()).post("https://rebinding.example/", {}, b"", timeout_s=5.0).error == "the connection was refused"
    )
    assert asked == ["rebinding.example"] and connected == ["93.184.216.34"]
