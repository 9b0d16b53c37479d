"""What a list may be asked for in a body."""

from typing import Annotated, Any

from msgspec import Meta, Struct


class FilterClause(Struct, forbid_unknown_fields=True):
    """One condition of a filter."""

    field: Annotated[str, Meta(description="A field of what is listed, or meta_data.<key>.")]
    operator: Annotated[
        str, Meta(description="eq, ne, gt, gte, lt, lte, in, between, like, ilike, isnull or isnotnull.")
    ]
    value: Annotated[Any, Meta(description="What to compare with.")] = None
    values: Annotated[list[Any], Meta(description="Of in and between.")] | None = None


class FilterRequest(Struct, forbid_unknown_fields=True):
    """``POST /transactions/filter``, and the same of balances and ledgers."""

    filters: list[FilterClause] | None = None
    logical_operator: Annotated[str, Meta(description="and, unless told otherwise, or or.")] | None = None
    limit: int | None = None
    offset: int | None = None
    after: Annotated[str | int, Meta(description="Where the page before ended, as its Link header has it.")] | None = (
        None
    )
    sort_by: str | None = None
    sort_order: Annotated[str, Meta(description="desc, unless told otherwise, or asc.")] | None = None
    include_count: Annotated[bool, Meta(description="Answer with data and total_count.")] | None = None
