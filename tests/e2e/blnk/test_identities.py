"""Identities by Blnk's client: every method of its service."""

from blnk_sdk.types.ledger_balances import CreateLedgerBalance

from tests.harness.blnk import Client, data_of, error_of


def test_every_method_for_identities_works(client: Client) -> None:
    people = client.blnk.identity
    person = {"identity_type": "individual", "first_name": "Ada", "last_name": "L.", "email_address": "ada@example.com"}
    person |= {"gender": "female", "phone_number": "+44 1", "nationality": "GB", "street": "1 A", "country": "GB"}
    person |= {"state": "", "post_code": "N1: 1", "city": "London", "category": "customer"}
    created = data_of(people.create({**person, "dob": "1990-04-22T00:00:00+00:00"}), 201)
    identity = created["identity_id"]
    assert identity.startswith("idt_")
    assert data_of(people.get(identity), 200) == created
    assert data_of(people.list(), 200)[0] == created
    updated = data_of(people.update(identity, {**person, "city": "Leeds"}), 200)
    assert (updated["message"], updated["city"]) == ("Identity updated successfully", "Leeds")
    assert data_of(people.tokenize_field(identity, "FirstName"), 200)["message"] == "Field tokenized successfully"
    several = people.tokenize(identity, {"fields": ["LastName", "PostCode"]})
    assert data_of(several, 200)["message"] == "Fields tokenized successfully"
    assert len(data_of(people.get_tokenized_fields(identity), 200)["tokenized_fields"]) == 3
    assert data_of(people.detokenize_field(identity, "FirstName"), 200) == {"field": "FirstName", "value": "Ada"}
    clear = data_of(people.detokenize(identity, {"fields": ["PostCode"]}), 200)
    assert clear == {"fields": {"PostCode": "N1: 1"}}
    asked = CreateLedgerBalance(ledger_id="general_ledger_id", currency="USD")
    balance = data_of(client.balances.create(asked), 201)["balance_id"]
    linked = client.balances.update_identity(balance, {"identity_id": identity})
    assert data_of(linked, 200)["message"] == "Balance identity updated successfully"
    error_of(people.delete(identity), 409, "GEN_CONFLICT")
    alone = data_of(people.create(person), 201)["identity_id"]
    assert data_of(people.delete(alone), 200)["message"] == "Identity deleted successfully"
    error_of(people.get(alone), 404, "IDT_NOT_FOUND")
