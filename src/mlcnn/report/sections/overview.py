"""The result at a glance."""

from dataclasses import dataclass

from mlcnn.report.headline import Fact, facts, potential_sentence, sentence
from mlcnn.report.sections.section import Section
from mlcnn.report.summary import RunSummary
from mlcnn.report.wording import pass_names, printable

__all__ = ["overview"]


@dataclass(frozen=True, slots=True)
class Content:
    """What the section shows."""

    sentence: str
    passes: str
    facts: tuple[Fact, ...]
    potential: str
    warnings: tuple[str, ...]


def overview(summary: RunSummary) -> Section:
    """The section."""
    content = Content(
        sentence(summary),
        pass_names(printable(summary.pipeline)),
        facts(summary),
        potential_sentence(summary),
        tuple(map(printable, summary.warnings)),
    )
    return Section("summary", "Summary", "overview.html", content)
