"""Refuses requests that a foreign web page makes a browser send.

A page from anywhere may send requests to a service that its reader can reach. Three headers that no script can forge tell
them from others: ``Host``, ``Origin`` and ``Sec-Fetch-Site`` (Fetch Metadata, W3C). A body must say its type too, because a
page may post text and forms without asking first (Fetch standard, "CORS-safelisted request-header").
"""

from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any

from flask import Flask, Response, request

from core.base.errors import ErrorCode
from core.doors.loopback import is_loopback_address
from web.http import errors, operations, wire

_OUR_SITES = (None, "same-origin", "none")
"""The answers of a browser about the page that asks, when it is ours or there is none. Another port is another page of the
same site. Whatever else the header says, two values included, is foreign."""

_RESTED_ON = frozenset({"forwarded", "idempotency-key", "origin", "sec-fetch-site", "x-forwarded-for"})
"""The headers without which a request would be let in, or count, as another one. Without any other it gets less."""


def wall(app: Flask, allowed: Collection[str], *, every_page: bool = False) -> Callable[[], Response | None]:
    """Make the check that runs before each request. ``allowed`` names hosts beside the loopback ones.

    With ``every_page`` a link may lead to any path, because all are pages.
    """
    pages = operations.html_pages(app)
    probes = operations.probes(app)

    @lru_cache(maxsize=1024)
    def is_ours(host: str) -> bool:
        name = _name(host)
        return (
            name == "localhost"
            or is_loopback_address(name)
            or any(name == each or (each.startswith(".") and name.endswith(each)) for each in allowed)
        )

    def check() -> Response | None:
        environ = wire.environ()
        if (twice := _read_in_two_ways(environ)) is not None:
            text = f"{twice} is there twice, or with an underscore in its name; send it once"
            return errors.error_response(ErrorCode.GEN_BAD_REQUEST, text)
        if wire.UNREADABLE in environ and (lost := _RESTED_ON.intersection(environ[wire.UNREADABLE])):
            text = (
                f"{min(lost).title()} has a byte that is not ASCII, so it cannot be read; send ASCII, or leave it out"
            )
            return errors.error_response(ErrorCode.GEN_BAD_REQUEST, text)
        host = environ.get("HTTP_HOST", "")
        if not is_ours(host) and request.path not in probes:
            text = (
                f"the host {host[:100]!a} is not one of this service: ask for 127.0.0.1 or localhost, or name it in "
                "PACIOLI_ALLOWED_HOSTS"
            )
            return errors.error_response(ErrorCode.GEN_FOREIGN_HOST, text)
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            return _foreign(f"a page of {origin[:100]!a}")
        if environ.get("HTTP_SEC_FETCH_SITE") not in _OUR_SITES and not _opens_a_page(
            environ, None if every_page else pages
        ):
            return _foreign("a page of another site")
        if _has_body(environ) and not environ.get("CONTENT_TYPE"):
            text = "the body has no Content-Type: send application/json"
            return errors.error_response(ErrorCode.GEN_UNSUPPORTED_MEDIA_TYPE, text)
        return None

    return check


def _read_in_two_ways(environ: dict[str, Any]) -> str | None:
    """Name a header that a proxy in front of us may have read in another way than we do, or return None.

    The gateway joins the values of a repeated header by commas, and drops one with an underscore in its name. Granian takes
    out the length when there is a ``Transfer-Encoding``. Another server keeps a ``Content_Type`` beside the ``Content-Type``.
    """
    if "HTTP_CONTENT_LENGTH" in environ:
        return "Content-Length"
    if "HTTP_CONTENT_TYPE" in environ:
        return "Content-Type"
    if (coding := environ.get("HTTP_TRANSFER_ENCODING")) is not None and (
        environ.get("CONTENT_LENGTH") or "," in coding
    ):
        return "Transfer-Encoding"
    if "," in environ.get("HTTP_HOST", ""):
        return "Host"
    return None


def _foreign(whose: str) -> Response:
    text = f"{whose} may not use this service through a browser: send the request from a program, or from a page of its own"
    return errors.error_response(ErrorCode.GEN_FOREIGN_ORIGIN, text)


def _opens_a_page(environ: dict[str, Any], pages: Collection[str] | None) -> bool:
    """Tell whether somebody follows a link to one of our pages. Such a request changes nothing, and no script reads it."""
    return (
        environ["REQUEST_METHOD"] in ("GET", "HEAD")
        and environ.get("HTTP_SEC_FETCH_MODE") == "navigate"
        and environ.get("HTTP_SEC_FETCH_DEST") == "document"
        and (pages is None or request.path in pages)
    )


def _has_body(environ: dict[str, Any]) -> bool:
    return environ.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in environ


def _name(host: str) -> str:
    """Return the name or address in a ``Host`` header, without port and brackets."""
    host = host.lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].removesuffix(".")
