"""A Flask without the parts that a JSON service does not need. It takes a third of Flask's time for a request.

It has no sessions, no signals, no matching of hosts and subdomains, no coroutines and no hooks of single blueprints, and does
not let werkzeug check headers that are right already. What it takes over from Flask are two methods of the application and
three of its context; ``tests/integration/web/test_lean.py`` compares them with Flask's own.
"""

from collections.abc import Callable, Iterable
from contextvars import copy_context
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar, cast

from flask import Flask, Request, Response
from flask.ctx import AppContext, RequestContext
from flask.globals import _cv_app, _cv_request
from flask.sessions import NullSession, SessionInterface
from werkzeug.datastructures import Headers
from werkzeug.routing import MapAdapter, Rule

from web.http.later import Later
from web.http.matching import Table

Function = TypeVar("Function", bound=Callable[..., Any])


class _Rule(Rule):
    """A rule that compiles what builds its URL when one is built. The API builds none, and starts in a third of the time."""

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        compile_now = super()._compile_builder

        def build(rule: Rule, *given: Any, **values: Any) -> tuple[str, str]:
            built = compile_now(append_unknown)
            setattr(rule, "_build_unknown" if append_unknown else "_build", partial(built, rule))
            return built(rule, *given, **values)

        return build


class Lean(Flask):
    """An application without sessions, whose URLs do not depend on the host."""

    url_rule_class = _Rule
    is_quick: Callable[[dict[str, Any]], bool]
    """Tells whether a request waits for nothing, for the gateway."""
    _table: Table | None = None
    _context: AppContext | None = None

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        if request is None:
            return None
        environ = request.environ
        return MapAdapter(
            self.url_map,
            environ.get("HTTP_HOST", "localhost"),
            environ.get("SCRIPT_NAME") or "/",
            "",
            environ["wsgi.url_scheme"],
            _path(environ),
            environ["REQUEST_METHOD"],
            environ.get("QUERY_STRING", ""),
        )

    def ensure_sync(self, func: Function) -> Function:
        return func  # No view or hook is a coroutine.

    def wsgi_app(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request, in a context that is bound as Flask binds it."""
        if "werkzeug.debug.preserve_context" in environ:  # A test wants to look into the context afterwards.
            return super().wsgi_app(environ, start_response)
        if self._context is None:
            self._context = self.app_context()
        context = _Context(self, environ)
        in_app, in_request = _cv_app.set(self._context), _cv_request.set(context)
        try:
            context.match_request()
            try:
                response = self.full_dispatch_request()
            except Exception as error:
                response = self.handle_exception(error)
            if isinstance(response, Later):
                response.keep(copy_context(), lambda found: self._finished(found, environ, start_response))
                return cast("Iterable[bytes]", response)  # Whoever offered it knows it.
            return response(environ, start_response)
        finally:
            _cv_request.reset(in_request)
            _cv_app.reset(in_app)
            if "files" in context.request.__dict__:
                context.request.close()

    def full_dispatch_request(self) -> Response:
        """Run the hooks and the view. Errors are answered by their handlers."""
        self._got_first_request = True
        try:
            answer: Any = None
            for hook in self.before_request_funcs.get(None, ()):
                answer = hook()
                if answer is not None:
                    break
            if answer is None:
                answer = self._viewed(_cv_request.get().request)
        except Exception as error:
            answer = self.handle_user_exception(error)
        response = answer if isinstance(answer, Response) else self.make_response(answer)
        return response if isinstance(response, Later) else self._hooked(response)

    def _hooked(self, response: Response) -> Response:
        for after in reversed(self.after_request_funcs.get(None, ())):
            response = after(response)
        return response

    def _finished(self, found: Response | Exception, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Do for an answer that came later what is done for every other, in the context of its request."""
        try:
            if isinstance(found, Exception):
                found = self.make_response(self.handle_user_exception(found))
            response = self._hooked(found)
        except Exception as error:
            response = self.handle_exception(error)
        return response(environ, start_response)

    def _viewed(self, request: Request) -> Any:
        rule = request.url_rule
        if rule is None or request.method == "OPTIONS":
            return self.dispatch_request()
        return self.view_functions[rule.endpoint](**cast("dict[str, Any]", request.view_args))

    def find(self, environ: dict[str, Any]) -> Any:
        """Find the rule of a request and its parameters by the table. None says that werkzeug must look."""
        if self._table is None:
            self._table = Table(self.url_map)
        path = environ.get("PATH_INFO", "")
        if not path.isascii() or path[:1] != "/" or path[1:2] == "/" or environ["wsgi.url_scheme"][:4] != "http":
            return None
        return self._table.find(environ["REQUEST_METHOD"], path)


class _Context(RequestContext):
    """The context of a request. The adapter of its URLs is made when werkzeug must look."""

    def __init__(self, app: Lean, environ: dict[str, Any]) -> None:
        self.app = app
        self.request = app.request_class(environ, populate_request=False)  # The two would keep each other.
        self.request.json_module = app.json
        self.url_adapter = None
        self.flashes = None
        self._session = _SESSION
        self._after_request_functions = []
        self._cv_tokens = []

    def match_request(self) -> None:
        request, app = self.request, cast("Lean", self.app)
        found = app.find(request.environ)
        if found is not None:
            request.url_rule, request.view_args = found
            return
        self.url_adapter = app.create_url_adapter(request)
        super().match_request()


def _path(environ: dict[str, Any]) -> str:
    path: str = environ.get("PATH_INFO", "")
    # PEP 3333 hands over UTF-8 in this way.
    return path if path.isascii() else path.encode("latin-1").decode(errors="replace")


_SESSION = NullSession()


class NoSessions(SessionInterface):
    """A session interface that reads and sets no cookies."""

    def open_session(self, app: Flask, request: Request) -> NullSession:
        return _SESSION

    def is_null_session(self, obj: object) -> bool:
        return True


class Answer(Response):
    """A response with a whole body and its headers, which goes out as it is."""

    def __init__(self, body: bytes, status: int, headers: list[tuple[str, str]]) -> None:
        """Take what needs no check: the names and values are known to be right."""
        self.headers = Headers()
        self.headers._list = headers
        self._status_code, self._status = status, _LINES[status]
        self.direct_passthrough = False
        self._on_close = []
        self.response = [body]

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response(self._status, self.headers._list)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else cast("list[bytes]", self.response)


_LINES = {each.value: f"{each.value} {each.phrase.upper()}" for each in HTTPStatus}
