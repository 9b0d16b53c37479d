"""The certificate that a server shows: whether it can be used, and how programs on the same machine trust it."""

import ssl
from pathlib import Path
from typing import NamedTuple


class Certificate(NamedTuple):
    """A certificate with its chain, and its private key, in PEM."""

    file: Path
    key: Path


def given(file: Path | None, key: Path | None) -> Certificate | None:
    """Check the two files, as a server reads them. Without any there is no TLS.

    Raises:
        ValueError: they cannot be used. The message names the file.
    """
    if file is None and key is None:
        return None
    if file is None or key is None:
        raise ValueError("--cert and --key-file go together: give both, or none")
    for path in (file, key):
        try:
            path.read_bytes()
        except OSError as error:
            raise ValueError(f"{path} cannot be read ({error.strerror})") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # Without a password of ours, OpenSSL would ask for one on the terminal.
        context.load_cert_chain(file, key, password="")
        pinned(file)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ValueError(f"the key in {key} is not that of the certificate in {file}") from None
        raise ValueError(
            f"{file} and {key} must be a certificate and its key without a password, in PEM ({error.reason or error})"
        ) from None
    return Certificate(file.absolute(), key.absolute())  # Not resolved: a link may lead to a renewed one.


def pinned(file: Path) -> ssl.SSLContext:
    """Make a context that trusts the one certificate in a file, whoever signed it and whatever its names are.

    A chain may follow the certificate in the file. The rest of it is not trusted.

    Raises:
        OSError: the file cannot be read, or has no certificate.
    """
    first, end, _ = file.read_text().partition("-----END CERTIFICATE-----")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=first + end)
    return context
