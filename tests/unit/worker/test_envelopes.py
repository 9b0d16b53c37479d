"""Foreign messages are dropped, and every message that the service sends is one of ours."""

import base64
import json
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery
from kombu import Connection
from structlog.testing import capture_logs

import celeryconfig
from core.base import logs
from core.doors.names import names_of
from worker import envelopes
from worker.app import app as workers
from worker.envelopes import Junk, check


def body(args: Any = (7,), kwargs: Any = None, embed: Any = None) -> str:
    return base64.b64encode(json.dumps([args, kwargs or {}, embed or {}]).encode()).decode()


def envelope(task: Any = celeryconfig.DRAIN, **changes: Any) -> dict[str, Any]:
    """The envelope of a doorbell, with changes of its members."""
    return {
        "body": body(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"lang": "py", "task": task, "id": "1", "eta": None, "expires": None},
        "properties": {
            "delivery_tag": "2",
            "delivery_info": {"exchange": "", "routing_key": "postings.7"},
            "body_encoding": "base64",
            "priority": 0,
        },
    } | changes


def without(*path: str) -> dict[str, Any]:
    """The envelope of a doorbell without a member."""
    made = inner = envelope()
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    return made


DEEP = json.loads("[" * 900 + "]" * 900)

JUNK: list[Any] = [
    None, [], {}, "", 0, True, 10**30, "text", [1], DEEP, {"a": DEEP},
    *(without(name) for name in envelope()),
    *(without("properties", name) for name in ("delivery_tag", "delivery_info", "body_encoding")),
    without("properties", "delivery_info", "exchange"), without("properties", "delivery_info", "routing_key"),
    without("headers", "task"), without("headers", "id"),
    *(envelope(**{name: value}) for name in envelope() for value in (None, 1, [], {}, DEEP, "\ud800" * 3)),
    envelope("no.such.task"), envelope("celery.backend_cleanup"), envelope(""), envelope(7), envelope(None),
    envelope(**{"content-type": "application/x-python-serialize"}), envelope(**{"content-encoding": "binary"}),
    envelope(body="!"), envelope(body="a"), envelope(body="é"), envelope(body=base64.b64encode(b"\xff").decode()),
    envelope(body=base64.b64encode(b"[" * 5_000).decode()), envelope(body="A" * 50_000_000),
    *(envelope(body=base64.b64encode(json.dumps(value).encode()).decode()) for value in (None, [], {}, 1, [[], {}])),
    *(envelope(body=body(args)) for args in ([], [1, 2], ["x"], [-1], [10**30], [1.5], [None], [[1]], [True], {}, None)),
    envelope(body=body((), {"queue": 7})), envelope(body=body((7,), {"queue": 7})), envelope(body=body((7,), "x")),
    envelope(celeryconfig.TICK), envelope(celeryconfig.SNAPSHOT, body=body((0,))),
    envelope(celeryconfig.SNAPSHOT, body=body((1, -1))), envelope(celeryconfig.SNAPSHOT, body=body((1, 2, 3))),
]  # fmt: skip


@pytest.mark.parametrize("junk", JUNK, ids=lambda junk: str(junk)[:60])
def test_junk_is_refused(junk: Any) -> None:
    with pytest.raises(Junk):
        check(junk)


def test_every_message_that_the_service_sends_is_delivered() -> None:
    names = names_of(uuid4(), on_redis=True)
    app = Celery("pacioli", set_as_current=False)
    app.config_from_object(celeryconfig)
    app.conf.update(celeryconfig.settings_of(names))
    app.conf.broker_url, app.conf.broker_transport_options = "memory://", {}
    workers.loader.import_default_modules()
    wanted = [(celeryconfig.DRAIN, (7,)), (celeryconfig.SNAPSHOT, (1000,)), (celeryconfig.SNAPSHOT, (1000, 5))]
    wanted += [(name, ()) for name in workers.tasks if name.startswith("pacioli.") and name != celeryconfig.DRAIN]
    for task, args in wanted:
        app.send_task(task, args, retry=False, headers={logs.REQUEST_ID: "a request"})
        queue = app.amqp.router.route({}, task, args=args)["queue"].name
        with app.connection_for_read() as connection:
            check(json.loads(json.dumps(connection.default_channel._get(queue))))
    assert {name for name, _ in wanted} == envelopes._BOUNDS.keys()


def test_files_that_are_no_messages_are_dropped_and_the_next_is_delivered(tmp_path: Any) -> None:
    envelopes.install()
    options = {"data_folder_in": str(tmp_path), "data_folder_out": str(tmp_path), "control_folder": str(tmp_path / "c")}
    for number, content in enumerate((b"", b"\xff", b"{", b"nu", b"[" * 100_000)):
        (tmp_path / f"{number}_x.ticks.msg").write_bytes(content)
    for number, junk in enumerate(({}, without("properties"))):
        (tmp_path / f"1{number}_x.ticks.msg").write_text(json.dumps(junk))
    (tmp_path / "9_x.ticks.msg").write_text(json.dumps(envelope(celeryconfig.TICK, body=body(()))))
    found: list[Any] = []
    with Connection("filesystem://", transport_options=options) as connection, capture_logs() as logs:
        before = envelopes.dropped
        channel = connection.channel()
        channel.queue_declare("ticks")
        channel.basic_consume("ticks", no_ack=True, callback=found.append, consumer_tag="1")
        while not found:
            connection.drain_events(timeout=10)
    assert envelopes.dropped - before == len(logs) == 7
    assert [message.headers["task"] for message in found] == [celeryconfig.TICK]
