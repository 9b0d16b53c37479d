"""The past that ``pacioli bench --long`` makes is a right ledger, and its reads are all that are documented."""

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, text

from core.base.db import connect, reading
from core.ledger import drain
from core.ledger.rules.routing import route_of
from core.ledger.store import sizes
from core.verification.verify import verify_all
from ops.cli.main import main
from ops.proving import core_rates, made, past, reads
from ops.proving.catching_up import caught_up
from ops.proving.long import Found
from ops.proving.long_tables import as_json, tables, verdict
from ops.proving.past import Shape
from ops.proving.reads import Answer, Timing
from ops.server.keys import new_chain_key
from tests.harness.api import close
from tests.harness.databases import new_database
from web.accept.doorbell import Doorbell
from web.app import create_app

KEY = new_chain_key()
SHAPE = Shape(12_000, customers=300, undecided=50)

NOT_ASKED = {
    "/": "the front page, which asks nothing",
    "/docs": "the viewer of the API, which is a file",
    "/docs/start.js": "a file of the viewer",
    "/docs/scalar.js": "a file of the viewer",
    "/openapi.json": "made from the code, once",
}
"""The documented reads that a bench does not ask for, with the reason."""


@pytest.fixture(scope="module")
def filled(postgres: str) -> Iterator[tuple[str, Engine]]:
    url = new_database(postgres)
    engine = connect(url)
    past.write(engine, SHAPE, bare=True)
    yield url, engine
    engine.dispose()


@pytest.fixture(scope="module")
def app(filled: tuple[str, Engine]) -> Iterator[Flask]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Doorbell, "ring", lambda self, queues: None)
        patch.setattr(Doorbell, "wake", lambda self, task: None)
        app = create_app({"DATABASE_URL": filled[0], "PACIOLI_SECRET_KEY": KEY, "PACIOLI_TOKENIZATION_SECRET": KEY})
        yield app
        close(app)


def test_a_past_can_be_verified_and_goes_on(filled: tuple[str, Engine]) -> None:
    _, engine = filled
    with reading(engine) as conn:
        found = conn.execute(
            text("SELECT kind, status, count(*) FROM log JOIN outcomes USING (seq) GROUP BY 1, 2")
        ).all()
        keys = conn.execute(text("SELECT id, 'bln_' || balance_id FROM balances WHERE id > 300")).all()
        indexes = set(conn.execute(text("SELECT indexname FROM pg_indexes WHERE tablename = 'log'")).scalars())
        assert {"log_pkey", "log_id_key", "log_reference_key", "log_parent_block_idx"} <= indexes
    assert {(kind, status) for kind, status, _ in found} == {(1, 1), (1, 4), (2, 2), (3, 1)}
    report = verify_all(engine)
    assert (report.problems, report.undecided) == ([], SHAPE.undecided)
    core_rates.append_all(engine, core_rates.drafts(random.Random(1), [(key, route_of(id)) for key, id in keys], 40))
    for queue in range(8):
        drain.drain(engine, queue)
    report = verify_all(engine)
    assert (report.problems, report.undecided, report.transactions) == ([], 0, SHAPE.rows + 40)


def test_a_past_is_caught_up_once(filled: tuple[str, Engine], tmp_path: Path) -> None:
    said: list[tuple[str, int, int]] = []
    rows = list(caught_up(filled[1], tmp_path, {}, lambda *progress: said.append(progress)))
    names = ["flows of the past", "spans of the past", "seals of the past"]
    assert [row.name for row in rows] == names
    assert {name for name, _, _ in said} == set(names)
    assert all(done < most for _, done, most in said)
    assert list(caught_up(filled[1], tmp_path, {}, lambda *progress: None)) == []
    assert verify_all(filled[1]).problems == []


def test_a_folder_with_another_past_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    arguments = ["bench", "--long", "2000", "--long-folder", str(tmp_path)]
    for filled_with in (None, "3000\n"):
        if filled_with:
            (tmp_path / "filled").write_text(filled_with)
        result = CliRunner().invoke(main, arguments)
        assert (result.exit_code, "no ledger with a past of 2,000 rows" in result.output) == (1, True)
    assert list((tmp_path / "data").iterdir()) == []


def test_every_documented_read_is_asked_for(filled: tuple[str, Engine], app: Flask) -> None:
    client: FlaskClient = app.test_client()
    client.environ_base["HTTP_X_BLNK_KEY"] = KEY
    with reading(filled[1]) as conn:
        places = reads.places(conn, SHAPE)
    asked: set[str] = set()

    def get(path: str) -> Answer:
        asked.add(path.partition("?")[0])
        response = client.get(path)
        return Answer(response.status_code, response.headers.get("Truncated") == "true")

    def call(method: str, path: str, body: Any) -> tuple[int, Any]:
        response = client.open(path, method=method, json=body)
        return response.status_code, response.get_json()

    there = made.make(call, places.customers)
    assert made.make(call, places.customers) == there  # A ledger that is measured again has it already.
    timings = list(reads.timed(reads.asked(places) | made.asked(there), get, 1, lambda name: None))
    wrong = {each.name: each.statuses for each in timings if set(each.statuses) != {200}}
    assert wrong == {"transaction that is unknown": {404: 1}, "lineage of a balance": {400: 1}}  # It does not track it.
    documented = [path for path, methods in client.get("/openapi.json").get_json()["paths"].items() if "get" in methods]
    forms = {path: re.compile(re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(path))) for path in documented}
    assert {path for path, form in forms.items() if not any(map(form.fullmatch, asked))} == set(NOT_ASKED)


def test_the_result_says_what_is_slow_and_what_each_relation_takes(filled: tuple[str, Engine]) -> None:
    with reading(filled[1]) as conn:
        disk = sizes.disk(conn)
    timings = [
        Timing("quick", 100, 1.0, 2.0, 0.4, 0.0, {200: 100}),
        Timing("bounded", 100, 1.0, 60.0, 0.4, 1.0, {200: 100}),
        Timing("slow", 10, 1.0, 60.0, 0.4, 0.0, {200: 10}),
        Timing("refused: 503", 10, 1.0, 2.0, 0.4, 0.0, {200: 5, 503: 5}),
    ]
    assert [verdict(each) for each in timings] == [each.name for each in timings]
    found = as_json(Found(SHAPE.rows, [], disk, timings))
    assert 600 < found["disk"]["bytes_each"] < 1_200
    assert {"log", "outcomes", "log_parent_block_idx"} <= {each["relation"] for each in found["disk"]["relations"]}
    assert len(list(tables(Found(SHAPE.rows, [], disk, timings)))) == 2


def test_the_doctor_says_how_many_bytes_a_transaction_takes(filled: tuple[str, Engine], tmp_path: Path) -> None:
    env = {"DATABASE_URL": filled[0], "PACIOLI_CHAIN_KEY": "ab" * 32, "BROKER_URL": "amqp://nowhere", "REDIS_URL": ""}
    result = CliRunner().invoke(main, ["doctor", "--json", "--data", str(tmp_path)], env=env)
    (found,) = [each["what"] for each in json.loads(result.stdout)["findings"] if each["part"] == "disk"]
    assert re.match(r"12,0[0-9]{2} transactions take [0-9]{3} bytes each: [0-9]{3} in the log, ", found)
