"""Secrets of keys: their form, their checksum, and what stands for them in the database."""

import re

import pytest

from core.keys import secret


def test_a_secret_has_a_prefix_and_letters_and_digits_alone() -> None:
    made = {secret.new_secret() for _ in range(200)}
    assert len(made) == 200
    assert all(re.fullmatch(r"pacioli_key_[0-9A-Za-z]{49}", text) for text in made)
    assert all(map(secret.is_well_formed, made))


def test_a_mistyped_secret_is_none() -> None:
    text = secret.new_secret()
    for position in range(len(text)):
        other = "a" if text[position] != "a" else "b"
        assert not secret.is_well_formed(text[:position] + other + text[position + 1 :])
    for wrong in ("", text[:-1], text + "0", text.swapcase(), text[1:] + text[0], "é" * len(text)):
        assert not secret.is_well_formed(wrong)


def test_two_digits_that_changed_places_are_found() -> None:
    text = secret.new_secret()
    for first in range(len(secret.PREFIX), len(text) - 1):
        swapped = text[:first] + text[first + 1] + text[first] + text[first + 2 :]
        assert swapped == text or not secret.is_well_formed(swapped)


def test_a_hash_depends_on_the_pepper_and_the_secret() -> None:
    one, other = secret.new_secret(), secret.new_secret()
    hashes = {secret.hash_of(pepper, text) for pepper in (b"a" * 32, b"b" * 32) for text in (one, other)}
    assert len(hashes) == 4
    assert {len(hash) for hash in hashes} == {32}


def test_a_derived_pepper_depends_on_the_master_key() -> None:
    assert secret.pepper_from("one") == secret.pepper_from("one") != secret.pepper_from("other")


@pytest.mark.parametrize("number", [0, 2**256 - 1])
def test_all_random_numbers_fit(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret.secrets, "token_bytes", lambda count: number.to_bytes(32))
    text = secret.new_secret()
    assert len(text) == secret.LENGTH and secret.is_well_formed(text)
    digits = text[len(secret.PREFIX) : -6]
    back = 0
    for digit in digits:
        back = back * 62 + secret._DIGITS.index(digit)
    assert back == number
