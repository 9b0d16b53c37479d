"""Identities: their fields, balances, tokens and erasure."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, text

from core.base.db import connect, reading
from core.identities.tokenization import rotate
from core.identities.tokens import keyring_of
from tests.harness.api import ZERO_TIME, Api, ok, refused
from tests.integration.identities.conftest import SECRET

UNKNOWN = "idt_01928ee1-7e5a-7000-8000-000000000000"
ADA = {
    "identity_type": "individual",
    "first_name": "Adaeze",
    "last_name": "Quillfeather",
    "email_address": "adaeze@quill.example",
    "phone_number": "+234 801 555 0199",
    "street": "Flat: 3, 17 Marina",
    "dob": "1990-04-22T00:00:00Z",
    "meta_data": {"score": 12345678901234567890, "ratio": 0.1},
}


def _new(api: Api, **fields: Any) -> dict[str, Any]:
    created: dict[str, Any] = ok(api.client.post("/identities", json={**ADA, **fields}), 201)
    return created


@pytest.mark.smoke
def test_an_identity_is_created_read_updated_and_deleted(api: Api) -> None:
    created = _new(api)
    path = f"/identities/{created['identity_id']}"
    assert list(created) == [
        "identity_id", "identity_type", "organization_name", "category", "first_name", "last_name", "other_names", "gender",
        "email_address", "phone_number", "nationality", "street", "country", "state", "post_code", "city", "dob", "created_at",
        "meta_data",
    ]  # fmt: skip
    assert {name: created[name] for name in ADA} == ADA
    assert created["gender"] == ""
    assert api.get(path) == created
    updated = ok(api.client.put(path, json={"first_name": "Ada", "street": "", "last_name": None, "dob": None}), 200)
    assert updated.pop("message") == "Identity updated successfully"
    assert updated == {**created, "first_name": "Ada", "last_name": "", "dob": ZERO_TIME}
    assert api.get(path) == updated
    assert ok(api.client.delete(path), 200) == {"message": "Identity deleted successfully"}
    refused(api.client.get(path), 404, "IDT_NOT_FOUND", f"Identity with ID '{created['identity_id']}' not found")


def test_an_id_of_the_callers_own_is_taken_once(api: Api) -> None:
    assert _new(api, identity_id=UNKNOWN)["identity_id"] == UNKNOWN
    again = api.client.post("/identities", json={"identity_id": UNKNOWN})
    refused(again, 400, "IDT_VALIDATION_ERROR", f"Identity already exists: {UNKNOWN}")


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"identity_id": "bln_1"}, "IDT_VALIDATION_ERROR", "must start with the 'idt_' prefix"),
        ({"identity_id": "idt_1"}, "IDT_VALIDATION_ERROR", "must be a valid UUID"),
        ({"dob": "22.04.1990 secret"}, "GEN_MALFORMED_REQUEST", "dob"),
        ({"first_name": "x" * 1001}, "GEN_MALFORMED_REQUEST", "first_name"),
        ({"first_name": "a\x00b"}, "GEN_VALIDATION_ERROR", "first_name"),
        ({"first_name": 7}, "GEN_MALFORMED_REQUEST", "first_name"),
        ({"frist_name": "x"}, "GEN_VALIDATION_ERROR", "did you mean first_name?"),
        ({"meta_data": 7}, "GEN_MALFORMED_REQUEST", "meta_data"),
    ],
    ids=str,
)
def test_a_wrong_field_is_named_and_no_value_is_repeated(api: Api, body: dict[str, Any], code: str, field: str) -> None:
    response = api.client.post("/identities", json=body)
    assert field in refused(response, 400, code)["message"]
    assert "secret" not in response.text


def test_an_update_gives_something_and_keeps_the_id(api: Api) -> None:
    path = f"/identities/{_new(api)['identity_id']}"
    refused(api.client.put(path, json={}), 400, "GEN_BAD_REQUEST", "No fields provided for update")
    refused(api.client.put(path, json={"city": ""}), 400, "GEN_BAD_REQUEST", "No fields provided for update")
    refused(api.client.put(path, json={"identity_id": UNKNOWN, "city": "x"}), 400, "IDT_VALIDATION_ERROR")
    refused(api.client.put(f"/identities/{UNKNOWN}", json={"city": "x"}), 404, "IDT_NOT_FOUND")


def test_identities_are_listed_and_filtered(api: Api) -> None:
    ids = [_new(api, first_name=f"N{number}", category="b" if number else "a")["identity_id"] for number in range(3)]
    assert [each["identity_id"] for each in api.get("/identities")] == ids[::-1]
    assert [each["identity_id"] for each in api.get("/identities", limit=1, offset=1)] == [ids[1]]
    assert [each["identity_id"] for each in api.get("/identities", category_eq="a")] == [ids[0]]
    asked = {
        "filters": [{"field": "email_address", "operator": "eq", "value": ADA["email_address"]}],
        "include_count": True,
    }
    page = ok(api.client.post("/identities/filter", json=asked), 200)
    assert (page["total_count"], len(page["data"])) == (3, 3)
    refused(api.client.get("/identities?nonsense_eq=1"), 400, "GEN_BAD_REQUEST")


def test_a_balance_belongs_to_an_identity(api: Api) -> None:
    owner, other = _new(api), _new(api, first_name="Other")
    asked = {"ledger_id": "general_ledger_id", "currency": "USD", "identity_id": owner["identity_id"]}
    balance = ok(api.client.post("/balances", json=asked), 201)
    path = f"/balances/{balance['balance_id']}"
    assert balance["identity_id"] == api.get(path)["identity_id"] == owner["identity_id"]
    whole = ok(api.client.get(f"{path}?include=identity&include=ledger"), 200)
    assert whole["identity"] == owner
    assert whole["ledger"]["ledger_id"] == "general_ledger_id"
    assert [each["balance_id"] for each in api.get("/balances", identity_id_eq=owner["identity_id"])] == [
        balance["balance_id"]
    ]
    refused(api.client.delete(f"/identities/{owner['identity_id']}"), 409, "GEN_CONFLICT")
    moved = api.client.put(f"{path}/identity", json={"identity_id": other["identity_id"]})
    assert ok(moved, 200) == {"message": "Balance identity updated successfully"}
    assert api.get(path)["identity_id"] == other["identity_id"]
    ok(api.client.put(f"{path}/identity", json={"identity_id": None}), 200)
    assert api.get(path)["identity_id"] == ""
    assert ok(api.client.get(f"{path}?include=identity"), 200)["identity"] is None
    ok(api.client.delete(f"/identities/{owner['identity_id']}"), 200)
    for body in ({}, {"identity_id": ""}):
        refused(api.client.put(f"{path}/identity", json=body), 400, "GEN_MALFORMED_REQUEST")
    refused(api.client.put(f"{path}/identity", json={"identity_id": UNKNOWN}), 404, "IDT_NOT_FOUND")
    refused(api.client.post("/balances", json={**asked, "identity_id": UNKNOWN}), 404, "IDT_NOT_FOUND")
    nobody = api.client.put(f"/balances/bln_{UNKNOWN[4:]}/identity", json={"identity_id": other["identity_id"]})
    refused(nobody, 404, "BAL_NOT_FOUND")


def test_metadata_is_merged_exactly(api: Api) -> None:
    created = _new(api)
    path = f"/{created['identity_id']}/metadata"
    merged = ok(api.client.post(path, json={"meta_data": {"tier": "gold"}}), 200)["meta_data"]
    assert merged == {**ADA["meta_data"], "tier": "gold"}  # type: ignore[dict-item]
    assert '"score":12345678901234567890' in api.client.get(f"/identities/{created['identity_id']}").text.replace(
        " ", ""
    )
    refused(api.client.post(f"/{UNKNOWN}/metadata", json={"meta_data": {}}), 404, "META_ENTITY_NOT_FOUND")


# Tokens


def test_fields_are_tokenized_and_read_in_clear(vault: Api) -> None:
    path = f"/identities/{_new(vault)['identity_id']}"
    assert ok(vault.client.post(f"{path}/tokenize/FirstName", json={}), 200) == {
        "message": "Field tokenized successfully"
    }
    several = vault.client.post(f"{path}/tokenize", json={"fields": ["emailAddress", "street"]})
    assert ok(several, 200) == {"message": "Fields tokenized successfully"}
    read = vault.get(path)
    assert all(read[name].startswith("FPT:") for name in ("first_name", "email_address", "street"))
    assert read["last_name"] == ADA["last_name"]
    assert vault.get(f"{path}/tokenized-fields") == {"tokenized_fields": ["EmailAddress", "FirstName", "Street"]}
    one = ok(vault.client.get(f"{path}/detokenize/first_name"), 200)
    assert one == {"field": "first_name", "value": ADA["first_name"]}
    every = ok(vault.client.post(f"{path}/detokenize", json={"fields": []}), 200)
    assert every == {
        "fields": {"FirstName": ADA["first_name"], "EmailAddress": ADA["email_address"], "Street": ADA["street"]}
    }


def test_what_cannot_be_tokenized_is_refused_whole(vault: Api) -> None:
    path = f"/identities/{_new(vault, post_code='')['identity_id']}"
    tokenize = f"{path}/tokenize"
    refused(
        vault.client.post(f"{tokenize}/Gender"), 400, "IDT_FIELD_NOT_TOKENIZABLE", "field Gender is not tokenizable"
    )
    refused(vault.client.get(f"{path}/detokenize/FirstName"), 400, "IDT_FIELD_NOT_TOKENIZED")
    ok(vault.client.post(f"{tokenize}/FirstName"), 200)
    refused(vault.client.post(f"{tokenize}/FirstName"), 409, "IDT_FIELD_ALREADY_TOKENIZED")
    for fields in (["LastName", "FirstName"], ["LastName", "Gender"], ["LastName", "PostCode"]):
        assert vault.client.post(tokenize, json={"fields": fields}).status_code in (400, 409)
    blank = refused(vault.client.post(f"{tokenize}/PostCode"), 400, "IDT_VALIDATION_ERROR")
    assert blank["details"]["field"] == "PostCode"
    refused(vault.client.post(tokenize, json={"fields": []}), 400, "GEN_VALIDATION_ERROR")
    refused(vault.client.post(tokenize, json={}), 400, "GEN_MALFORMED_REQUEST")
    refused(vault.client.post(f"/identities/{UNKNOWN}/tokenize/FirstName"), 404, "IDT_NOT_FOUND")
    assert vault.get(f"{path}/tokenized-fields") == {"tokenized_fields": ["FirstName"]}
    assert vault.get(path)["last_name"] == ADA["last_name"]


def test_without_a_secret_nothing_is_tokenized(api: Api) -> None:
    path = f"/identities/{_new(api)['identity_id']}"
    refused(api.client.post(f"{path}/tokenize/FirstName"), 403, "IDT_TOKENIZATION_DISABLED")


def test_an_update_keeps_a_field_tokenized(vault: Api) -> None:
    path = f"/identities/{_new(vault)['identity_id']}"
    ok(vault.client.post(f"{path}/tokenize", json={"fields": ["FirstName", "LastName"]}), 200)
    read = vault.get(path)
    same = {name: value for name, value in read.items() if name not in ("created_at", "identity_id")}
    ok(vault.client.put(path, json={**same, "first_name": "Grace", "meta_data": {}}), 200)
    assert vault.get(path)["last_name"] == read["last_name"]
    assert vault.get(path)["first_name"].startswith("FPT:")
    clear = ok(vault.client.post(f"{path}/detokenize", json={"fields": []}), 200)["fields"]
    assert clear == {"FirstName": "Grace", "LastName": ADA["last_name"]}
    ok(vault.client.put(path, json={"first_name": None}), 200)
    assert vault.get(f"{path}/tokenized-fields") == {"tokenized_fields": ["LastName"]}


def test_two_who_tokenize_at_once_lose_nothing(vault: Api) -> None:
    path = f"/identities/{_new(vault)['identity_id']}"
    names = ["FirstName", "LastName", "EmailAddress", "PhoneNumber", "Street"]
    with ThreadPoolExecutor(5) as threads:
        done = [threads.submit(vault.app.test_client().post, f"{path}/tokenize/{name}") for name in names]
    assert {each.result().status_code for each in done} == {200}
    clear = ok(vault.client.post(f"{path}/detokenize", json={"fields": []}), 200)["fields"]
    assert sorted(clear) == sorted(names)


def test_a_rotation_seals_everything_under_the_newest_secret(vault: Api) -> None:
    path = f"/identities/{_new(vault)['identity_id']}"
    ok(vault.client.post(f"{path}/tokenize", json={"fields": ["FirstName", "Street"]}), 200)
    before, engine = vault.get(path), vault.app.extensions["pacioli"].engine
    newer = "f0e1d2c3b4a5968778695a4b3c2d1e0f"
    assert rotate(engine, keyring_of(f"{newer},{SECRET}")) == 1
    assert rotate(engine, keyring_of(f"{newer},{SECRET}")) == 0
    assert vault.get(path)["street"] != before["street"]
    vault.app.extensions["pacioli"].keyring = keyring_of(newer)
    assert ok(vault.client.get(f"{path}/detokenize/Street"), 200)["value"] == ADA["street"]


# Privacy


def test_an_erasure_forgets_the_person_and_keeps_the_balance(vault: Api) -> None:
    created = _new(vault)
    path = f"/identities/{created['identity_id']}"
    asked = {"ledger_id": "general_ledger_id", "currency": "USD", "identity_id": created["identity_id"]}
    balance = ok(vault.client.post("/balances", json=asked), 201)["balance_id"]
    ok(vault.client.post(f"{path}/tokenize/FirstName"), 200)
    token = vault.get(path)["first_name"]
    erased = ok(vault.client.post(f"{path}/erase"), 200)
    blank = dict.fromkeys(created, "") | {"identity_id": created["identity_id"], "created_at": created["created_at"]}
    assert erased == {**blank, "dob": ZERO_TIME, "meta_data": None}
    assert ok(vault.client.post(f"{path}/erase"), 200) == erased
    assert vault.get(f"/balances/{balance}")["identity_id"] == created["identity_id"]
    refused(vault.client.put(path, json={"city": "x"}), 409, "GEN_CONFLICT")
    refused(vault.client.post(f"{path}/tokenize/FirstName"), 409, "GEN_CONFLICT")
    refused(vault.client.get(f"{path}/detokenize/FirstName"), 400, "IDT_FIELD_NOT_TOKENIZED")
    assert token not in _whole_table(vault)


def _whole_table(api: Api) -> str:
    with reading(api.app.extensions["pacioli"].engine) as conn:
        return str(conn.execute(text("SELECT identities::text FROM identities")).fetchall())


def test_every_reading_in_clear_is_recorded_and_nothing_personal_is(
    vault: Api, capfd: pytest.CaptureFixture[str], owner: Engine
) -> None:
    path = f"/identities/{_new(vault)['identity_id']}"
    ok(vault.client.post(f"{path}/tokenize", json={"fields": ["FirstName", "Street"]}), 200)
    ok(vault.client.get(f"{path}/detokenize/FirstName"), 200)
    ok(vault.client.post(f"{path}/detokenize", json={"fields": []}), 200)
    ok(vault.client.put(path, json={"phone_number": "+234 802 555 0100", "meta_data": {"n": "Quillfeather"}}), 200)
    vault.client.put(path, json={"phone_number": "+234 802 555 0100", "dob": "not a Quillfeather date"})
    vault.client.post("/identities", json={"first_name": ["Adaeze"]})
    ok(vault.client.post(f"{path}/erase"), 200)
    rows = vault.get("/audit", limit=100)
    read = [row for row in rows if row["action"] == "identity.read_in_clear"]
    assert sorted(row["details"]["fields"] for row in read) == [["first_name"], ["first_name", "street"]]
    everything = str(rows) + "".join(capfd.readouterr()) + _other_tables(owner)
    for value in ("Adaeze", "Quillfeather", "quill.example", "555 0199", "802 555", "17 Marina"):
        assert value not in everything


def _other_tables(owner: Engine) -> str:
    engine = connect(owner.url.render_as_string(hide_password=False))
    with reading(engine) as conn:
        names = conn.execute(
            text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'identities'")
        ).scalars()
        found = [str(conn.execute(text(f"SELECT t::text FROM {name} AS t")).fetchall()) for name in names.all()]
    engine.dispose()
    return "".join(found)
