"""Junk in one field is refused by name, and nothing is written."""

import gzip

import msgspec
import pytest
from flask.testing import FlaskClient

from tests.harness.bad_input import assert_refused, assert_still_works, counts, encode, object_of, post, prepare, send
from tests.harness.junk import ACCEPTED, JUNK, TARGETS, good_transaction
from web.service import Service


@pytest.mark.parametrize(
    ("target", "field"),
    [(name, field.encode_name) for name, target in TARGETS.items() for field in msgspec.structs.fields(target.struct)],
)
def test_junk_in_a_field_is_refused_by_name_and_writes_nothing(
    client: FlaskClient, service: Service, target: str, field: str
) -> None:
    accepted = ACCEPTED[TARGETS[target].struct].get(field)
    ready = None
    for name, junk in JUNK.items():
        if ready is None:  # Nothing is written, so all that is refused can be tried on the same.
            path, fields = prepare(client, TARGETS[target])
            if field == "amount":
                fields.pop("precise_amount", None)
            ready = counts(service)
        response = send(client, TARGETS[target], path, object_of({**fields, field: junk}))
        if response.status_code >= 400:
            assert_refused(response, field)
            assert counts(service) == ready, name
        else:
            ready = None
        if accepted is not None:
            # This reference would be good, but a target before it has used it.
            is_taken = response.status_code == 409 and field == "reference"
            is_good = response.status_code < 300 or is_taken
            assert is_good == (name in accepted.split(", ")), (name, response.text[:300])
    assert_still_works(client)


@pytest.mark.parametrize(
    ("target", "field"), [(name, field) for name, target in TARGETS.items() for field in target.required.split()]
)
def test_a_missing_field_is_named(client: FlaskClient, service: Service, target: str, field: str) -> None:
    path, fields = prepare(client, TARGETS[target])
    before = counts(service)
    del fields[field]
    response = send(client, TARGETS[target], path, object_of(fields))
    assert response.status_code == 400
    assert_refused(response, field.removeprefix("precise_"))
    assert counts(service) == before


@pytest.mark.parametrize(
    ("target", "field"),
    [(name, field.encode_name) for name, target in TARGETS.items() for field in msgspec.structs.fields(target.struct)],
)
def test_a_misspelt_field_is_refused_with_the_right_spelling(
    client: FlaskClient, service: Service, target: str, field: str
) -> None:
    path, fields = prepare(client, TARGETS[target])
    before = counts(service)
    misspelt = field[:-2] + field[-1]
    response = send(client, TARGETS[target], path, object_of({**fields, misspelt: b"null"}))
    assert response.status_code == 400
    detail = response.get_json()["error_detail"]
    assert detail["details"]["field"] == TARGETS[target].position + misspelt
    assert f"did you mean {field}?" in detail["message"] or "amount" in field  # amunt is near to more than one
    assert counts(service) == before


def test_a_name_that_looks_like_a_place_is_only_a_name(client: FlaskClient) -> None:
    name = "x` - at `$.transactions[0].meta_data.y"
    response = send(client, TARGETS["ledger"], "/ledgers", object_of({"name": b'"a"', name: b"1"}))
    assert response.status_code == 400
    assert_refused(response, "unknown field")


def test_of_a_field_that_is_given_twice_the_last_counts(client: FlaskClient) -> None:
    fields = object_of({**encode(good_transaction()), "reference": b'"first"'})
    response = send(client, TARGETS["transaction"], "/transactions", fields[:-1] + b', "reference": "last"}')
    assert response.status_code == 201
    assert response.get_json()["reference"] == "last"


@pytest.mark.parametrize("date", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-00:00"])
def test_the_ends_of_the_calendar_are_dates(client: FlaskClient, date: str) -> None:
    accepted = post(client, {**good_transaction(), "effective_date": date})
    assert accepted.status_code == 201
    read = client.get(f"/transactions/{accepted.get_json()['transaction_id']}")
    assert read.get_json()["effective_date"] == date.replace("-00:00", "Z")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"source": "Ana"}, "did you mean @Ana?"),
        ({"destination": "World"}, "did you mean @World?"),
        ({"precise_amount": 1.5}, 'such as 1250 or "1250", not 1.5; amount takes major units'),
        ({"amount": "12,50"}, 'must be a number such as 12.50, or its text, not "12,50"'),
        ({"currency": "usd"}, "did you mean USD?"),
        ({"currency": 5}, "must be text, not 5"),
        ({"allow_overdraft": "yes"}, 'must be true or false, not "yes"'),
        ({"effective_date": 5}, "must be a time such as 2024-04-22T15:28:03Z, as text, not 5"),
        ({"sources": {}}, "must be a list, not {}"),
        ({"reference": "a\nb"}, 'U+000A, as character 2: it reads "a\\nb"'),
    ],
)
def test_a_refusal_says_what_would_be_right(client: FlaskClient, fields: dict[str, object], says: str) -> None:
    given = {**good_transaction(), **fields}
    if "amount" in fields:
        del given["precise_amount"]
    response = post(client, given)
    assert 400 <= response.status_code < 500
    assert says in response.get_json()["error"]


@pytest.mark.parametrize(
    ("path", "fields", "says"),
    [
        ("/transactions", {**good_transaction(), "reference": "  "}, "reference: cannot be blank."),
        (
            "/balances",
            {"ledger_id": "general_ledger_id", "currency": "USD", "indicator": "Ana"},
            "indicator: an @Name is @ and at least one more character, without spaces.",
        ),
    ],
)
def test_a_fault_is_told_once(client: FlaskClient, path: str, fields: dict[str, object], says: str) -> None:
    assert client.post(path, json=fields).get_json()["error"] == says


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"amount":', 'the JSON ends too early, at byte 10 of 10, after {"amount":'),
        (b"", "the body is empty, and must be JSON"),
        (b'{"a": 1,}', "(trailing comma in object), at byte 8 of 9"),
        (b'{"description": "\\ud800"}', "\\ud800 is half of a surrogate pair, at byte 17 of 25"),
        (b'{"description": "\xff"}', "the byte 0xff is not UTF-8, at byte 17 of 20"),
        ('{"a": 1}'.encode("utf-16"), "looks like UTF-16"),
        (b'\xef\xbb\xbf{"a": 1}', "begins with a byte order mark"),
        (b"{'a': 1}", "object keys must be strings"),
        (gzip.compress(b"{}", mtime=0), "the body is compressed; send it as plain JSON"),
    ],
)
def test_a_body_that_is_no_json_says_where_it_stops_being_json(client: FlaskClient, body: bytes, says: str) -> None:
    response = client.post("/transactions", data=body, content_type="application/json")
    assert response.status_code == 400
    message = response.get_json()["error"]
    assert message.startswith("Invalid input: ")
    assert says in message
