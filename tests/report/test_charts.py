"""The charts hold the figures, on a scale that does not flatter."""

import pytest

from mlcnn.report import RunSummary
from mlcnn.report.charts import latency_charts, operation_charts
from mlcnn.report.charts.chart import labels


def rows_of(chart) -> list[dict]:
    (found,) = chart.specification["datasets"].values()
    return found


def scales(node) -> list[dict]:
    """Every scale in a specification."""
    if isinstance(node, list):
        return [scale for item in node for scale in scales(item)]
    if not isinstance(node, dict):
        return []
    own = [node["scale"]] if isinstance(node.get("scale"), dict) else []
    return own + [scale for item in node.values() for scale in scales(item)]


@pytest.mark.parametrize("summary", ["vgg16", "densenet121"], indirect=True)
def test_every_layer_has_its_bar_with_its_counts(summary: RunSummary):
    multiplications, additions = operation_charts(summary)
    layers = summary.counts.layers
    assert [row["before"] for row in rows_of(multiplications)] == [
        layer.multiplications.original for layer in layers
    ]
    assert [row.get("after") for row in rows_of(additions)] == [
        layer.chosen.additions if layer.fused else None for layer in layers
    ]
    assert [row.get("paper") for row in rows_of(additions)] == [
        layer.additions.paper if layer.fused else None for layer in layers
    ]


@pytest.mark.parametrize("summary", ["vgg16", "densenet121"], indirect=True)
def test_no_scale_is_logarithmic_or_cut_off(summary: RunSummary):
    for chart in (*operation_charts(summary), *latency_charts(summary)):
        found = scales(chart.specification)
        assert any(scale.get("zero") is True for scale in found)
        assert all(scale.get("type") in {None, "linear"} for scale in found)
        assert not any(scale.get("zero") is False for scale in found)


def test_latency_has_one_chart_per_setting_with_quartiles(summary: RunSummary):
    charts = latency_charts(summary)
    assert [chart.title for chart in charts] == ["Batch 1, 1 thread", "Batch 8, 1 thread"]
    first = rows_of(charts[0])[0]
    measured = summary.latencies[0]
    assert (first["q1"], first["median"], first["q3"]) == (
        measured.q1_ms, measured.median_ms, measured.q3_ms
    )  # fmt: skip
    assert [item.meaning for item in charts[0].legend] == [
        "original", "max-to-average, reorder", "result", "quartiles"
    ]  # fmt: skip


def test_charts_are_described_in_words(summary: RunSummary):
    for chart in (*operation_charts(summary), *latency_charts(summary)):
        assert chart.specification["description"] == chart.description
    assert "313.2 M in all before" in operation_charts(summary)[0].description
    assert "openvino result 2.88 ms" in latency_charts(summary)[0].description


def test_labels_are_short_and_never_the_same():
    names = ["conv"] * 3 + ["conv (2)", *(f"{'x' * 60}.{index}" for index in range(3))]
    found = labels(names)
    assert len(set(found)) == len(names)
    assert max(map(len, found)) <= 34
    assert found[-1].endswith(".2")


def test_nothing_to_draw_is_no_chart():
    empty = RunSummary("empty", "empty", "", "", 0)
    assert operation_charts(empty) == ()
    assert latency_charts(empty) == ()
