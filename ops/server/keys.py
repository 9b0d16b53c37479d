"""The keys that the data folder of ``pacioli up`` keeps. Each is made once, and only the owner of the folder can read it."""

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from core.base.setting_values import api_key

CHAIN_KEY_FILE = "chain.key"
"""This file in the data folder has the key that signs checkpoints, unless PACIOLI_CHAIN_KEY has it."""

NOTARY_KEY_FILE = "notary.key"
"""This file in the data folder has the private key of the notary, unless PACIOLI_NOTARY_KEY has it."""

SEALS_FILE = "seals.jsonl"
"""The notary appends its seals to this file in the data folder, unless PACIOLI_NOTARY_FILE names another."""

API_KEY_FILE = "api.key"
"""This file in the data folder has the key that requests need, unless PACIOLI_SECRET_KEY has it."""


PEPPER_FILE = "pepper.key"
"""This file in the data folder has the pepper of API keys, unless PACIOLI_PEPPER has it."""


TOKENIZATION_FILE = "tokenization.key"
"""This file in the data folder has the secret of tokens, unless PACIOLI_TOKENIZATION_SECRET has it."""


def new_chain_key() -> str:
    return secrets.token_hex(32)


def new_notary_key() -> str:
    """Make the seed of an Ed25519 key."""
    return secrets.token_hex(32)


def new_api_key() -> str:
    """Make a key. The prefix tells whoever finds it in a text or a commit what it is."""
    return f"pacioli_{secrets.token_urlsafe(32)}"


def kept(path: Path, make: Callable[[], str]) -> str:
    """Return the key in a file. If there is no file, make one first.

    Raises:
        OSError: the file cannot be read or written.
        ValueError: the file is empty.
    """
    if not path.exists():
        new = path.with_suffix(".new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(make() + "\n")
        new.replace(path)
    if text := path.read_text().strip():
        return text
    raise ValueError("is empty")


def kept_api_key(path: Path) -> str:
    """Return the key that requests need.

    Raises:
        OSError: the file cannot be read or written.
        ValueError: others can read the file, or the key in it can be guessed.
    """
    text = kept(path, new_api_key)
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ValueError(
            "other users of this machine may use the file: remove it, and the next start makes another key"
        )
    return api_key(text)
