"""Runs the code blocks of README.md and docs/ as a reader would who pastes them one after the other.

A block fenced as ``sh`` is run by bash, all blocks of a page in one shell. A block fenced as ``text`` right after it shows
what it prints; ``...`` there stands for anything within a line. A block fenced as ``python`` is run by Python. Blocks of any
other kind show what is not run, and ``test_pages.py`` allows only those that it names.
"""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"^( *)```(\S*)[^\n]*\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_MARK = "##block"


def runs_something(page: Path) -> bool:
    """Whether a page has a block that a reader can paste."""
    return any(block.kind in ("sh", "python") for block in blocks(page))


def links(page: Path) -> Iterator[Path]:
    """The files that a page links to."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        yield page.parent / target


FIRST_PAGE = ROOT / "docs" / "tutorial" / "first-transaction.md"
"""Defines the shell functions that all pages use."""


class Block(NamedTuple):
    """One fenced block of a page: the word after its fence, its text, and the line that it starts in."""

    kind: str
    text: str
    line: int


class Ran(NamedTuple):
    """One ``sh`` or ``python`` block with what the page shows, if it shows anything, and what was printed."""

    block: Block
    shown: str | None
    printed: str


def pages() -> list[Path]:
    """The README, then every page of the book, in the order of their paths."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text()
    for found in _FENCE.finditer(text):
        indent = len(found[1])
        lines = "".join(line[indent:] if line.strip() else line for line in found[3].splitlines(keepends=True))
        yield Block(found[2], lines, text.count("\n", 0, found.start()) + 1)


_FUNCTIONS = next(block.text for block in blocks(FIRST_PAGE) if block.kind == "sh")


def run(page: Path, url: str, folder: Path, env: Mapping[str, str], skip: frozenset[str] = frozenset()) -> list[Ran]:
    """Run the blocks of a page against the service at ``url``, in a folder of its own.

    Blocks whose whole text is in ``skip`` are left out: something else runs them.

    Raises:
        AssertionError: the shell or Python failed, with what it printed.
    """
    found = list(blocks(page))
    script = ["set -euo pipefail", _FUNCTIONS]
    run_here = []
    for number, block in enumerate(found):
        if block.kind not in ("sh", "python") or block.text in skip:
            continue
        run_here.append(number)
        script.append(f"echo '{_MARK} {number}'")
        if block.kind == "python":
            file = folder / f"block_{number}.py"
            file.write_text(block.text)
            script.append(f"{sys.executable} {file}")
        else:
            script.append(block.text)
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=folder,
        env={**env, "PACIOLI_URL": url},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, f"{page.name}: exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    printed = dict(re.findall(rf"^{_MARK} (\d+)\n(.*?)(?=^{_MARK} |\Z)", done.stdout, re.DOTALL | re.MULTILINE))
    return [
        Ran(
            found[number],
            found[number + 1].text if number + 1 < len(found) and found[number + 1].kind == "text" else None,
            printed[str(number)],
        )
        for number in run_here
    ]


def matches(shown: str, printed: str) -> bool:
    """Whether a page shows what was printed. Blank space at the ends of lines does not count."""
    pattern = "\n".join(
        ".*".join(map(re.escape, line.rstrip().split("..."))) for line in shown.strip("\n").splitlines()
    )
    text = "\n".join(line.rstrip() for line in printed.strip("\n").splitlines())
    return re.fullmatch(pattern, text) is not None
