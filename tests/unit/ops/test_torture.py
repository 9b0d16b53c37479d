"""`pacioli torture` tells an answer from a 503."""

import json

import pytest
import requests

from ops.proving import torture


@pytest.mark.parametrize(("depths", "expected"), [([], False), ([0, 0], False), ([0, 3], True)])
def test_a_queue_with_a_depth_has_something_to_decide(
    monkeypatch: pytest.MonkeyPatch, depths: list[int], expected: bool
) -> None:
    monkeypatch.setattr(requests, "get", lambda *_, **__: answer(200, [{"depth": depth} for depth in depths]))
    assert torture._is_anything_queued("http://here") is expected


def test_an_answer_that_is_no_list_of_queues_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "get", lambda *_, **__: answer(503, {"error": "try again"}))
    with pytest.raises(requests.RequestException):
        torture._is_anything_queued("http://here")


def answer(status: int, body: object) -> requests.Response:
    response = requests.Response()
    response.status_code, response._content = status, json.dumps(body).encode()
    return response
