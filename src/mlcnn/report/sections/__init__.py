"""The sections of the page, in order. A new one is one function here and one template."""

from collections.abc import Callable

from mlcnn.report.sections.accelerator import accelerator
from mlcnn.report.sections.accuracy import accuracy
from mlcnn.report.sections.latency import latency
from mlcnn.report.sections.operations import operations
from mlcnn.report.sections.overview import overview
from mlcnn.report.sections.places import places
from mlcnn.report.sections.provenance import provenance
from mlcnn.report.sections.section import Section
from mlcnn.report.sections.sites import sites
from mlcnn.report.summary import RunSummary

__all__ = ["SECTIONS", "Section"]

SECTIONS: tuple[Callable[[RunSummary], Section | None], ...] = (
    overview,
    sites,
    places,
    latency,
    accuracy,
    operations,
    accelerator,
    provenance,
)
"""Each builds its section, or None where the run has nothing to show in it."""
