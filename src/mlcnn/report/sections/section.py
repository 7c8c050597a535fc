"""What a section of the page is."""

from dataclasses import dataclass

from mlcnn.report.charts import Chart

__all__ = ["Section"]


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page, drawn by a template of its own.

    Attributes:
        id: its anchor.
        title: its heading, also in the page's list of contents.
        template: file name of its template.
        content: what the template shows; its class is the section's own.
        charts: its charts.
    """

    id: str
    title: str
    template: str
    content: object
    charts: tuple[Chart, ...] = ()
