"""``pacioli docs``: the book, built from ``docs/`` and served on this machine."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import click

from ops.numbers import Whole
from ops.server.instance import Unavailable

ROOT = Path(__file__).parents[2]
SITE = ROOT / ".site"


@click.command()
@click.option("--port", type=Whole(1, 65535), default=5002, show_default=True, help="Where it listens.")
@click.option("--build", "only_build", is_flag=True, help=f"Build the pages into {SITE.name}/, and serve nothing.")
def docs(port: int, only_build: bool) -> None:
    """Build the book: the tutorial, how-to pages, reference, explanation and decisions. Serve it on this machine.

    \b
    Examples:
      pacioli docs            then open http://127.0.0.1:5002
      pacioli docs --build    into .site/, for a web server of your own
    """
    config = ROOT / "zensical.toml"
    if not config.exists():
        raise Unavailable("the book is in the repository, and this is an installed package: run it in a clone")
    if find_spec("zensical") is None:
        raise Unavailable("the book needs Zensical: run `ops/pacioli docs`, or pip install 'pacioli[docs]'")
    zensical = [sys.executable, "-m", "zensical"]
    if only_build:
        done = subprocess.run([*zensical, "build", "--strict", "--config-file", str(config)], check=False)
        click.echo(f"The book is in {SITE}." if done.returncode == 0 else "The book was not built.", err=True)
        sys.exit(done.returncode)
    click.echo(f"The book is at http://127.0.0.1:{port}. Ctrl-C stops it.", err=True)
    # This process becomes the server, so that whatever stops it stops the server.
    os.execv(sys.executable, [*zensical, "serve", "-a", f"127.0.0.1:{port}", "-f", str(config)])  # nosec B606
