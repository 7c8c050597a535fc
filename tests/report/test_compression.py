"""The page of a smaller network: complete, and nothing of it runs."""

from mlcnn.frontier import Cost, Frontier, Point
from mlcnn.report import write_compression
from mlcnn.report.charts.frontier import frontier_charts
from mlcnn.table import Shown
from mlcnn.training.intervals import Accuracy, Difference

HOSTILE = "</script><script>alert(1)</script>{{ 7*7 }}"


def point(method: str, top1: float, parameters: float, milliseconds: float) -> Point:
    change = Difference(top1 - 0.9, (top1 - 0.91, top1 - 0.89))
    accuracy = Accuracy(method, "photos", 1000, top1)
    costs = {
        "parameters": Cost.fixed(parameters),
        "latency_ms any": Cost.fixed(milliseconds),
        "bytes": Cost.fixed(5),
    }
    test = Accuracy(method, "photos, test", 500, top1 - 0.01)
    return Point(method, {"share": parameters / 100}, costs, accuracy, change, test, change)


def curve(name: str = "channels") -> Frontier:
    points = (point("weights", 0.89, 20.0, 2.0), point(name, 0.88, 50.0, 1.0))
    return Frontier(point("original", 0.9, 100.0, 2.0), points, "parameters")


def test_there_is_a_chart_for_each_cost_that_differs():
    charts = frontier_charts(curve())
    assert [c.title for c in charts] == [
        "Accuracy against parameters", "Accuracy against latency in any",
    ]  # fmt: skip
    rows = str(charts[1].specification)
    # Of the original's time; on the test images, since there are some; weights gain no time.
    for text in ("'cost': 100.0", "'cost': 50.0", "'top1': 88.0", "'top1': 87.0", "'front': False"):
        assert text in rows
    assert [item.meaning for item in charts[0].legend] == ["original", "weights", "channels"]


def test_the_page_holds_every_figure_and_escapes_names(tmp_path):
    path = tmp_path / "report.html"
    layers = Shown("net", ("layer", "parameters", "of"), (("conv1", "12", "34"),), ("a note",))
    best = Shown("Recommended", ("layer", "method"), (("conv7", "leave dense"),))
    write_compression(
        path,
        "net",
        curve(HOSTILE),
        layers,
        recommended=best,
        facts=(("recipe", "SGD"),),
        command="mlcnn compress",
    )
    text = path.read_text(encoding="utf-8")
    assert "alert(1)</script>" not in text.split("vegaEmbed")[0]
    for figure in (
        "conv7",
        "leave dense",
        "file size",
        "conv1",
        "a note",
        "SGD",
        "mlcnn compress",
        "89.00",
        "on the front",
    ):
        assert figure in text
    assert "49" not in text.split("Accuracy against cost")[0]
