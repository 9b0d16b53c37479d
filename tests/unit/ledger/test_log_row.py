from datetime import UTC, datetime
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from sqlalchemy import JSON, BigInteger, Boolean, DateTime, LargeBinary, SmallInteger, Text, Uuid

from core.base.tables.transactions import log, scheduled
from core.base.tables.types import MinorUnits
from core.ledger.rules import chain
from core.ledger.rules.log_row import COLUMNS, DIGEST_VERSION, LogRow, covered_by, leaf_of, text_of_new

STORED_AS: dict[Any, tuple[Any, ...]] = {
    int: (BigInteger, SmallInteger, type(MinorUnits)),
    str: (Text, Uuid, JSON),
    bool: (Boolean,),
    datetime: (DateTime,),
    bytes: (LargeBinary,),
}

NOT_YET = {"accepted_at"}
"""Columns that are null only in a row that is not accepted yet."""


def test_the_columns_of_the_table_are_the_fields_of_the_row() -> None:
    assert set(log.c.keys()) == set(COLUMNS)


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_has_the_type_of_its_field(name: str) -> None:
    hint = get_type_hints(LogRow)[name]
    kind, *null = get_args(hint) or (hint,)
    assert isinstance(log.c[name].type, STORED_AS[kind])
    assert log.c[name].nullable == bool(null) or name in NOT_YET


@pytest.mark.parametrize("column", scheduled.c, ids=lambda column: column.name)
def test_what_is_kept_of_a_scheduled_transaction_is_stored_as_in_the_log(column: Any) -> None:
    if column.name in ("legs", "due_at", "scheduled_at", "cancelled_at", "refused_at"):
        return
    assert type(column.type) is type(log.c[column.name].type)


def test_the_first_version_of_the_digest_covers_these_columns_in_this_order() -> None:
    # Changing this breaks every ledger there is: a column that is new is covered from the next version on.
    assert covered_by(1) == [
        "seq", "id", "reference", "kind", "queue", "source", "destination", "amount", "currency", "precision",
        "description", "allow_overdraft", "overdraft_limit", "hold_seq", "refund_of", "group_first", "group_last",
        "parent", "effective_date", "meta_data", "terms", "accepted_at",
    ]  # fmt: skip


def test_the_second_version_covers_these_columns_too() -> None:
    assert covered_by(2) == [*covered_by(1), "request_id", "actor", "part"]


def test_every_column_but_the_digest_and_its_version_is_covered() -> None:
    # The version is in the beginning of the leaf.
    assert covered_by(DIGEST_VERSION) == [name for name in COLUMNS if name not in ("digest", "digest_version")]


@given(
    st.builds(
        LogRow,
        seq=st.integers(1, 2**63),
        queue=st.none() | st.integers(0, 63),
        amount=st.integers(0, 10**40),
        description=st.text(st.characters(exclude_categories=["Cs"])),
        effective_date=st.none() | st.datetimes(timezones=st.just(UTC)),
        accepted_at=st.datetimes(timezones=st.just(UTC)),
        digest=st.none(),
        digest_version=st.just(DIGEST_VERSION),
    )
)
def test_the_text_of_a_new_row_is_what_its_digest_covers(row: LogRow) -> None:
    assert chain.leaf_of_text(DIGEST_VERSION, text_of_new(row)) == leaf_of(row)
    assert leaf_of(structs.replace(row, digest=bytes(range(32)))) == leaf_of(row)
    assert leaf_of(structs.replace(row, digest=b"short")) == leaf_of(row)
