"""The behaviour that all tasks share."""

from typing import Any

import pytest
from structlog.contextvars import get_contextvars, merge_contextvars
from structlog.testing import capture_logs

from core.base.errors import TransientError
from worker import tasks
from worker.app import app


@pytest.mark.parametrize(
    ("task", "arguments", "text"),
    [
        (tasks.drain, (3,), "a drain was cut short"),
        (tasks.sweep, (), "a sweep could not look"),
        (tasks.due, (), "what is due could not be accepted"),
        (tasks.fund, (), "funding was cut short"),
        (tasks.snapshot, (), "snapshots were cut short"),
        (tasks.verify, (), "the ledger could not be verified"),
    ],
)
def test_a_task_whose_database_is_away_ends_with_one_line(
    monkeypatch: pytest.MonkeyPatch, task: Any, arguments: tuple[int, ...], text: str
) -> None:
    def away() -> None:
        raise TransientError("away") from OSError("no route")

    monkeypatch.setattr(tasks, "engine", away)
    monkeypatch.setattr(tasks, "answer", lambda: None)
    with capture_logs(processors=[merge_contextvars]) as logs:
        assert task(*arguments) is None
    line = {"event": text, "error": "OSError('no route')", "log_level": "warning", "task": task.name}
    assert logs == [line]
    assert get_contextvars() == {}


def test_a_line_of_a_message_names_its_queue_and_id(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(tasks, "answer", lambda: seen.append(dict(get_contextvars())))
    monkeypatch.setattr(tasks, "engine", lambda: None)
    monkeypatch.setattr(tasks.core_drain, "drain", lambda *_, **__: [])
    tasks.drain.push_request(
        id="an id",
        request_id="a request",
        delivery_info={"routing_key": "postings.3"},
        called_directly=False,
        args=(3,),
    )
    try:
        tasks.drain(3)
    finally:
        tasks.drain.pop_request()
    assert seen == [{"task": "pacioli.drain", "queue": "postings.3", "message": "an id", "request_id": "a request"}]


def test_every_task_of_ours_shares_the_rule() -> None:
    app.loader.import_default_modules()
    ours = [task for name, task in app.tasks.items() if name.startswith("pacioli.")]
    assert len(ours) == 7
    texts = {task.cut_short for task in ours}
    assert len(texts) == 7
