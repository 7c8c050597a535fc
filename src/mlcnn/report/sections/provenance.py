"""Where the figures come from and how to get them again."""

from dataclasses import dataclass

from mlcnn.report.sections.section import Section
from mlcnn.report.summary import RunSummary
from mlcnn.report.wording import printable

__all__ = ["provenance"]


@dataclass(frozen=True, slots=True)
class Content:
    """What the section shows: a command, the network's file, and (name, value) pairs."""

    command: str
    output: str
    facts: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]


def provenance(summary: RunSummary) -> Section:
    """The section."""
    facts = (
        ("network", printable(summary.source)),
        ("pipeline", printable(summary.pipeline)),
        ("seed", str(summary.seed)),
        ("machine", printable(summary.machine)),
        ("made", printable(summary.created)),
    )
    content = Content(
        printable(summary.command),
        printable(summary.output),
        tuple((name, value) for name, value in facts if value),
        tuple(sorted(summary.versions.items())),
    )
    return Section("provenance", "How to repeat this", "provenance.html", content)
