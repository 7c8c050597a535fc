"""The charts of a report, as Vega-Lite specifications."""

from mlcnn.report.charts.accelerator import ENERGY_PARTS, accelerator_charts
from mlcnn.report.charts.chart import Chart, LegendItem
from mlcnn.report.charts.latency import latency_charts
from mlcnn.report.charts.operations import operation_charts

__all__ = [
    "ENERGY_PARTS",
    "Chart",
    "LegendItem",
    "accelerator_charts",
    "latency_charts",
    "operation_charts",
]
