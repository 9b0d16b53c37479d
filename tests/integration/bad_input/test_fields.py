"""Junk in one field is refused by name, and nothing is written."""

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
    for name, junk in JUNK.items():
        path, fields = prepare(client, TARGETS[target])
        if field == "amount":
            fields.pop("precise_amount", None)
        before = counts(service)
        response = send(client, TARGETS[target], path, object_of({**fields, field: junk}))
        if response.status_code >= 400:
            assert_refused(response, field)
            assert counts(service) == before, name
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
