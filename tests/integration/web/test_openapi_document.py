"""The OpenAPI document is valid, and reads well."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from openapi_spec_validator import OpenAPIV31SpecValidator

from core.ledger.store.balance_list import BALANCES
from core.ledger.store.ledger_list import LEDGERS
from core.ledger.store.transaction_list import TRANSACTIONS
from tests.harness.api import close
from web.app import create_app


@pytest.fixture
def document(database_url: str) -> Iterator[dict[str, Any]]:
    app: Flask = create_app({"DATABASE_URL": database_url})
    yield app.test_client().get("/openapi.json").get_json()
    close(app)


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_a_summary_is_a_short_sentence(document: dict[str, Any]) -> None:
    summaries = {one["operationId"]: one["summary"] for one in _operations(document)}
    assert len(summaries) > 40
    assert {name: text for name, text in summaries.items() if not 0 < len(text) <= 60 or text.count(". ")} == {}


def test_a_list_names_the_fields_that_can_be_filtered(document: dict[str, Any]) -> None:
    for resource in (BALANCES, LEDGERS, TRANSACTIONS):
        for path, method in ((f"/{resource.name}", "get"), (f"/{resource.name}/filter", "post")):
            description = document["paths"][path][method]["description"]
            assert [name for name in resource.fields if f"`{name}`" not in description] == []


def _operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in document["paths"].values() for operation in path.values()]
