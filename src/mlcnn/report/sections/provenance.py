"""Where the figures come from and how to get them again."""

import shlex
from dataclasses import dataclass

from mlcnn.report.sections.section import Section
from mlcnn.report.summary import RunSummary
from mlcnn.report.wording import printable

__all__ = ["provenance"]


@dataclass(frozen=True, slots=True)
class Content:
    """What the section shows: commands that repeat the run and open the network, and pairs."""

    command: str
    facts: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]
    netron: str = ""


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
        tuple((name, value) for name, value in facts if value),
        tuple(sorted(summary.versions.items())),
        printable(shlex.join(["netron", "--browse", summary.output])) if summary.output else "",
    )
    return Section("provenance", "How to repeat this", "provenance.html", content)
