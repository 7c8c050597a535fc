"""The charts of a report, as Vega-Lite specifications."""

from mlcnn.report.charts.chart import Chart, LegendItem
from mlcnn.report.charts.latency import latency_charts
from mlcnn.report.charts.operations import operation_charts

__all__ = ["Chart", "LegendItem", "latency_charts", "operation_charts"]
