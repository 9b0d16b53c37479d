"""Every dependency is locked: each version has its hashes, and fits what pyproject.toml asks for."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]


def locked(kind: str) -> dict[str, list[str]]:
    """The versions of each package in a lock, which may be several for several platforms."""
    versions: dict[str, list[str]] = {}
    for block in re.split(r"\n(?=\S)", (ROOT / "ops" / "requirements" / f"{kind}.txt").read_text()):
        if not block.startswith("#"):
            found = re.match(
                r"([\w.-]+)==(\S+)(?: ; [^\\]+)? \\\n(    --hash=sha256:[0-9a-f]{64}(?: \\\n|\n?$))+", block
            )
            assert found is not None, block[:200]
            versions.setdefault(canonicalize_name(found[1]), []).append(found[2])
    return versions


def wanted(*extras: str) -> list[Requirement]:
    """The requirements of pyproject.toml, with the extras that an extra has in it."""
    texts = PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["build"]
    for extra in extras:
        texts = texts + EXTRAS[extra]
    found = [Requirement(text) for text in texts]
    inner = [name for each in found if each.name == "pacioli" for name in each.extras if name not in extras]
    return wanted(*extras, *inner) if inner else [each for each in found if each.name != "pacioli"]


@pytest.mark.parametrize(("kind", "extras"), [("service", ()), ("docs", ("docs",)), ("test", ("test",))])
def test_the_lock_fits_the_project_and_has_a_hash_for_each_file(kind: str, extras: tuple[str, ...]) -> None:
    """Where it fails, ``ops/lock`` writes the locks anew."""
    versions = locked(kind)
    for requirement in wanted(*extras):
        found = versions.get(canonicalize_name(requirement.name))
        assert found, f"{requirement} is not locked: run ops/lock"
        assert all(requirement.specifier.contains(version) for version in found), (
            f"{requirement}, {found}: run ops/lock"
        )


def test_the_locks_agree_with_each_other() -> None:
    service, docs, test = locked("service"), locked("docs"), locked("test")
    assert service.items() <= docs.items() <= test.items()


def test_no_lock_names_a_host() -> None:
    for path in (ROOT / "ops" / "requirements").glob("*.txt"):
        assert "://" not in path.read_text(), path
