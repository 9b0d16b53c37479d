"""Reads metadata as people type it: ``key=value``. A value that is a number, true, false or null is one, and else a text."""

from typing import Any

import click
import msgspec

_read = msgspec.json.Decoder(float_hook=str).decode


class Metadata(click.ParamType[tuple[str, Any]]):
    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        if isinstance(value, tuple):
            return value
        key, equals, text = value.partition("=")
        if not key or not equals:
            self.fail(f"{value!r} is not a key and a value, such as customer_id=7", param, ctx)
        try:
            found = _read(text.encode())
        except (msgspec.MsgspecError, UnicodeEncodeError):
            found = text
        return key, found if isinstance(found, int | bool | None) else text


METADATA = Metadata()
