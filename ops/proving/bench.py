"""``pacioli bench``: rates, what they cost in CPU time, and floors, measured in one run, on servers of its own.

A rate swings with whatever else the machine does. The CPU microseconds that a row costs all parts of the service
together hardly do: compare those, and each part's share. A *floor* does the least that must be done for the same rows.
"""

import gc
import json
import os
import platform
import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from ops.proving.core_rates import CoreRates
from ops.proving.http_rates import HttpRates
from ops.proving.rows import Row
from ops.server.temporary import running


@click.command()
@click.option("--quick", is_flag=True, help="Do a tenth of the work, which shows that the bench runs.")
@click.option("--only", type=click.Choice(["core", "http"]), help="Measure only this half.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.option(
    "--checkout",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Measure the service of another checkout of Pacioli, with its .venv, over HTTP.",
)
def bench(quick: bool, only: str | None, as_json: bool, checkout: Path | None) -> None:
    """Measure the hot paths: floors, append, drain, single and bulk POSTs, funding, time to applied.

    The command starts a service of its own in a temporary folder, and takes some minutes.

    \b
    Examples:
      pacioli bench
      pacioli bench --quick --only core
      pacioli bench --checkout ../pacioli-before --json
    """
    if checkout is not None and only == "core":
        raise click.UsageError("another checkout is measured over HTTP only")
    if checkout is not None and not (checkout / ".venv" / "bin" / "python").exists():
        raise click.UsageError(f"{checkout} has no .venv: run {checkout}/ops/pacioli --help once, which makes it")
    scale = 0.1 if quick else 1.0
    console = Console(stderr=True)
    rows: list[Row] = []
    gc.set_threshold(100_000, 20, 20)  # As the workers have it.
    with (
        tempfile.TemporaryDirectory(prefix="pacioli-bench-") as folder,
        running(Path(folder), checkout=checkout) as service,
        console.status("") as status,
    ):
        state = service.state
        if only != "http" and checkout is None:
            owner = state.get("owner_url") or state["database_url"]  # An older release has one role.
            rows += CoreRates(owner, state["pids"].get("postgres"), scale, status.update).measure()
        if only != "core":
            rows += HttpRates(service, scale, status.update).measure()
    machine = _machine()
    if as_json:
        click.echo(json.dumps({"machine": machine, "rows": [row._asdict() for row in rows]}, indent=2))
        return
    Console().print(_table(rows, machine))


def _table(rows: list[Row], machine: str) -> Table:
    table = Table(title="pacioli bench", caption=machine)
    table.add_column("")
    for column in ("per second", "ratio"):
        table.add_column(column, justify="right")
    table.add_column("to")
    table.add_column("CPU µs each", justify="right")
    for column in ("of which", "aim"):
        table.add_column(column)
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        unit = f"{row.rate:.1f} ms" if row.name.startswith("time") else f"{row.rate:,.0f}"
        cpu = "" if row.cpu_us is None else f"{row.cpu_us:,.0f}"
        shares = ", ".join(f"{part} {share:.0%}" for part, share in (row.shares or {}).items())
        table.add_row(row.name, unit, ratio, row.against, cpu, shares, row.aim)
    return table


def _machine() -> str:
    """Describe this machine in one line."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(": ")[2] for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores, {model}, {memory_gib:.0f} GiB, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}, Postgres 18 and load generator on the same machine"
    )
