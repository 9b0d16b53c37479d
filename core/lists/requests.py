"""Defines the body of a request for a list."""

from typing import Annotated, Any

from msgspec import Meta, Struct


class FilterClause(Struct, forbid_unknown_fields=True):
    """One condition of a filter."""

    field: Annotated[str, Meta(description="A field of the list, or meta_data.<key>.")]
    operator: Annotated[
        str, Meta(description="The operator: eq, ne, gt, gte, lt, lte, in, between, like, ilike, isnull or isnotnull.")
    ]
    value: Annotated[Any, Meta(description="The value to compare with.")] = None
    values: Annotated[list[Any], Meta(description="The values of in and between.")] | None = None


class FilterRequest(Struct, forbid_unknown_fields=True):
    """The body of ``POST /transactions/filter``, and of the same for balances and ledgers."""

    filters: list[FilterClause] | None = None
    logical_operator: Annotated[str, Meta(description="and (the default) or or, between the filters.")] | None = None
    limit: int | None = None
    offset: int | None = None
    after: (
        Annotated[str | int, Meta(description="The row that ended the page before. Its Link header has it.")] | None
    ) = None
    sort_by: str | None = None
    sort_order: Annotated[str, Meta(description="The order: desc (the default) or asc.")] | None = None
    include_count: Annotated[bool, Meta(description="Answer with data and total_count.")] | None = None
