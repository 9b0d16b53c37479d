"""Scopes and rights: what covers what, and who acts."""

import threading

import pytest

from core.base.actors import (
    ANONYMOUS,
    MASTER,
    NOBODY,
    SCOPES,
    SERVICE,
    TICK,
    Actor,
    Part,
    Right,
    acting_for,
    current,
    grants,
    nearest_scope,
    require,
    rights_of,
)
from core.base.errors import ErrorCode, Forbidden


def of(resource: str) -> set[Right]:
    return {right for right in Right if right.startswith(f"{resource}:")}


def test_write_covers_all_of_transactions_but_an_overdraft() -> None:
    assert rights_of(("transactions:write",)) == of("transactions") - {Right.TRANSACTIONS_POST_OVERDRAFT}
    assert rights_of(("transactions:*",)) == of("transactions")


@pytest.mark.parametrize(
    ("scope", "covered"),
    [
        ("ledgers:write", {Right.LEDGERS_WRITE}),
        ("balances:write", {Right.BALANCES_WRITE, Right.BALANCES_CREATE_INDICATOR}),
        ("funding:write", {Right.FUNDING_CREATE, Right.FUNDING_CONTROL}),
        ("queues:write", {Right.QUEUES_RECOVER}),
        ("identities:write", {Right.IDENTITIES_WRITE}),
        ("identities:*", of("identities")),
        ("*:refund", {Right.TRANSACTIONS_REFUND}),
        ("*:*", set(Right)),
    ],
)
def test_a_scope_covers(scope: str, covered: set[Right]) -> None:
    assert rights_of((scope,)) == covered


def test_any_read_covers_all_reads_and_nothing_else() -> None:
    assert rights_of(("*:read",)) == {right for right in Right if right.endswith(":read")}


def test_any_write_covers_neither_overdraft_nor_approval_nor_clear_text_nor_deletion() -> None:
    covered = rights_of(("*:write",))
    never = {
        Right.TRANSACTIONS_POST_OVERDRAFT,
        Right.FUNDING_APPROVE,
        Right.IDENTITIES_DETOKENIZE,
        Right.LEDGERS_DELETE,
    }
    assert covered & never == set()
    assert {Right.LEDGERS_WRITE, Right.TRANSACTIONS_POST, Right.API_KEYS_WRITE} <= covered


@pytest.mark.parametrize(
    ("scope", "wanted", "granted"),
    [
        ("*:read", "ledgers:read", True),
        ("ledgers:*", "ledgers:write", True),
        ("ledgers:read", "ledgers:*", False),
        ("ledgers:*", "*:*", False),
        ("*:write", "transactions:write", True),
        ("transactions:write", "*:write", False),
        ("transactions:write", "transactions:post", True),
        ("transactions:write", "transactions:post_overdraft", False),
        ("transactions:write", "transactions:*", False),
        ("*:*", "transactions:*", True),
        ("balances:*", "ledgers:read", False),
    ],
)
def test_a_scope_grants_another(scope: str, wanted: str, granted: bool) -> None:
    assert grants(scope, wanted) is granted


def test_a_scope_that_grants_another_covers_all_of_it() -> None:
    for scope in SCOPES:
        for wanted in SCOPES:
            if grants(scope, wanted):
                assert rights_of((wanted,)) <= rights_of((scope,)), (scope, wanted)


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("transaction:write", "transactions:write"),
        ("Ledgers:Read", "ledgers:read"),
        ("transactions:wirte", "transactions:write"),
        ("balance:create_indicator", "balances:create_indicator"),
        ("*", "*:*"),
        ("xyzzy", None),
    ],
)
def test_a_misspelt_scope_has_a_nearest_one(text: str, near: str | None) -> None:
    assert nearest_scope(text) == near


def test_what_the_scopes_do_not_cover_is_forbidden() -> None:
    teller = Actor(key_id="api_key_1", owner="shop", scopes=("ledgers:read",), rights=rights_of(("ledgers:read",)))
    with acting_for(teller):
        require([Right.LEDGERS_READ])
        with pytest.raises(Forbidden, match=r"^Insufficient permissions for ledgers:write$") as refused:
            require([Right.LEDGERS_READ, Right.LEDGERS_WRITE])
    assert refused.value.code is ErrorCode.AUTH_INSUFFICIENT_PERMISSIONS


def test_whoever_has_shown_no_key_may_do_nothing() -> None:
    assert not any(NOBODY.may(right) for right in Right)
    assert all(actor.may(right) for actor in (MASTER, ANONYMOUS, SERVICE, TICK) for right in Right)


def test_an_actor_is_bound_to_its_own_thread() -> None:
    seen = []
    with acting_for(MASTER.through(Part.FUNDING)):
        thread = threading.Thread(target=lambda: seen.append(current()))
        thread.start()
        thread.join()
        assert (current().key_id, current().part) == ("master", Part.FUNDING)
    assert seen == [SERVICE]
    assert current() is SERVICE
