"""A body that is no request, and JSON of every shape."""

import json
from io import BytesIO

import msgspec
import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bad_input import assert_still_works, counts, encode, object_of, prepare, send
from tests.harness.junk import TARGETS, good_transaction
from tests.harness.searching import search
from web.http.errors import STATUS
from web.http.wire import MAX_BODY
from web.service import Service

# The body as a whole


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b"1",
        b'"text"',
        b"{",
        b"{}}",
        b"{'a': 1}",
        b'{"a": 1,}',
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b"\x00",
        b'{"\xff": 1}',
        b'{"\\ud800": 1}',
        b'{"\\u0000": 1}',
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    ],
    ids=lambda body: repr(body[:12]),
)
def test_a_body_that_is_no_request_is_refused(client: FlaskClient, service: Service, target: str, body: bytes) -> None:
    if target in ("refund", "run") and not body:
        return  # All of it is optional.
    path, _ = prepare(client, TARGETS[target])
    before = counts(service)
    response = client.open(path, method=TARGETS[target].method, data=body, content_type="application/json")
    assert response.status_code == 400
    assert response.get_json()["error_detail"]["code"] in ("GEN_MALFORMED_REQUEST", "GEN_VALIDATION_ERROR")
    assert response.get_json()["error"]
    assert counts(service) == before


@pytest.mark.parametrize("target", TARGETS)
def test_another_content_type_is_refused(client: FlaskClient, service: Service, target: str) -> None:
    path, fields = prepare(client, TARGETS[target])
    before = counts(service)
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp"):
        if (content_type, path) == ("multipart/form-data", "/funding-jobs"):
            continue  # It takes that as well.
        response = client.open(path, method=TARGETS[target].method, data=object_of(fields), content_type=content_type)
        assert response.status_code == 415
        assert response.get_json()["error_detail"]["code"] == "GEN_UNSUPPORTED_MEDIA_TYPE"
        assert content_type in response.get_json()["error_detail"]["message"]
    assert counts(service) == before


@pytest.mark.smoke
@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_json_by_any_name_is_taken(client: FlaskClient, content_type: str) -> None:
    assert client.post("/ledgers", data=b'{"name": "a"}', content_type=content_type).status_code == 201


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_413(client: FlaskClient, service: Service, target: str, chunked: bool) -> None:
    path, fields = prepare(client, TARGETS[target])
    before = counts(service)
    # The body would be a good request if its end were cut off.
    body = b"".join((TARGETS[target].around[0], object_of(fields), TARGETS[target].around[1])).ljust(6 * 1024 * 1024)
    method = TARGETS[target].method
    if chunked:  # As a server hands it on: no Content-Length, and a stream that ends by itself.
        environ = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": ""}
        response = client.open(
            path, method=method, input_stream=BytesIO(body), environ_overrides=environ, content_type="application/json"
        )
    else:
        response = client.open(path, method=method, data=body, content_type="application/json")
    assert response.status_code == 413
    assert response.get_json()["error_detail"]["code"] == "GEN_PAYLOAD_TOO_LARGE"
    assert str(MAX_BODY) in response.get_json()["error_detail"]["message"]
    assert counts(service) == before
    assert_still_works(client)


def test_a_bulk_has_at_most_10000(client: FlaskClient, service: Service) -> None:
    before = counts(service)
    items = [{**good_transaction(), "reference": f"many {number}"} for number in range(10_001)]
    response = client.post("/transactions/bulk", json={"transactions": items})
    assert response.status_code == 400
    assert response.get_json()["error_detail"]["code"] == "TXN_BULK_LIMIT_EXCEEDED"
    assert counts(service) == before
    assert client.post("/transactions/bulk", json={"transactions": items[:10_000]}).status_code == 201


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from(["@A", "@B", "USD"]),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=8,
)


# Any JSON


@pytest.mark.parametrize("target", TARGETS)
def test_any_json_is_answered_and_what_is_refused_writes_nothing(
    client: FlaskClient, service: Service, target: str
) -> None:
    names = [field.encode_name for field in msgspec.structs.fields(TARGETS[target].struct)]
    ready: list[tuple[str, dict[str, bytes], dict[str, int]]] = []

    @search(120)
    @given(data=st.data())
    def run(data: st.DataObject) -> None:
        if not ready:  # Nothing is written, so all that is refused can be tried on the same.
            ready.append((*prepare(client, TARGETS[target]), counts(service)))
        ((path, fields, before),) = ready
        changes = data.draw(st.dictionaries(st.sampled_from(names) | st.text(max_size=5), _json, max_size=3))
        body = data.draw(
            st.just(object_of({**fields, **encode(changes)})) | _json.map(lambda value: json.dumps(value).encode())
        )
        response = send(client, TARGETS[target], path, body)
        assert response.status_code < 500
        if response.status_code >= 400:
            detail = response.get_json()["error_detail"]
            assert STATUS[detail["code"]] == response.status_code
            assert detail["message"]
            if "rejection" not in (detail.get("details") or {}):
                assert counts(service) == before
                return  # One with a rejection was accepted and is kept.
        else:
            json.loads(response.data)
            assert response.status_code in (200, 201, 202)
        ready.clear()

    run()
