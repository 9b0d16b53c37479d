"""The methods of a resource, written once for both clients.

A method that is marked ``call`` returns a plan. On a resource of a ``Client`` it carries the plan out and returns the result;
on a resource of an ``AsyncClient`` it returns an awaitable. A method that is marked ``listing`` returns which list to read; it
gives an iterator or an asynchronous iterator over the rows, whose ``pages()`` are the same by the page.
"""

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from pacioli_client.wire import AsyncWire, Plan, Request, Wire, next_page

P = ParamSpec("P")
T = TypeVar("T")
W = TypeVar("W", bound=Wire | AsyncWire)


class Resource(Generic[W]):
    """The requests of one resource, over a wire of either kind."""

    def __init__(self, wire: W) -> None:
        self._wire: W = wire


@dataclass(frozen=True)
class Listed(Generic[T]):
    """A list of the service: the kind of its rows, its path, and its filters."""

    kind: type[T]
    path: str
    params: Mapping[str, Any]

    def first(self) -> Request:
        return Request("GET", self.path, params=self.params)


class Rows(Iterator[T]):
    """The rows of a list. A page is fetched when the one before is used up."""

    def __init__(self, wire: Wire, listed: Listed[T]) -> None:
        self._wire, self._listed = wire, listed
        self._rows = (row for page in self.pages() for row in page)

    def __next__(self) -> T:
        return next(self._rows)

    def pages(self) -> Iterator[list[T]]:
        """Iterate over the pages from the start, one request each."""
        request: Request | None = self._listed.first()
        while request is not None:
            page, request = self._wire.run(next_page(self._listed.kind, request))
            if page:
                yield page


class AsyncRows(AsyncIterator[T]):
    """The rows of a list, asynchronously."""

    def __init__(self, wire: AsyncWire, listed: Listed[T]) -> None:
        self._wire, self._listed = wire, listed
        self._rows = self._each()

    async def __anext__(self) -> T:
        return await anext(self._rows)

    async def pages(self) -> AsyncIterator[list[T]]:
        """Iterate over the pages from the start, one request each."""
        request: Request | None = self._listed.first()
        while request is not None:
            page, request = await self._wire.run(next_page(self._listed.kind, request))
            if page:
                yield page

    async def _each(self) -> AsyncIterator[T]:
        async for page in self.pages():
            for row in page:
                yield row


class call(Generic[P, T]):
    """Marks a method that returns a plan."""

    def __init__(self, method: Callable[Concatenate[Any, P], Plan[T]]) -> None:
        self._method = method
        functools.update_wrapper(self, method)  # type: ignore[arg-type]

    @overload
    def __get__(self, resource: None, owner: type) -> Self: ...
    @overload
    def __get__(self, resource: Resource[Wire], owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, resource: Resource[AsyncWire], owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, resource: Any, owner: type) -> Any:
        if resource is None:
            return self

        @functools.wraps(self._method)
        def bound(*args: P.args, **given: P.kwargs) -> Any:
            return resource._wire.run(self._method(resource, *args, **given))

        return bound


class listing(Generic[P, T]):
    """Marks a method that returns which list to read."""

    def __init__(self, method: Callable[Concatenate[Any, P], Listed[T]]) -> None:
        self._method = method
        functools.update_wrapper(self, method)  # type: ignore[arg-type]

    @overload
    def __get__(self, resource: None, owner: type) -> Self: ...
    @overload
    def __get__(self, resource: Resource[Wire], owner: type) -> Callable[P, Rows[T]]: ...
    @overload
    def __get__(self, resource: Resource[AsyncWire], owner: type) -> Callable[P, AsyncRows[T]]: ...
    def __get__(self, resource: Any, owner: type) -> Any:
        if resource is None:
            return self

        @functools.wraps(self._method)
        def bound(*args: P.args, **given: P.kwargs) -> Any:
            listed = self._method(resource, *args, **given)
            wire = resource._wire
            return Rows(wire, listed) if isinstance(wire, Wire) else AsyncRows(wire, listed)

        return bound
