"""``pacioli bench``: rates, what they cost in CPU time, and floors, measured in one run, on servers of its own.

A rate swings with whatever else the machine does. The CPU microseconds that a row costs all parts of the service
together hardly do: compare those, and each part's share. A *floor* does the least that must be done for the same rows.
"""

import gc
import json
import os
import platform
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from urllib.parse import urlsplit

import click
import msgspec
import psutil
from rich import progress as shown
from rich.console import Console
from rich.table import Table

from core.base.db import connect, reading
from core.ledger.store import sizes
from ops.numbers import Whole
from ops.proving import long, long_tables
from ops.proving.core_rates import CoreRates
from ops.proving.http_rates import HttpRates
from ops.proving.profiling import profiled
from ops.proving.rows import Row, Say
from ops.proving.versus import Pair, Server, Versus, listening
from ops.server.temporary import Running, running


@click.command()
@click.option("--quick", is_flag=True, help="Do a tenth of the work, which shows that the bench runs.")
@click.option("--only", type=click.Choice(["core", "http"]), help="Measure only this half.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.option(
    "--checkout",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Measure the service of another checkout of Pacioli, with its .venv, over HTTP.",
)
@click.option(
    "--vs", metavar="URL", help="Give the same work in turn to the server at this URL, which speaks the same API."
)
@click.option(
    "--vs-key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The file that holds that server's key.",
)
@click.option(
    "--vs-pid",
    "vs_pids",
    multiple=True,
    metavar="PART=PID",
    help="A process of that server whose CPU time counts, such as postgres=4711. May be repeated. Whoever listens at a "
    "URL of this machine is found.",
)
@click.option(
    "--profile",
    "profile",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Write a profile of each part there, for https://www.speedscope.app. It needs py-spy.",
)
@click.option(
    "--long",
    "rows",
    type=Whole(min=1_000),
    metavar="ROWS",
    help="Fill a ledger with a past of so many rows, and measure every read, append, drain and verify on it.",
)
@click.option(
    "--long-folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Keep that ledger there. When it is there already, it is measured again.",
)
def bench(
    quick: bool,
    only: str | None,
    as_json: bool,
    checkout: Path | None,
    vs: str | None,
    vs_key_file: Path | None,
    vs_pids: tuple[str, ...],
    profile: Path | None,
    rows: int | None,
    long_folder: Path | None,
) -> None:
    """Measure the hot paths: floors, append, drain, single and bulk POSTs, funding, time to applied.

    The command starts a service of its own in a temporary folder, and takes some minutes. With --vs it measures what both
    servers *applied*, and how much they refused or left undone.

    \b
    Examples:
      pacioli bench
      pacioli bench --quick --only core
      pacioli bench --checkout ../pacioli-before --json
      pacioli bench --vs http://127.0.0.1:5001 --vs-key-file key --vs-pid postgres=4711
      pacioli bench --only http --profile profiles
      pacioli bench --long 2000000 --long-folder past
    """
    if rows is not None:
        if only or checkout or vs or profile:
            raise click.UsageError("--long goes with --long-folder, --quick and --json alone")
        _bench_long(rows, long_folder, quick=quick, as_json=as_json)
        return
    if long_folder is not None:
        raise click.UsageError("--long-folder belongs to --long ROWS")
    if checkout is not None and only == "core":
        raise click.UsageError("another checkout is measured over HTTP only")
    if vs is not None and only == "core":
        raise click.UsageError("another server is measured over HTTP only")
    if vs is None and (vs_key_file or vs_pids):
        raise click.UsageError("--vs-key-file and --vs-pid belong to --vs URL")
    if checkout is not None and not (checkout / ".venv" / "bin" / "python").exists():
        raise click.UsageError(f"{checkout} has no .venv: run {checkout}/ops/pacioli --help once, which makes it")
    theirs = None if vs is None else _other(vs, vs_key_file, vs_pids)
    scale = 0.1 if quick else 1.0
    console = Console(stderr=True)
    gc.set_threshold(100_000, 20, 20)  # As the workers have it.
    found_rows: list[Row] = []
    pairs: list[Pair] = []
    with (
        tempfile.TemporaryDirectory(prefix="pacioli-bench-") as folder,
        running(Path(folder), checkout=checkout) as service,
        nullcontext() if profile is None else profiled(service.state["pids"], profile),
        console.status("") as status,
    ):
        if theirs is not None:
            ours = Server(name="pacioli", url=service.url, headers=service.headers, pids=service.state["pids"])
            pairs = list(Versus(ours, theirs, scale, 1 if quick else 3, status.update).measure())
        else:
            both = ("core", "http") if checkout is None else ("http",)
            found_rows = list(_rows(service, scale, status.update, halves=both if only is None else (only,)))
    machine = _machine()
    if as_json:
        found = (
            {"rows": [row._asdict() for row in found_rows]} if theirs is None else {"pairs": msgspec.to_builtins(pairs)}
        )
        click.echo(json.dumps({"machine": machine, **found}, indent=2))
        return
    shown = Console()
    if not shown.is_terminal:
        shown.width = 140  # A file has no edge.
    shown.print(_table(found_rows, machine) if theirs is None else _pairs_table(pairs, theirs, machine))


def _bench_long(rows: int, kept: Path | None, *, quick: bool, as_json: bool) -> None:
    gc.set_threshold(100_000, 20, 20)  # As the workers have it.
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="pacioli-bench-") if kept is None else nullcontext(kept) as folder,
        shown.Progress(console=Console(stderr=True), transient=True) as bar,
    ):
        task = bar.add_task("", total=None)
        found = long.measure(
            Path(folder),
            rows,
            quick=quick,
            progress=lambda what, done, of: bar.update(task, description=what, completed=done, total=of or None),
        )
    machine = _machine()
    if as_json:
        click.echo(json.dumps({"machine": machine, **long_tables.as_json(found)}, indent=2))
        return
    console = Console()
    if not console.is_terminal:
        console.width = 140  # A file has no edge.
    for table in (_table(found.work, machine), *long_tables.tables(found)):
        console.print(table)


def _rows(service: Running, scale: float, say: Say, *, halves: Sequence[str]) -> Iterator[Row]:
    """Measure one service, and the core beside it."""
    state = service.state
    if "core" in halves:
        owner = state.get("owner_url") or state["database_url"]  # An older release has one role.
        yield from CoreRates(owner, state["pids"].get("postgres"), scale, say).measure()
    if "http" in halves:
        yield from HttpRates(service, scale, say).measure()
        engine = connect(state.get("owner_url") or state["database_url"])
        with reading(engine) as conn:
            yield Row("disk of a transaction, indexes and all", sizes.disk(conn).bytes_each)
        engine.dispose()


def _other(url: str, key_file: Path | None, named: tuple[str, ...]) -> Server:
    """Return the server to measure against.

    Raises:
        click.UsageError: the URL or the name of a process cannot be understood.
    """
    address = urlsplit(url)
    if address.scheme != "http" or not address.hostname or address.path.strip("/"):
        raise click.UsageError(f"--vs takes the root of a server, such as http://127.0.0.1:5001, and not {url}")
    pids = listening(url)
    for each in named:
        part, _, pid = each.partition("=")
        if not part or not pid.isdecimal() or not psutil.pid_exists(int(pid)):
            raise click.UsageError(
                f"--vs-pid takes a part and a running process, such as postgres=4711, and not {each}"
            )
        pids[part] = int(pid)
    headers = {} if key_file is None else {"X-Blnk-Key": key_file.read_text().strip()}
    return Server(name=address.netloc, url=url.rstrip("/"), headers=headers, pids=pids)


def _pairs_table(pairs: list[Pair], theirs: Server, machine: str) -> Table:
    seen = ", ".join(f"{part} ({pid})" for part, pid in theirs.pids.items()) or "no process"
    table = Table(title=f"pacioli against {theirs.name}", caption=f"{machine}. CPU of {theirs.name}: {seen}")
    for column in ("", "server"):
        table.add_column(column)
    for column in (
        "applied/s",
        "ratio",
        "accepted/s",
        "p50 ms",
        "p99 ms",
        "CPU µs",
        "refused",
        "unanswered",
        "not applied",
    ):
        table.add_column(column, justify="right")
    for pair in pairs:
        for name, side in (("pacioli", pair.ours), (theirs.name, pair.theirs)):
            table.add_row(
                pair.name if side is pair.ours else "",
                name,
                f"{side.applied_rate:,.0f}",
                f"{pair.ratio:.2f}" if side is pair.ours else "",
                f"{side.accepted_rate:,.0f}",
                f"{side.p50_ms:.1f}",
                f"{side.p99_ms:.1f}",
                "" if side.cpu_us is None else f"{side.cpu_us:,.0f}",
                *(f"{count:,}" if count else "" for count in (side.refused, side.unanswered, side.not_applied)),
            )
    return table


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
        units = {"time": f"{row.rate:.1f} ms", "disk": f"{row.rate:,.0f} bytes"}
        unit = units.get(row.name.partition(" ")[0], f"{row.rate:,.0f}")
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
