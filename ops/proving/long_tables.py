"""Shows what ``pacioli bench --long`` found."""

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from ops.proving.long import Found
from ops.proving.reads import Timing

AIM_MS = 50.0
"""A read takes no longer at p99, however long the past is, or its answer says that it ended early."""


def as_json(found: Found) -> dict[str, Any]:
    """Return what was found as values for JSON."""
    disk = found.disk
    return {
        "rows": found.rows,
        "work": [row._asdict() for row in found.work],
        "disk": {
            "bytes_each": round(disk.bytes_each, 1),
            "relations": [
                {**size._asdict(), "bytes_each": round(size.bytes / disk.transactions, 1)} for size in disk.sizes
            ],
        },
        "reads": [{**timing._asdict(), "verdict": verdict(timing)} for timing in found.reads],
    }


def tables(found: Found) -> Iterator[Table]:
    """Yield the tables of the disk and of the reads."""
    disk = found.disk
    table = Table(title=f"disk, {disk.bytes_each:,.0f} bytes a transaction")
    table.add_column("")
    table.add_column("bytes a transaction", justify="right")
    for size in disk.sizes:
        if size.bytes / disk.transactions >= 0.05:
            name = size.relation if size.relation == size.table else f"  {size.relation}"
            table.add_row(name, f"{size.bytes / disk.transactions:.1f}")
    yield table
    table = Table(title=f"reads over {found.rows:,} rows")
    table.add_column("")
    for column in ("p50 ms", "p99 ms", "CPU ms", "asked", "truncated"):
        table.add_column(column, justify="right")
    table.add_column("")
    for timing in found.reads:
        table.add_row(
            timing.name,
            f"{timing.p50_ms:.1f}",
            f"{timing.p99_ms:.1f}",
            "" if timing.cpu_ms is None else f"{timing.cpu_ms:.1f}",
            str(timing.asked),
            f"{timing.truncated:.0%}" if timing.truncated else "",
            verdict(timing),
        )
    yield table


def verdict(timing: Timing) -> str:
    """Say whether a read is quick, bounded, refused or slow."""
    if refused := sorted(status for status in timing.statuses if status not in (200, 400, 404)):
        return f"refused: {', '.join(map(str, refused))}"
    if timing.p99_ms < AIM_MS:
        return "quick"
    return "bounded" if timing.truncated else "slow"
