"""Work that ends, is given up, or both: one answer goes out, in the context of its request."""

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import ContextVar, copy_context
from typing import Any

import pytest
from flask import Response

from core.base.errors import TransientError
from tests.harness.processes import wait_until
from web.accept.sending import together
from web.http import later
from web.http.later import Later, Work

ASKED_BY: ContextVar[str] = ContextVar("asked_by", default="nobody")


class Asked:
    """A request whose work a test ends or gives up."""

    def __init__(self, name: str, quick: Callable[[], Response | None], slow: Callable[[], Any]) -> None:
        self.sent: list[Iterable[bytes]] = []
        self.ended: Callable[[], None] = lambda: None
        token = ASKED_BY.set(name)
        self.later = Later(Work(self._begin, quick, slow))
        self.later.keep(copy_context(), lambda found: [type(found).__name__.encode(), ASKED_BY.get().encode()])
        ASKED_BY.reset(token)
        self.later.begin(self.sent.append)

    def _begin(self, ended: Callable[[], None]) -> Callable[[], Exception]:
        self.ended = ended
        return later.overdue


def at_once() -> Response:
    return Response()


def fail() -> Any:
    raise AssertionError("it was asked for")


DONE = [[b"Response", b"alice"]]
GIVEN_UP = [[b"TransientError", b"alice"]]


def test_what_has_ended_is_not_given_up() -> None:
    asked = Asked("alice", at_once, fail)
    asked.ended()
    asked.later.give_up()
    asked.ended()
    assert asked.sent == DONE


def test_what_was_given_up_does_not_end() -> None:
    asked = Asked("alice", fail, fail)
    asked.later.give_up()
    asked.ended()
    asked.later.give_up()
    assert asked.sent == GIVEN_UP


def test_an_answer_on_its_way_is_waited_for() -> None:
    go_on = threading.Event()

    def slow() -> Response:
        assert go_on.wait(30)
        return Response()

    asked = Asked("alice", lambda: None, slow)
    asked.ended()
    asked.later.give_up()
    assert asked.sent == []
    go_on.set()
    wait_until(lambda: asked.sent == DONE)


@pytest.mark.parametrize("is_quick", [True, False])
def test_each_answer_is_made_in_the_context_of_its_own_request(is_quick: bool) -> None:
    """The thread that ends the work is that of somebody else, who has a context too."""
    made: list[str] = []

    def note() -> Response:
        made.append(ASKED_BY.get())
        return Response()

    requests = [Asked(name, note if is_quick else lambda: None, note) for name in ("alice", "bob")]
    token = ASKED_BY.set("the thread")
    for asked in requests:
        asked.later.ended.append(lambda: made.append(f"{ASKED_BY.get()} ended"))
        asked.ended()
    ASKED_BY.reset(token)
    wait_until(lambda: len(made) == 4)
    assert sorted(made) == ["alice", "alice ended", "bob", "bob ended"]
    wait_until(lambda: all(asked.sent for asked in requests))
    assert [asked.sent for asked in requests] == [DONE, [[b"Response", b"bob"]]]


def test_work_that_cannot_begin_is_answered() -> None:
    sent: list[Iterable[bytes]] = []

    def begin(ended: Callable[[], None]) -> Any:
        raise TransientError("away")

    asked = Later(Work(begin, fail, fail))
    asked.keep(copy_context(), lambda found: [str(found).encode()])
    asked.begin(sent.append)
    assert sent == [[b"away"]]


def test_the_answers_of_a_group_go_out_together_at_its_end() -> None:
    first, second = Asked("alice", at_once, fail), Asked("bob", at_once, fail)
    with together():
        first.ended()
        second.ended()
        assert first.sent == second.sent == []
    assert first.sent == DONE
    assert second.sent == [[b"Response", b"bob"]]


def test_an_answer_that_is_made_elsewhere_does_not_wait_for_a_group() -> None:
    first, second = Asked("alice", at_once, fail), Asked("alice", lambda: None, Response)
    with together():
        first.ended()
        second.ended()
        wait_until(lambda: second.sent == DONE)
        assert first.sent == []
    assert first.sent == DONE


def test_a_group_that_fails_in_its_midst_sends_what_it_has() -> None:
    first, broken, last = (Asked("alice", at_once, fail) for _ in range(3))
    broken.later.begin(_refuse)
    with suppress(KeyError), together():
        for each in (first, broken, last):
            each.ended()
        raise KeyError
    assert first.sent == last.sent == DONE
    after = Asked("alice", at_once, fail)
    after.ended()
    assert after.sent == DONE


def _refuse(parts: Iterable[bytes]) -> None:
    raise RuntimeError
