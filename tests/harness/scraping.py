"""Reads what ``/metrics`` tells."""

from collections.abc import Callable

from prometheus_client.parser import text_string_to_metric_families


class Scrape:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.families = list(text_string_to_metric_families(text))
        self.samples = [sample for family in self.families for sample in family.samples]

    @property
    def names(self) -> set[str]:
        return {sample.name for sample in self.samples}

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels."""
        return sum(each.value for each in self.samples if each.name == name and labels.items() <= each.labels.items())


def grown(scrape: Callable[[], Scrape], before: Scrape, name: str, **labels: str) -> float:
    """How much a counter has grown since an earlier scrape."""
    return scrape().value(name, **labels) - before.value(name, **labels)
