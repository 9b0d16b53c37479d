"""``/docs``: the OpenAPI document in Scalar, a viewer from which every endpoint can be called.

The viewer's bundle ships with the package, and the page loads nothing from other hosts. It tells nothing secret, so it needs
no key: a browser cannot send one when it opens a page.
"""

import gzip
from functools import cache
from importlib import resources

from flask import Blueprint, Response, request

from web.http import operations, wire
from web.http.operations import operation

blueprint = Blueprint("docs", __name__)


@blueprint.get("/")
@operation({200: str}, media=operations.HTML, open=True)
def index() -> Response:
    """Read the front page.

    The answer says that the server runs. A browser gets a page with links.
    """
    if request.accept_mimetypes.best_match(["application/json", "text/html"]) != "text/html":
        return wire.answer("server running...")
    response = Response(_INDEX, mimetype="text/html")
    response.headers["Vary"] = "Accept"
    return response


@blueprint.get("/docs")
@operation({200: None}, media=operations.HTML, open=True)
def page() -> Response:
    """Open the viewer of this document."""
    response = Response(_PAGE, mimetype="text/html")
    response.headers["Content-Security-Policy"] = _POLICY
    return response


@blueprint.get("/docs/start.js")
@operation({200: None}, media=operations.SCRIPT, open=True)
def start() -> Response:
    """Load the script that starts the viewer."""
    return Response(_START, mimetype="text/javascript")


@blueprint.get("/docs/scalar.js")
@operation({200: None}, media=operations.SCRIPT, open=True)
def viewer() -> Response:
    """Load the viewer's script.

    The script is Scalar's bundle (see ``web/static/README.md``).
    """
    packed = _bundle()
    zipped = "gzip" in request.headers.get("Accept-Encoding", "")
    response = Response(packed if zipped else gzip.decompress(packed), mimetype="text/javascript")
    if zipped:
        response.headers["Content-Encoding"] = "gzip"
    response.headers["Vary"] = "Accept-Encoding"
    response.headers["Cache-Control"] = "public, max-age=3600"
    return response


@cache
def _bundle() -> bytes:
    return (resources.files("web") / "static" / "scalar.js.gz").read_bytes()


# Scalar sets styles from its script, so styles may be inline on this page. Scripts may not.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_INDEX = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Pacioli</title>
</head>
<body>
<h1>Pacioli is running</h1>
<ul>
<li><a href="/dashboard">The dashboard</a>: balances, transactions, funding, and whether all is well.</li>
<li><a href="/docs">The HTTP API</a>: every endpoint, to read and to call.</li>
<li><a href="/openapi.json">openapi.json</a>: the same for programs.</li>
<li><a href="/health">Health</a>: the database, the broker, and the oldest line.</li>
</ul>
<p><code>pacioli demo</code> plays a shop's day. <code>pacioli docs</code> serves the book.</p>
</body>
</html>
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Pacioli: the HTTP API</title>
</head>
<body>
<noscript>This page needs JavaScript. The same for programs: <a href="/openapi.json">openapi.json</a>.</noscript>
<main id="api"></main>
<script src="/docs/scalar.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""

_START = """Scalar.createApiReference("#api", {
  url: "/openapi.json",
  withDefaultFonts: false,
  hideClientButton: true,
  telemetry: false,
  showDeveloperTools: "never",
  agent: { disabled: true },
  mcp: { disabled: true },
  defaultOpenAllTags: false,
  persistAuth: false,
  defaultHttpClient: { targetKey: "shell", clientKey: "curl" },
});
"""
