"""The client, talking to the whole service."""

from collections.abc import Iterator

import pytest

from tests.harness.blnk import Client


@pytest.fixture
def client(service: str) -> Iterator[Client]:
    client = Client(service)
    with client.blnk:
        yield client
