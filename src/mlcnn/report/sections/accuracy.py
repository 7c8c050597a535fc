"""Accuracy before and after, where data was given."""

from dataclasses import dataclass, replace

from mlcnn.report.recorded import record_sentences, recorded_rows
from mlcnn.report.sections.section import Section
from mlcnn.report.summary import RunSummary
from mlcnn.report.wording import printable
from mlcnn.training.intervals import Accuracy

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
        measured.variant,
        printable(measured.dataset),
        f"{measured.images:,}",
        f"{100 * measured.top1:.2f} %",
        f"{100 * low:.2f} to {100 * high:.2f} %",
    )


@dataclass(frozen=True, slots=True)
class Content:
    """The table, and what the record of embedded weights says in words."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def accuracy(summary: RunSummary) -> Section | None:
    """The section; None where no data was given and nothing is recorded."""
    tested, measured = summary.tested, summary.accuracy or ()
    recorded = () if tested is None else recorded_rows(tested)
    if not recorded and not measured:
        return None
    rows = tuple(
        replace(_row(row), dataset=f"{printable(row.dataset)}, all, recorded") for row in recorded
    ) + tuple(_row(row) for row in measured)
    notes = () if tested is None else record_sentences(tested, None)
    return Section("accuracy", "Accuracy", "accuracy.html", Content(rows, notes))
