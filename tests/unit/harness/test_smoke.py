"""``--quick`` leaves no feature out."""

from pathlib import Path

import pytest

INTEGRATION = Path(__file__).parents[2] / "integration"


@pytest.mark.parametrize(
    "folder", sorted(path.name for path in INTEGRATION.iterdir() if (path / "__init__.py").exists())
)
def test_each_feature_has_a_smoke_test(folder: str) -> None:
    files = [file.read_text() for file in (INTEGRATION / folder).rglob("test_*.py")]
    assert any("@pytest.mark.smoke\n" in text for text in files), "mark a quick test of it: @pytest.mark.smoke"
