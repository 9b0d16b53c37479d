"""A certificate and its key are checked before a server listens with them."""

import re
from pathlib import Path

import pytest

from core.doors.certificates import given
from tests.harness.certificates import new_certificate


def test_a_certificate_and_its_key_are_taken_and_none_is_no_tls(tmp_path: Path) -> None:
    made = new_certificate(tmp_path)
    assert given(made.file, made.key) == made
    assert given(None, None) is None


def test_what_cannot_be_used_is_one_sentence_that_names_the_file(tmp_path: Path) -> None:
    made, other = new_certificate(tmp_path), new_certificate(tmp_path, "other")
    locked = new_certificate(tmp_path, "locked", password="a password")
    text, missing = tmp_path / "text", tmp_path / "missing"
    text.write_text("no certificate")
    for file, key, said in (
        (made.file, None, "go together"),
        (None, made.key, "go together"),
        (missing, made.key, f"{missing} cannot be read (No such file or directory)"),
        (made.file, missing, f"{missing} cannot be read"),
        (tmp_path, made.key, f"{tmp_path} cannot be read (Is a directory)"),
        (made.file, other.key, f"the key in {other.key} is not that of the certificate in {made.file}"),
        (text, made.key, f"{text} and {made.key} must be a certificate and its key"),
        (made.file, text, f"{made.file} and {text} must be a certificate and its key"),
        (made.key, made.file, "must be a certificate and its key"),
        (locked.file, locked.key, "without a password"),
    ):
        with pytest.raises(ValueError, match=re.escape(said)) as caught:
            given(file, key)
        assert "\n" not in str(caught.value)
