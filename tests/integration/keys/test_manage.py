"""``/api-keys``: make, list, rotate and revoke, with the bounds of owners, scopes, reach and time."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, text

from core.base.db import begin, reading
from core.keys import secret
from core.verification.verify import verify_all
from tests.harness.api import ZERO_TIME, close, ok, refused
from tests.harness.key_ring import Holder, Keys, asked, later
from web.app import create_app

MANAGER = ("api-keys:*", "ledgers:*", "transactions:write")


def test_a_key_is_shown_once_and_kept_as_a_hash(keys: Keys, engine: Engine) -> None:
    end = f"{later(days=90)[:19]}Z"
    made = ok(keys.master.ask("POST /api-keys", json=asked(["ledgers:read"], expires_at=end)), 201)
    assert re.fullmatch(r"pacioli_key_[0-9A-Za-z]{49}", made["key"])
    assert made["key"].startswith(made["key_prefix"]) and len(made["key_prefix"]) == 20
    assert made["api_key_id"].startswith("api_key_")
    assert (made["owner_id"], made["name"], made["scopes"]) == ("shop", "till", ["ledgers:read"])
    assert (made["expires_at"], made["last_used_at"]) == (end, ZERO_TIME)
    assert (made["is_revoked"], made["created_by"]) == (False, "master")
    (listed,) = keys.list()
    assert listed == {**made, "key": ""}
    with reading(engine) as conn:
        rows = str(conn.execute(text("SELECT * FROM api_keys, api_key_secrets")).all())
        (hash,) = conn.execute(text("SELECT hash FROM api_key_secrets")).scalars()
    assert made["key"] not in rows
    assert len(bytes(hash)) == 32


@pytest.mark.smoke
def test_a_new_key_works_and_another_text_does_not(keys: Keys) -> None:
    reader = keys.make("ledgers:read")
    ok(reader.ask("GET /ledgers"), 200)
    other = reader.secret[:-1] + ("0" if reader.secret[-1] != "0" else "1")
    for wrong in (other, reader.secret[:-1], secret.new_secret(), reader.secret.upper(), "\xe4" * secret.LENGTH):
        refused(Holder(reader.app, wrong).ask("GET /ledgers"), 401, "AUTH_INVALID_API_KEY", "Invalid API key")
    refused(reader.app.test_client().get("/ledgers"), 401, "AUTH_MISSING_API_KEY")


def test_each_field_is_required(keys: Keys) -> None:
    for missing in ("name", "owner", "scopes", "expires_at"):
        response = keys.master.ask("POST /api-keys", json={**asked(["ledgers:read"]), missing: None})
        refused(response, 400, "GEN_MALFORMED_REQUEST", f"Invalid input: {missing}: is required")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"scopes": ["transaction:write"]}, "scopes[0]: there is no scope 'transaction:write': it takes resource:action; "
                                        "did you mean transactions:write?"),
    ({"scopes": ["ledgers:read", "Ledgers:Read"]}, "did you mean ledgers:read?"),
    ({"scopes": ["*"]}, "did you mean *:*?"),
    ({"scopes": ["ledgers:read:write"]}, "did you mean ledgers:"),
    ({"scopes": ["funding-jobs:create"]}, "did you mean funding:create?"),
    ({"scopes": ["xyz"]}, "it takes resource:action, such as transactions:read"),
    ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at: must be in the future."),
    ({"expires_at": "2099-01-01T00:00:00Z"}, "expires_at: must be at most 1826 days away (PACIOLI_KEY_MAX_DAYS)."),
    ({"name": "x" * 256}, "name: "),
    ({"owner": "a\u200bb"}, "owner: must not contain"),
    ({"reach": {"networks": ["10.0.0.1/8"]}}, "reach.networks[0]: must be an address or a network such as 10.0.0.0/8."),
    ({"reach": {"indicators": ["World"]}}, "reach.indicators[0]: "),
    ({"reach": {"ledgers": []}}, "reach.ledgers: has nothing in it"),
    ({"reach": {"rate": "fast"}}, "reach.rate: must be requests a second and a burst"),
    ({"reach": {"largest_amount": {"usd ": 1}}}, "reach.largest_amount.usd : "),
    ({"reach": {"largest_amount": "1e99999"}}, "reach.largest_amount: must have at most"),
    ({"reach": {"largest_amount": -1}}, "reach.largest_amount: must be 0 or more."),
    ({"reach": {"largest_overdraft": {"USD": -0.01}}}, "reach.largest_overdraft.USD: must be 0 or more."),
]  # fmt: skip


def test_what_is_wrong_is_refused(keys: Keys) -> None:
    for fields, message in WRONG:
        response = keys.master.ask("POST /api-keys", json=asked(["ledgers:read"]) | fields)
        assert message in refused(response, 400, "GEN_VALIDATION_ERROR")["message"]
    assert keys.list() == []


def test_an_expiry_is_a_time_with_its_zone(keys: Keys) -> None:
    for expires_at in ("tomorrow", "2027-01-01", "2027-01-01T00:00:00", 5):
        response = keys.master.ask("POST /api-keys", json=asked(["ledgers:read"], expires_at=expires_at))
        assert "expires_at" in refused(response, 400, "GEN_MALFORMED_REQUEST")["message"]


def test_an_unknown_field_is_named(keys: Keys) -> None:
    response = keys.master.ask("POST /api-keys", json=asked(["ledgers:read"], scope="ledgers:read"))
    assert "did you mean scopes?" in refused(response, 400, "GEN_VALIDATION_ERROR")["message"]


def test_a_reach_comes_back_as_it_was_given(keys: Keys) -> None:
    reach = {
        "ledgers": ["general_ledger_id"],
        "indicators": ["@Tills"],
        "networks": ["127.0.0.0/8", "::1"],
        "largest_amount": {"USD": 100.25, "JPY": 12345678901234567890},
        "largest_overdraft": 0,
        "rate": "50/100",
    }
    made = ok(keys.master.ask("POST /api-keys", json=asked(["ledgers:read"], reach=reach)), 201)
    assert made["reach"] == reach
    assert keys.list()[0]["reach"] == reach


# Owners


def test_the_master_key_names_an_owner_or_asks_for_all(keys: Keys) -> None:
    first, second = keys.make("ledgers:read"), keys.make("ledgers:read", owner="office")
    refused(keys.master.ask("GET /api-keys"), 400, "APIKEY_OWNER_REQUIRED", "owner is required")
    assert [key["api_key_id"] for key in keys.list("office")] == [second.key_id]
    every = ok(keys.master.ask("GET /api-keys?all=true"), 200)
    assert [key["api_key_id"] for key in every] == [second.key_id, first.key_id]
    assert keys.list("nobody") == []


def test_a_list_of_keys_has_pages(keys: Keys) -> None:
    made = [keys.make("ledgers:read").key_id for _ in range(5)][::-1]
    assert [key["api_key_id"] for key in keys.list()] == made  # Blnk's clients ask for no page.
    found, link = [], "/api-keys?owner=shop&limit=2"
    while link:
        response = keys.master.ask(f"GET {link}")
        found.append([key["api_key_id"] for key in ok(response, 200)])
        link = response.headers.get("Link", "").partition(">")[0].removeprefix("<")
    assert found[:3] == [made[:2], made[2:4], made[4:]] and found[3:] in ([], [[]])
    (second,) = ok(keys.master.ask("GET /api-keys?owner=shop&limit=1&offset=1"), 200)
    assert second["api_key_id"] == made[1]
    refused(keys.master.ask("GET /api-keys?owner=shop&after=x"), 400, "GEN_VALIDATION_ERROR")
    refused(keys.master.ask("GET /api-keys?owner=shop&limit=0"), 400, "GEN_VALIDATION_ERROR")


def test_a_key_manages_the_keys_of_its_own_owner_alone(keys: Keys) -> None:
    manager, foreign = keys.make(*MANAGER), keys.make("ledgers:read", owner="office")
    text_ = "cannot manage API keys for another owner"
    response = manager.ask("POST /api-keys", json=asked(["ledgers:read"], owner="office"))
    refused(response, 403, "AUTH_CROSS_OWNER_ACCESS", text_)
    refused(manager.ask("GET /api-keys?owner=office"), 403, "AUTH_CROSS_OWNER_ACCESS", text_)
    refused(manager.ask("GET /api-keys?all=true"), 403, "AUTH_CROSS_OWNER_ACCESS", text_)
    assert [key["api_key_id"] for key in ok(manager.ask("GET /api-keys"), 200)] == [manager.key_id]
    assert ok(manager.ask("GET /api-keys?owner=shop"), 200) == ok(manager.ask("GET /api-keys"), 200)
    for route in (f"DELETE /api-keys/{foreign.key_id}", f"POST /api-keys/{foreign.key_id}/rotate"):
        refused(manager.ask(route), 404, "APIKEY_NOT_FOUND", "API key not found")
    ok(foreign.ask("GET /ledgers"), 200)


def test_an_owner_in_the_address_must_be_that_of_the_key(keys: Keys) -> None:
    reader = keys.make("ledgers:read")
    refused(keys.master.ask(f"DELETE /api-keys/{reader.key_id}?owner=office"), 404, "APIKEY_NOT_FOUND")
    assert keys.master.ask(f"DELETE /api-keys/{reader.key_id}?owner=shop").status_code == 204


@pytest.mark.parametrize("key_id", ["api_key_01928ee1-7e5a-7000-8000-000000000000", "api_key_x", "x"])
def test_an_unknown_key_is_not_found(keys: Keys, key_id: str) -> None:
    refused(keys.master.ask(f"DELETE /api-keys/{key_id}"), 404, "APIKEY_NOT_FOUND", "API key not found")
    refused(keys.master.ask(f"POST /api-keys/{key_id}/rotate"), 404, "APIKEY_NOT_FOUND", "API key not found")


def test_a_service_without_a_key_has_no_keys(database_url: str) -> None:
    app = create_app({"DATABASE_URL": database_url})
    for route in ("POST /api-keys", "GET /api-keys?owner=shop", "DELETE /api-keys/x", "POST /api-keys/x/rotate"):
        response = Holder(app, "").ask(
            route, **({"json": asked(["ledgers:read"])} if route == "POST /api-keys" else {})
        )
        refused(response, 401, "AUTH_MISSING_PRINCIPAL")
    close(app)


# A child never exceeds its parent


BEYOND: list[tuple[dict[str, Any], str]] = [
    ({"scopes": ["ledgers:*", "balances:read"]}, "cannot grant scopes broader than caller"),
    ({"scopes": ["*:*"]}, "cannot grant scopes broader than caller"),
    ({"scopes": ["transactions:*"]}, "cannot grant scopes broader than caller"),
    ({"scopes": ["transactions:post_overdraft"]}, "cannot grant scopes broader than caller"),
    ({"expires_at": later(days=3)}, "cannot make a key that lasts longer than the caller"),
    ({"reach": {"indicators": ["@Tills", "@Other"]}}, "cannot grant a reach beyond that of the caller"),
    ({"reach": {"networks": ["126.0.0.0/7"]}}, "cannot grant a reach beyond that of the caller"),
    ({"reach": {"networks": ["::/0"]}}, "cannot grant a reach beyond that of the caller"),
    ({"reach": {"largest_amount": 101}}, "cannot grant a reach beyond that of the caller"),
    ({"reach": {"largest_amount": {"USD": 5, "EUR": 101}}}, "cannot grant a reach beyond that of the caller"),
    ({"reach": {"largest_overdraft": 1}}, "cannot grant a reach beyond that of the caller"),
    ({"reach": {"largest_overdraft": {"EUR": 1}}}, "cannot grant a reach beyond that of the caller"),
    ({"reach": {"rate": "50/101"}}, "cannot grant a reach beyond that of the caller"),
    ({"reach": {"rate": "51/60"}}, "cannot grant a reach beyond that of the caller"),
]


def test_a_key_cannot_make_one_that_exceeds_it(keys: Keys) -> None:
    parent = keys.make(*MANAGER, expires_at=later(days=2), reach=REACH)
    for fields, message in BEYOND:
        response = parent.ask("POST /api-keys", json=asked(["ledgers:read"]) | fields)
        refused(response, 403, "AUTH_SCOPE_ESCALATION", message)
    assert [key["api_key_id"] for key in keys.list()] == [parent.key_id]


REACH = {
    "indicators": ["@Tills", "@Pool"],
    "networks": ["127.0.0.0/8"],
    "largest_amount": 100,
    "largest_overdraft": {"USD": 10},
    "rate": "50/100",
}


def test_a_key_of_one_ledger_makes_none_for_the_names_of_another(keys: Keys) -> None:
    """Names are in the General Ledger, which the parent does not reach."""
    parent = keys.make(*MANAGER, reach={"ledgers": ["ldg_a"]})
    names = {"reach": {"indicators": ["@Tills"]}}
    detail = refused(parent.ask("POST /api-keys", json=asked(["ledgers:read"]) | names), 403, "AUTH_SCOPE_ESCALATION")
    assert detail["details"] == {"reach": ["indicators"]}
    general = keys.make(*MANAGER, reach={"ledgers": ["general_ledger_id"]})
    keys.make("ledgers:read", by=general, reach=names["reach"])


def test_a_key_makes_one_that_is_within_it(keys: Keys) -> None:
    parent = keys.make(*MANAGER, expires_at=later(days=2), reach=REACH)
    narrow = {"largest_amount": {"USD": 100}, "networks": ["127.0.0.1"], "largest_overdraft": {"USD": 0}, "rate": "5"}
    keys.make("transactions:write", "transactions:post", "ledgers:read", by=parent, reach=narrow)
    child = keys.list()[0]
    assert child["created_by"] == parent.key_id
    assert child["reach"] == {**REACH, **narrow}  # What it leaves open it inherits.


def test_a_key_without_the_right_makes_none(keys: Keys) -> None:
    reader = keys.make("api-keys:read", "ledgers:read")
    response = reader.ask("POST /api-keys", json=asked(["ledgers:read"]))
    refused(response, 403, "AUTH_INSUFFICIENT_PERMISSIONS", "Insufficient permissions for api-keys:write")


# Rotation


def test_the_secret_of_before_works_for_the_overlap(keys: Keys, engine: Engine) -> None:
    old = keys.make("ledgers:read")
    rotated = ok(keys.master.ask(f"POST /api-keys/{old.key_id}/rotate", json={"overlap_s": 600}), 201)
    assert rotated["api_key_id"] == old.key_id and rotated["key"] != old.secret
    assert 590 < _seconds_to(rotated["overlap_until"]) <= 600
    ok(old.ask("GET /ledgers"), 200)
    ok(Holder(old.app, rotated["key"]).ask("GET /ledgers"), 200)
    _forget(keys)
    with begin(engine) as conn:
        conn.execute(text("UPDATE api_key_secrets SET ends_at = clock_timestamp() WHERE ends_at IS NOT NULL"))
    refused(old.ask("GET /ledgers"), 401, "AUTH_EXPIRED_API_KEY")
    ok(Holder(old.app, rotated["key"]).ask("GET /ledgers"), 200)
    (listed,) = keys.list()
    assert "overlap_until" not in listed and listed["key_prefix"] == rotated["key_prefix"]


def test_a_second_rotation_does_not_prolong_the_first_overlap(keys: Keys) -> None:
    first = keys.make("ledgers:read")
    rotate = f"POST /api-keys/{first.key_id}/rotate"
    second = Holder(first.app, ok(keys.master.ask(rotate, json={"overlap_s": 0}), 201)["key"])
    ok(keys.master.ask(rotate, json={"overlap_s": 600}), 201)
    refused(first.ask("GET /ledgers"), 401, "AUTH_EXPIRED_API_KEY")
    ok(second.ask("GET /ledgers"), 200)


def test_the_default_overlap_is_an_hour(keys: Keys) -> None:
    rotated = ok(keys.master.ask(f"POST /api-keys/{keys.make('ledgers:read').key_id}/rotate"), 201)
    assert 3_590 < _seconds_to(rotated["overlap_until"]) <= 3_600


@pytest.mark.parametrize("overlap_s", [-1, 30 * 86_400 + 1])
def test_an_overlap_has_bounds(keys: Keys, overlap_s: int) -> None:
    rotate = f"POST /api-keys/{keys.make('ledgers:read').key_id}/rotate"
    refused(keys.master.ask(rotate, json={"overlap_s": overlap_s}), 400, "GEN_VALIDATION_ERROR")


def test_a_key_cannot_get_the_secret_of_one_that_may_more(keys: Keys) -> None:
    weak, strong = keys.make("api-keys:write", "ledgers:read"), keys.make("ledgers:*")
    rotate = f"POST /api-keys/{strong.key_id}/rotate"
    refused(weak.ask(rotate), 403, "AUTH_SCOPE_ESCALATION", "cannot grant scopes broader than caller")
    ok(weak.ask(f"POST /api-keys/{weak.key_id}/rotate"), 201)


def test_a_revoked_or_expired_key_is_not_rotated(keys: Keys, engine: Engine) -> None:
    revoked, expired = keys.make("ledgers:read"), keys.make("ledgers:read")
    assert keys.master.ask(f"DELETE /api-keys/{revoked.key_id}").status_code == 204
    _expire(engine, expired)
    for key, how in ((revoked, "revoked"), (expired, "expired")):
        response = keys.master.ask(f"POST /api-keys/{key.key_id}/rotate")
        refused(response, 409, "GEN_CONFLICT", f"the key is {how}; make another")


# Revocation and expiry


def test_a_revoked_key_is_listed_and_refused(keys: Keys) -> None:
    reader = keys.make("ledgers:read")
    response = keys.master.ask(f"DELETE /api-keys/{reader.key_id}")
    assert (response.status_code, response.data) == (204, b"")
    refused(reader.ask("GET /ledgers"), 401, "AUTH_EXPIRED_API_KEY", "API key is expired or revoked")
    (listed,) = keys.list()
    assert listed["is_revoked"] and listed["revoked_at"] > listed["created_at"]
    again = keys.master.ask(f"DELETE /api-keys/{reader.key_id}")
    assert again.status_code == 204
    assert keys.list() == [listed]


def test_an_expired_key_is_refused(keys: Keys, engine: Engine) -> None:
    reader = keys.make("ledgers:read")
    ok(reader.ask("GET /ledgers"), 200)
    _expire(engine, reader)
    _forget(keys)
    refused(reader.ask("GET /ledgers"), 401, "AUTH_EXPIRED_API_KEY")


def test_a_key_may_revoke_itself_when_it_has_the_right(keys: Keys) -> None:
    own = keys.make("api-keys:delete")
    assert own.ask(f"DELETE /api-keys/{own.key_id}").status_code == 204
    _forget(keys)
    refused(own.ask("GET /api-keys"), 401, "AUTH_EXPIRED_API_KEY")


def test_the_pepper_is_not_in_the_database(keys: Keys, database_url: str) -> None:
    reader = keys.make("ledgers:read")
    other = create_app(
        {"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": keys.master.secret, "PACIOLI_PEPPER": "f3a19c" * 11}
    )
    refused(Holder(other, reader.secret).ask("GET /ledgers"), 401, "AUTH_INVALID_API_KEY")
    close(other)


def _seconds_to(time: str) -> float:
    return (datetime.fromisoformat(time) - datetime.now(UTC)).total_seconds()


def _expire(engine: Engine, key: Holder) -> None:
    with begin(engine) as conn:
        conn.execute(
            text(
                "UPDATE api_keys SET created_at = created_at - interval '1 day', expires_at = clock_timestamp() "
                "WHERE 'api_key_' || id = :id"
            ),
            {"id": key.key_id},
        )


@pytest.mark.parametrize(
    "largest", [b"1e400", b'"1e400"', b'{"USD": 1e400, "EUR": 0.1}', b"9" * 400, b"5", b"100.250000000000000001"]
)
def test_a_key_of_any_reach_is_verified_exactly(keys: Keys, engine: Engine, largest: bytes) -> None:
    body = json.dumps({**asked(["ledgers:read"]), "reach": {"largest_amount": "LARGEST"}}).encode()
    body = body.replace(b'"LARGEST"', largest)
    ok(keys.master.ask("POST /api-keys", data=body, content_type="application/json"), 201)
    assert verify_all(engine).problems == []
    slightly = "UPDATE api_keys SET reach = replace(reach::text, '100.250000000000000001', '100.25')::jsonb"
    with begin(engine) as conn:
        altered = conn.execute(text(f"{slightly} WHERE reach::text LIKE '%100.25%'")).rowcount
    assert [each.table for each in verify_all(engine).problems] == ["api_keys"] * altered
    with begin(engine) as conn:
        conn.execute(text("""UPDATE api_keys SET reach = '{"beauty": []}'"""))
    assert [each.table for each in verify_all(engine).problems] == ["api_keys"]


def _forget(keys: Keys) -> None:
    """Let the second pass for which a process remembers a key."""
    keys.app.extensions["pacioli"].ring._entries.clear()


ODD = (
    "NaN", "-0", "1e999999999", "0.1e-99999", "{}", "[]", '""', '"x"', "null", "true", '"\\ud800"', '{"USD":null}', "[1]",
    "[null]", '["@a"]', '["fe80::1%eth0"]', '"0/0"', "12345678901234567890" * 60,
)  # fmt: skip
"""JSON that some field may not have."""


def test_no_value_of_any_field_is_an_error_of_ours(keys: Keys) -> None:
    whole = json.dumps(asked(["ledgers:read"]))[:-1]
    bounds = ("ledgers", "indicators", "networks", "largest_amount", "largest_overdraft", "rate")
    for odd in ODD:
        bodies = [f'{whole},"{field}":{odd}}}' for field in ("name", "owner", "scopes", "expires_at", "reach")]
        bodies += [f'{whole},"reach":{{"{field}":{odd}}}}}' for field in bounds]
        for body in bodies:
            response = keys.master.ask("POST /api-keys", data=body, content_type="application/json")
            assert response.status_code in (201, 400), (body, response.text)
    rotate = f"POST /api-keys/{keys.make('ledgers:read').key_id}/rotate"
    for odd in ODD:
        response = keys.master.ask(rotate, data=f'{{"overlap_s":{odd}}}', content_type="application/json")
        assert response.status_code in (201, 400), (odd, response.text)
