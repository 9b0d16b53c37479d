"""Tokens are read by their own identity and field alone, and by no key that was thrown away."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.base.errors import InvariantBroken
from core.identities.tokens import keyring_of

OLD, NEW = "an old secret of some length 123", "a new secret of some length 4567"
ONE, OTHER = "idt_1", "idt_2"


@given(value=st.text(min_size=1))
def test_a_token_is_read_again_whatever_the_value(value: str) -> None:
    key = keyring_of(OLD).new_data_key(ONE)
    token = key.seal("street", value)
    assert token.startswith(f"FPT:{key.master}:")
    assert keyring_of(OLD).data_key(ONE, key.sealed).open("street", token) == value


def test_equal_values_have_different_tokens() -> None:
    key = keyring_of(OLD).new_data_key(ONE)
    assert key.seal("street", "Main Street 1") != key.seal("street", "Main Street 1")


def test_a_token_of_another_field_or_identity_is_refused() -> None:
    ring = keyring_of(OLD)
    key = ring.new_data_key(ONE)
    token = key.seal("street", "Main Street 1")
    with pytest.raises(InvariantBroken, match="city of idt_1"):
        key.open("city", token)
    with pytest.raises(InvariantBroken, match="data key of idt_2"):
        ring.data_key(OTHER, key.sealed)
    with pytest.raises(InvariantBroken):
        key.open("street", token[:-4] + "AAAA")


def test_an_older_secret_is_used_while_it_is_there() -> None:
    key = keyring_of(OLD).new_data_key(ONE)
    both = keyring_of(f"{NEW},{OLD}")
    assert both.newest != key.master
    assert both.data_key(ONE, key.sealed).key == key.key
    with pytest.raises(InvariantBroken, match=f"under the key {key.master}"):
        keyring_of(NEW).data_key(ONE, key.sealed)


def test_no_repr_has_a_key() -> None:
    key = keyring_of(OLD).new_data_key(ONE)
    assert str(key.key) not in repr(key)
    assert repr(key) == "DataKey(idt_1)"
