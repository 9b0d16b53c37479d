"""Each right: the request that a key with it may make, and that a key with all others may not."""

from collections.abc import Iterator
from secrets import token_hex

import pytest

from core.base.actors import Right, grants
from tests.harness.api import close, refused
from tests.harness.databases import new_database
from tests.harness.each_right import APPROVE_ABOVE, CASES, Case, World
from tests.harness.key_ring import Keys
from tests.harness.keys import KEY
from web.accept.doorbell import Doorbell
from web.app import create_app
from web.http.rights import RIGHTS


@pytest.fixture(scope="module")
def world(postgres: str) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Doorbell, "ring", lambda self, queues: None)
        patch.setattr(Doorbell, "wake", lambda self, task: None)
        environ = {"DATABASE_URL": new_database(postgres), "PACIOLI_SECRET_KEY": KEY}
        settings = {
            "PACIOLI_APPROVE_ABOVE": str(APPROVE_ABOVE),
            "PACIOLI_TOKENIZATION_SECRET": token_hex(32),
        }
        app = create_app({**environ, **settings})
        yield World(Keys(app))
        close(app)


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.right))
def test_a_right_is_needed_and_is_enough(world: World, case: Case) -> None:
    enough = world.keys.make(case.right, *case.beside)
    response = case.by(enough, world)
    assert response.status_code < 300, response.text
    would_do = (case.right, *case.instead)
    others = [right for right in Right if not any(grants(right, each) for each in would_do)]
    detail = refused(case.by(world.keys.make(*others), world), 403, "AUTH_INSUFFICIENT_PERMISSIONS")
    assert detail["details"]["required"] in would_do
    assert detail["message"] == f"Insufficient permissions for {detail['details']['required']}"


def test_each_right_that_a_route_or_a_body_asks_for_is_tried() -> None:
    of_bodies = {Right.TRANSACTIONS_POST_OVERDRAFT, Right.BALANCES_CREATE_INDICATOR}
    of_routes = {right for route, rights in RIGHTS.items() if "/hooks" not in route for right in rights}
    assert {case.right for case in CASES} == of_routes | of_bodies  # Hooks are for the master key, whatever the rights.
