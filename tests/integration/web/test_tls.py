"""HTTPS of the web server: which versions it speaks, and which certificate its own machine trusts."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from core.doors.certificates import Certificate, pinned
from tests.harness.certificates import new_certificate
from tests.harness.serving import WITHIN_S, Served


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return new_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def served(certificate: Certificate) -> Iterator[Served]:
    served = Served(options=["--cert", str(certificate.file), "--key-file", str(certificate.key)])
    try:
        yield served
    finally:
        served.close()


def _get(served: Served, trust: ssl.SSLContext, scheme: str = "https", host: str = "127.0.0.1") -> httpx.Response:
    with httpx.Client(verify=trust, trust_env=False, timeout=WITHIN_S) as client:
        return client.get(f"{scheme}://{host}:{served.port}/pid")


def test_it_speaks_https_with_its_certificate_and_nothing_else(served: Served, certificate: Certificate) -> None:
    assert _get(served, pinned(certificate.file)).status_code == 200
    assert _get(served, ssl.create_default_context(cafile=str(certificate.file)), host="localhost").status_code == 200
    with pytest.raises(httpx.HTTPError):
        _get(served, pinned(certificate.file), scheme="http")


def test_versions_before_1_2_are_refused(served: Served, certificate: Certificate) -> None:
    trust = pinned(certificate.file)
    trust.maximum_version = ssl.TLSVersion.TLSv1_2
    assert _get(served, trust).status_code == 200
    trust.set_ciphers("ALL:@SECLEVEL=0")  # Otherwise the client itself would not.
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        trust.minimum_version = trust.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(httpx.HTTPError):
        _get(served, trust)


def test_only_the_first_certificate_of_the_file_is_trusted(
    served: Served, certificate: Certificate, tmp_path: Path
) -> None:
    other = new_certificate(tmp_path, "other")
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        _get(served, pinned(other.file))
    chain = tmp_path / "chain.crt"
    chain.write_text(other.file.read_text() + certificate.file.read_text())
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        _get(served, pinned(chain))
