"""Secrets are kept sealed, and what they sign is verified by the library of Standard Webhooks."""

import time

import pytest
from standardwebhooks import Webhook

from core.webhooks.signing import Key, Safe, Unreadable, new_secret, secret_problem, signed


def test_a_secret_can_be_opened_with_its_pepper_and_for_its_endpoint_alone() -> None:
    safe, secret = Safe(b"pepper"), new_secret()
    sealed = safe.seal("whk_1", secret)
    assert secret.encode() not in sealed
    assert safe.open("whk_1", sealed) == secret
    for other, endpoint in ((Safe(b"another"), "whk_1"), (safe, "whk_2")):
        with pytest.raises(Unreadable, match="rotate it"):
            other.open(endpoint, sealed)
    with pytest.raises(Unreadable):
        safe.open("whk_1", sealed[:-1])


def test_the_library_verifies_what_both_secrets_of_a_rotation_sign() -> None:
    new, old, body = (
        new_secret(),
        new_secret(),
        b'{"event":"transaction.applied","data":{"precise_amount":1180591620717411303425}}',
    )
    headers = signed([Key(new), Key(old)], "evt_1", int(time.time()), body)
    for secret in (new, old):
        assert Webhook(secret).verify(body, headers)["data"]["precise_amount"] == 2**70 + 1
    assert headers["X-Blnk-Signature"] == Key(new).blnk(int(headers["X-Blnk-Timestamp"]), body)
    assert headers["X-Blnk-Signature-Previous"] == Key(old).blnk(int(headers["X-Blnk-Timestamp"]), body)


def test_without_a_key_nothing_is_signed() -> None:
    assert signed([], "evt_1", 1, b"{}") == {}


def test_blnks_signature_is_the_one_of_its_documentation() -> None:
    # echo -n '1700000000.{"event":"x","data":{}}' | openssl dgst -sha256 -hmac some-secret-key
    assert Key("some-secret-key").blnk(1_700_000_000, b'{"event":"x","data":{}}') == (
        "0751c39029712efb175537e9648f03fbcd13d7aa6bbb597761e63ef661f9f393"
    )


@pytest.mark.parametrize(
    "text", ["", "whsec_", "whsec_c2hvcnQ=", "c2hvcnQ=" * 8, "whsec_" + "A" * 200, "whsec_\u00e4" * 8]
)
def test_a_secret_of_another_form_is_refused(text: str) -> None:
    assert secret_problem(text) is not None
    assert secret_problem(new_secret()) is None
