"""A child that gives no sign of life is found, and one that works for long is not."""

import os
import struct
import time

import pytest

from worker import app, children, tasks
from worker.children import FROZEN_LOOKS, Children

ONE, OTHER = 1_000_001, 1_000_002


@pytest.fixture
def shared() -> Children:
    return Children()


def sign(shared: Children, slot: int, pid: int, at: float) -> None:
    struct.Struct("<qdd").pack_into(shared._memory, slot * children._SLOT.size, pid, at, 0.0)


def test_a_sign_that_stands_still_for_so_many_looks_is_that_of_a_frozen_child(shared: Children) -> None:
    sign(shared, 0, ONE, at=0.0)
    for look in range(FROZEN_LOOKS):
        sign(shared, 1, OTHER, at=float(look))
        assert shared.frozen([ONE, OTHER]) == []
    sign(shared, 1, OTHER, at=1e6)
    assert shared.frozen([ONE, OTHER]) == [ONE]
    sign(shared, 0, ONE, at=2e6)
    assert shared.frozen([ONE, OTHER]) == []


def test_a_main_process_that_was_frozen_too_finds_no_child_frozen(shared: Children) -> None:
    sign(shared, 0, ONE, at=time.monotonic() - 3600)
    assert shared.frozen([ONE]) == []
    assert [child.answers for child in shared.states([ONE])] == [False]


def test_a_new_child_in_the_place_of_one_that_died_begins_anew(shared: Children) -> None:
    sign(shared, 0, ONE, at=0.0)
    for _ in range(FROZEN_LOOKS):
        shared.frozen([ONE])
    sign(shared, 0, OTHER, at=0.0)
    assert shared.frozen([OTHER]) == []
    assert shared.frozen([os.getpid()]) == [], "a child that has not entered yet is not judged"


def test_a_child_says_which_queue_it_drains_while_it_does(shared: Children, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "children", shared)
    shared._slot = 0
    app._begin_task(task=tasks.drain, args=(7,))
    (child,) = shared.states([os.getpid()])
    assert (child.task, child.queue) == ("pacioli.drain", 7)
    app._end_task()
    app._begin_task(task=tasks.tick, args=())
    (child,) = shared.states([os.getpid()])
    assert (child.task, child.queue) == ("pacioli.tick", None)
