"""Searches made by hand: what came out of them is known without any training."""

from dataclasses import replace

from mlcnn.frontier.outcome import Entry, Outcome, Prediction, Tried
from mlcnn.training.intervals import Accuracy, Difference

__all__ = ["STACK", "made"]

STACK = "average-pools,channels{share=0.5},int8,exact"
_BEFORE = {"latency_ms": 4.0, "bytes": 1_000_000.0, "peak_bytes": 500_000.0}


def change(points: float) -> Difference:
    return Difference(points / 100, ((points - 0.5) / 100, (points + 0.5) / 100))


def entry(what: str, pipeline: str, share: float, points: float, engine: str = "native") -> Entry:
    costs = {key: share * value for key, value in _BEFORE.items()}
    test = Accuracy(what, "photos, test", 1000, 0.9 + points / 100)
    return Entry(what, pipeline, engine, costs, change(points), None, test, change(points))


def tried(  # noqa: PLR0917 - a row
    pipeline: str, latency: float, size: float, points: float | None, images: int = 0, why: str = ""
) -> Tried:
    costs = {"latency_ms": 4.0 * latency, "bytes": 1e6 * size, "peak_bytes": 5e5}
    told = None if points is None else change(points)
    return Tried(pipeline, images, latency, told, 10.0, why, costs)


def made(*objectives: str) -> Outcome:
    """A search: a stack is the fastest within a point, ``int8`` the smallest."""
    rows = (
        tried("original", 1.0, 1.0, 0.0),
        replace(tried("INT8 of another tool", 0.6, 0.26, -0.2), peer=True),
        tried("int8", 0.5, 0.25, -0.3),
        tried("channels{share=0.5},exact", 0.7, 0.5, None, why="tried for its cost alone"),
        Tried("focus", 0, None, None, 0.5, "no convolution can be focused"),
        replace(tried("channels{share=0.5},exact", 0.6, 0.5, -2.5, 3000,
                      "loses more than 1 points"), predicted=(0.55, 2.0)),
        replace(tried("channels{share=0.3},exact", 0.2, 0.3, -30.0, 3000,
                      "loses more than 1 points"), predicted=(0.25, 9.0)),
        replace(tried(STACK, 0.25, 0.3, -0.8, 9000), predicted=(0.3, 0.9)),
    )  # fmt: skip
    entries = (
        entry("original", "", 1.0, 0.0),
        entry("int8 alone", "int8", 0.5, -0.3),
        replace(entry("best stack", STACK, 0.25, -0.8), images=9000),
        entry("INT8 of another tool, in openvino", "", 0.6, -0.2, "openvino"),
    )
    dropped = {
        "weights{share=0.7}": "no cheaper: 0.99 of what it takes without",
        "bits{bits=4}": "no cheaper: 1.78 of what it takes without",
        "focus": "no convolution can be focused",
    }
    return Outcome(
        "shop", objectives or ("latency_ms",), 1.0, entries, 2, rows, dropped,
        Prediction(3, 0.5, 1.0), 71.0, {"channels": 40.0, "int8": 20.0, "original": 10.0},
        interrupted=False, where="a processor", notes=("a note",),
        options={"network": "shop.onnx", "data": "photos", "budget_s": 60.0, "max_drop": 1.0},
        replay=f'mlcnn stack shop.onnx --data photos --steps "{STACK}" --epochs 1 --limit 9000',
        versions={"mlcnn": "1.2.3"},
    )  # fmt: skip
