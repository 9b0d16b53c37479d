"""Requests and answers of the tests of filtered lists."""

import itertools
from typing import Any

from werkzeug.test import TestResponse

_references = itertools.count(1)
Row = dict[str, Any]


def transaction(**fields: Any) -> Row:
    """Post one cent from @World to @A by overdraft, or what the fields say. None leaves a field out."""
    body = {
        "precise_amount": 1,
        "precision": {"TRD": 3}.get(fields.get("currency", ""), 100),
        "currency": "USD",
        "reference": f"r{next(_references):04}",
        "source": "@World",
        "destination": "@A",
        "description": "a test",
        "allow_overdraft": True,
    } | fields
    return {name: value for name, value in body.items() if value is not None}


def ok(response: TestResponse, *statuses: int) -> Any:
    assert response.status_code in statuses, response.text
    return response.get_json()
