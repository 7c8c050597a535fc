"""The result at a glance."""

from dataclasses import dataclass

from mlcnn.report.headline import Fact, facts, sentence
from mlcnn.report.sections.section import Section
from mlcnn.report.sections.sites import potential_sentence
from mlcnn.report.summary import RunSummary
from mlcnn.report.wording import printable

__all__ = ["overview"]


@dataclass(frozen=True, slots=True)
class Content:
    """What the section shows."""

    sentence: str
    pipeline: str
    facts: tuple[Fact, ...]
    potential: str
    warnings: tuple[str, ...]


def overview(summary: RunSummary) -> Section:
    """The section."""
    content = Content(
        sentence(summary),
        printable(summary.pipeline),
        facts(summary),
        potential_sentence(summary),
        tuple(map(printable, summary.warnings)),
    )
    return Section("summary", "Summary", "overview.html", content)
