"""Accuracy before and after, where data was given."""

from dataclasses import dataclass

from mlcnn.report.sections.section import Section
from mlcnn.report.summary import Accuracy, RunSummary
from mlcnn.report.wording import printable

__all__ = ["accuracy"]


@dataclass(frozen=True, slots=True)
class Row:
    """One measured accuracy, in words."""

    variant: str
    dataset: str
    images: str
    top1: str
    interval: str


def _row(measured: Accuracy) -> Row:
    low, high = measured.interval
    return Row(
        measured.variant.value,
        printable(measured.dataset),
        f"{measured.images:,}",
        f"{100 * measured.top1:.2f} %",
        f"{100 * low:.2f} to {100 * high:.2f} %",
    )


def accuracy(summary: RunSummary) -> Section | None:
    """The section; None where no data was given."""
    if not summary.accuracy:
        return None
    rows = tuple(_row(measured) for measured in summary.accuracy)
    return Section("accuracy", "Accuracy", "accuracy.html", rows)
