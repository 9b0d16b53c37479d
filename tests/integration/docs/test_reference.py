"""The reference pages of the book say what the code says. ``--update-docs`` writes them."""

import json
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from ops.cli.main import main
from tests.harness import reference
from tests.harness.each_right import CASES
from tests.harness.pages import ROOT
from web.http.errors import STATUS
from web.http.rights import OUT_OF_REACH, RIGHTS

Check = Callable[[str, str], None]


@pytest.fixture
def check(request: pytest.FixtureRequest) -> Check:
    """Compares a page with what it should be, or writes it."""

    def compare(name: str, text: str) -> None:
        page = ROOT / "docs" / "reference" / name
        if request.config.getoption("--update-docs"):
            page.write_text(text)
        assert page.read_text() == text, f"{page} is old: run this test with --update-docs, and commit the page"

    return compare


def test_the_page_of_the_command_line_is_what_help_says(check: Check) -> None:
    check("cli.md", reference.command_line(main))


def test_the_page_of_the_http_api_is_what_the_document_says(check: Check, client: FlaskClient) -> None:
    check("http-api.md", reference.http_api(client.get("/openapi.json").get_json()))


@pytest.mark.smoke
def test_the_page_of_errors_is_what_the_codes_say(check: Check) -> None:
    check("errors.md", reference.errors(STATUS))


def test_the_page_of_rights_is_what_the_table_of_routes_says(check: Check) -> None:
    check("rights.md", reference.rights(RIGHTS, OUT_OF_REACH, CASES))


def test_the_page_of_settings_is_what_the_table_says(check: Check) -> None:
    check("settings.md", reference.settings())


def test_the_page_of_performance_is_what_the_bench_printed(check: Check) -> None:
    check(
        "performance.md",
        reference.performance(json.loads((ROOT / "docs" / "reference" / "performance.json").read_text())),
    )


def test_the_page_of_clients_is_what_the_routes_answer(check: Check, client: FlaskClient) -> None:
    check("clients.md", reference.clients(client.get("/openapi.json").get_json()))


def test_methods_of_blnks_client_are_read_from_its_source() -> None:
    methods = {(one.service, one.name): (one.verb, one.path) for one in reference.blnk_methods()}
    assert methods["LedgerBalances", "get_at"] == ("GET", "/balances/{}/at")
    assert methods["Transactions", "update_status"] == ("PUT", "/transactions/inflight/{}")
    assert methods["Hooks", "list"] == ("GET", "/hooks")
