"""Defines what an environment variable is: how its text is found, checked, shown without secrets, and kept out of the log."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from core.base import database_url, setting_values
from core.base.secrets import remember

_FILE_BYTES_MAX = 65_536

_PASSWORD = re.compile(r"(//[^:@/\s]*):[^\s]*@")
"""Matches from the first colon of a URL's user to the last @, because a password may hold any character by mistake."""

_OPTION = re.compile(r"(?P<name>[\w%.-]+)(?P<equals>\s*=\s*)(?P<value>'(?:\\.|[^'\\])*'|[^\s&'\"]+)")
_SECRET = re.compile(r"(?i)pass(word|wd|phrase)?$|pwd$|secret$|token$|credentials?$")


class Variable(Struct, frozen=True, kw_only=True):
    """One environment variable. A blank one counts as not set."""

    name: str
    meaning: str
    parse: Callable[[str], Any] = str
    """Converts the text to the value. It raises ValueError with the end of a sentence that begins with the name."""
    default: str = ""
    """The text that counts when the variable is not set."""
    is_secret: bool = False
    """Nobody may see its value."""
    has_password: bool = False
    """Its value is a URL, which may have a password in it."""

    @property
    def file_name(self) -> str | None:
        """The name of the variable that names a file with the value. Only what may be secret has one."""
        return f"{self.name}_FILE" if self.is_secret or self.has_password else None

    def text(self, environ: Mapping[str, str]) -> str:
        """Return the text that counts: that of the environment, else that of the file, else the default.

        Raises:
            ValueError: both are set, or the file has no text. The message is a sentence.
        """
        text = environ.get(self.name, "")
        path = environ.get(self.file_name, "") if self.file_name else ""
        if not path:
            return text or self.default
        if text:
            raise ValueError(f"{self.name} and {self.file_name} are both set: keep one of them")
        return text_of_file(path, str(self.file_name))

    def shown(self, environ: Mapping[str, str]) -> str | None:
        """Return the text that counts, with secrets hidden. Returns None when there is none."""
        if self.file_name and (path := environ.get(self.file_name)):
            return f"(hidden, from {path})"
        text = environ.get(self.name) or self.default
        if not text:
            return None
        return "(hidden)" if self.is_secret or not self._is_url(text) else without_password(text)

    def keep_secret(self, text: str) -> None:
        """Keep a key, or the passwords of a URL, out of every line of the log."""
        if self.is_secret:
            remember(text)
            if self.parse is setting_values.header_text:
                with suppress(ValueError):
                    for value in setting_values.headers(text).values():
                        remember(value)
            return
        with suppress(ValueError):
            remember(unquote(urlsplit(text).password or ""))
        for option in _OPTION.finditer(text):
            if _SECRET.search(unquote(option["name"])):
                remember(unquote(option["value"]))
        with suppress(ValueError):
            remember(database_url.parameters(text).get("password", ""))

    def _is_url(self, text: str) -> bool:
        """Tell whether a text has the form of this URL. If not, it may be a password that is there by mistake."""
        try:
            self.parse(text)
        except ValueError:
            return not self.has_password
        return True


def text_of_file(path: str, name: str) -> str:
    """Read a secret from its file, without the line break at its end.

    Raises:
        ValueError: there is no such text. The message is a sentence, which begins with the name of what names the file.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(_FILE_BYTES_MAX + 1).decode().rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"{name} names {path}, which cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{name} names {path}, which is not text in UTF-8") from None
    if not text.strip():
        raise ValueError(f"{name} names {path}, which is empty")
    if len(text) > _FILE_BYTES_MAX or "\n" in text or "\0" in text:
        raise ValueError(f"{name} names {path}, which has more than one line with the value")
    return text


def without_password(text: str) -> str:
    """Hide every password in a URL, or in a text with URLs or libpq's ``name=value`` pairs in it."""
    return _OPTION.sub(_hide, _PASSWORD.sub(r"\1:***@", text))


def _hide(option: re.Match[str]) -> str:
    is_secret = _SECRET.search(unquote(option["name"]))
    return f"{option['name']}{option['equals']}***" if is_secret else option[0]
