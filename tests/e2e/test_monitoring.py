"""The dashboard and the alert rules name metrics that a running service has, and each alert says what to do."""

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import yaml

from tests.harness.keys import HEADERS
from tests.harness.pages import ROOT
from tests.harness.programs import needs_program
from tests.harness.scraping import Scrape

MONITORING = ROOT / "ops" / "monitoring"
RULES = MONITORING / "alerts.yml"
PAGE = ROOT / "docs" / "how-to" / "monitor.md"


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return list(group["rules"])


def panels() -> list[dict[str, Any]]:
    return list(json.loads((MONITORING / "dashboard.json").read_text())["panels"])


def expressions() -> Iterator[str]:
    yield from (alert["expr"] for alert in alerts())
    yield from (target["expr"] for panel in panels() for target in panel.get("targets", []))


def test_every_metric_that_a_panel_or_an_alert_names_is_there(service: str, http: Callable[..., Any]) -> None:
    body = {
        "precise_amount": 1, "precision": 100, "currency": "USD", "reference": "monitoring", "source": "@Monitored",
        "destination": "@Elsewhere", "allow_overdraft": True, "description": "One cent",
    }  # fmt: skip
    http("POST", "/transactions?wait=20s", 201, json=body)
    named = {name for expression in expressions() for name in re.findall(r"\bpacioli_[a-z_]+\b", expression)}
    assert len(named) > 25
    deadline = time.monotonic() + 60
    while missing := named - Scrape(requests.get(f"{service}/metrics", headers=HEADERS, timeout=30).text).names:
        assert time.monotonic() < deadline, missing
        time.sleep(0.2)


def test_metrics_are_those_of_all_processes_whoever_answers(service: str) -> None:
    """Each answer has what all web processes and workers counted, so a counter never falls."""
    last = Scrape("")
    for _ in range(20):
        found = Scrape(requests.get(f"{service}/metrics", headers=HEADERS, timeout=30).text)
        assert found.value("pacioli_ticks_total") >= last.value("pacioli_ticks_total")
        seen = found.value("pacioli_http_requests_total", route="/metrics")
        assert seen >= last.value("pacioli_http_requests_total", route="/metrics")
        last = found
    assert last.value("pacioli_ticks_total") > 0
    assert last.value("pacioli_processes_alive", part="web") >= 1
    assert last.value("pacioli_balance_sum") == 0


def test_labels_that_an_expression_picks_are_labels_that_the_metric_has(service: str) -> None:
    scrape = Scrape(requests.get(f"{service}/metrics", headers=HEADERS, timeout=30).text)
    labels: dict[str, set[str]] = {}
    for sample in scrape.samples:
        labels.setdefault(sample.name, set()).update(sample.labels)
    for expression in expressions():
        for name, picked in re.findall(r"(pacioli_[a-z_]+)\{([^}]*)\}", expression):
            if name in labels:
                assert set(re.findall(r"(\w+)=", picked)) <= labels[name], expression


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_says_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert alert["annotations"]["summary"]
    page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    assert ROOT / page == PAGE and anchor == alert["alert"].lower()
    section = re.search(rf"^### {alert['alert']}\n\n(.*?)(?=^##|\Z)", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert section is not None, alert["alert"]
    for part in ("**Means:**", "**Matters:**", "**Do:**"):
        assert part in section[1], (alert["alert"], part)


def test_the_page_describes_no_alert_that_is_not_there() -> None:
    described = set(re.findall(r"^### (Pacioli\w+)$", PAGE.read_text(), re.MULTILINE))
    assert described == {alert["alert"] for alert in alerts()}


def test_panels_are_whole_and_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    ids = [panel["id"] for panel in panels()]
    assert len(ids) == len(set(ids))
    for panel in panels():
        assert panel["title"]
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken and max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells


def test_promtool_accepts_the_rules_and_the_example() -> None:
    promtool = needs_program("promtool")
    # The syntax alone: the file with the key is not on this machine.
    config = ["check", "config", "--syntax-only", str(MONITORING / "prometheus.yml")]
    for arguments in (["check", "rules", str(RULES)], config):
        done = subprocess.run([promtool, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
