"""The settings of the operator: Blnk's URL and its headers in both forms, and the private networks."""

from ipaddress import ip_network

import pytest

from core.base.environment import SettingsError, read
from core.webhooks.addresses import Guard
from core.webhooks.operator import operator_of, safe_of


@pytest.mark.parametrize(
    "text",
    [
        '{"X-Team": "blue", "Authorization": "Bearer a:b"}',
        "X-Team:blue,Authorization: Bearer a:b",
        " X-Team : blue ,Authorization:Bearer a:b,",
    ],
)
def test_headers_are_read_in_both_of_blnks_forms(text: str) -> None:
    found = operator_of(read({"BLNK_WEBHOOK_URL": "http://h/x", "BLNK_WEBHOOK_HEADERS": text}))
    assert dict(found.headers) == {"X-Team": "blue", "Authorization": "Bearer a:b"}
    assert "Bearer" not in repr(found)


@pytest.mark.parametrize("text", ["X-Team", "{", "[]", '{"a": 1}', "a b:c", "X:1\r\nY:2", "{}"])
def test_headers_of_another_form_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(SettingsError, match="BLNK_WEBHOOK_HEADERS must be a JSON object"):
        read({"BLNK_WEBHOOK_HEADERS": text})


def test_a_user_in_the_url_goes_into_its_header() -> None:
    found = operator_of(read({"BLNK_WEBHOOK_URL": "https://us%65r:p%40ss@h:8443/x?y=1"}))
    assert found.url == "https://h:8443/x?y=1"
    assert dict(found.headers) == {"Authorization": "Basic dXNlcjpwQHNz"}


def test_private_addresses_are_a_switch_or_networks() -> None:
    def guard(text: str) -> Guard:
        return operator_of(read({"PACIOLI_WEBHOOK_ALLOW_PRIVATE": text} if text else {})).guard

    assert guard("") == guard("off") == Guard()
    assert guard("on") == Guard(private=True)
    assert guard("10.0.0.0/8, ::1") == Guard(networks=(ip_network("10.0.0.0/8"), ip_network("::1/128")))
    with pytest.raises(SettingsError):
        guard("yes")


def test_a_service_without_a_key_keeps_nothing() -> None:
    assert safe_of(read({})) is None
    assert safe_of(read({"PACIOLI_SECRET_KEY": "5f1d8a07c93e5b62"})) is not None
