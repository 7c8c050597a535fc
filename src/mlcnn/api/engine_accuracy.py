"""Two networks on the same labelled images, in each engine: accuracy, and where they disagree."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn import engines
from mlcnn.api.benchmarking import fixed_batch
from mlcnn.api.optimizing import Progress, silent
from mlcnn.errors import UnsupportedError
from mlcnn.training.intervals import Accuracy, paired

__all__ = ["EngineAccuracy", "decisions", "engine_accuracies"]

_BATCH = 100
Classes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class EngineAccuracy:
    """Top-1 accuracy before and after, in one engine.

    Attributes:
        engine: its name.
        before: of the network as it was.
        after: of the quantised one.
        drop: before minus after, in points.
        drop_interval: its 95 % interval, paired: from the images where only one of them is right.
        same_class: share of the images to which both give the same class.
        same_as_first: share of the images where the quantised network says here what it says in
            the first engine.
        agreement: share of the images where the quantised network says here what it said while it
            was trained; None where it was not.
        trained: share of the images that it had right while it was trained; None likewise.
    """

    engine: str
    before: Accuracy
    after: Accuracy
    drop: float
    drop_interval: tuple[float, float]
    same_class: float
    same_as_first: float
    agreement: float | None = None
    trained: float | None = None

    def to_json(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "before": self.before.top1,
            "after": self.after.top1,
            "interval": list(self.after.interval),
            "before_interval": list(self.before.interval),
            "drop_points": self.drop,
            "drop_interval": list(self.drop_interval),
            "same_class": self.same_class,
            "same_as_first": self.same_as_first,
            "agreement": self.agreement,
            "trained": self.trained,
        }


def decisions(
    model: ir.Model,
    images: NDArray[np.float32],
    engine: str,
    *,
    threads: int = 1,
    tell: Callable[[int, int], None] | None = None,
) -> Classes:
    """The class that a network gives to each image; what fills no batch is left out.

    Args:
        model: of one input, logits first among its outputs.
        images: as the network takes them.
        engine: its name.
        threads: of the engine.
        tell: told how many images are done, of how many.
    """
    session = engines.get(engine).prepare(model, threads=threads)
    name = model.graph.inputs[0].name or ""
    output = model.graph.outputs[0].name or ""
    size = fixed_batch(model) or _BATCH
    count = len(images) // size * size if fixed_batch(model) else len(images)
    found: list[Classes] = []
    for start in range(0, count, size):
        if tell is not None:
            tell(start, count)
        logits = session.run({name: images[start : start + size]})[output]
        found.append(logits.argmax(1))
    return np.concatenate(found)


def engine_accuracies(
    pair: tuple[ir.Model, ir.Model],
    images: NDArray[np.float32],
    labels: Classes,
    *,
    name: str,
    names: Sequence[str],
    trained: Classes | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> tuple[tuple[EngineAccuracy, ...], Mapping[str, str]]:
    """Accuracy of two networks in several engines.

    Args:
        pair: the network before, and after.
        images: as both take them.
        labels: shape (images,).
        name: of the images.
        names: the engines.
        trained: what the second network said of each image while it was trained.
        threads: of an engine.
        progress: told how the work goes on.

    Returns:
        A row for each engine, and the reason for each that cannot run one of the networks.
    """
    tell, rows, reasons = progress or silent, list[EngineAccuracy](), dict[str, str]()
    first: Classes | None = None
    for engine in names:
        found: list[Classes] = []
        try:
            for variant, model in zip(("before", "after"), pair, strict=True):
                stage = f"accuracy in {engine}, {variant}"
                found.append(
                    decisions(
                        model,
                        images,
                        engine,
                        threads=threads,
                        tell=lambda done, total, stage=stage: tell(stage, done, total),
                    )
                )
        except UnsupportedError as error:
            reasons[engine] = str(error)
            continue
        first = found[1] if first is None else first
        rows.append(_row(engine, name, found, labels, first=first, trained=trained))
    return tuple(rows), reasons


def _row(
    engine: str,
    name: str,
    found: Sequence[Classes],
    labels: Classes,
    *,
    first: Classes,
    trained: Classes | None,
) -> EngineAccuracy:
    count = len(found[0])
    right = [each == labels[:count] for each in found]
    before, after = (
        Accuracy(variant, name, count, float(each.mean()))
        for variant, each in zip(("before", "after"), right, strict=True)
    )
    change = paired(right[0], right[1])
    low, high = change.interval
    return EngineAccuracy(
        engine,
        before,
        after,
        -100 * change.top1,
        (-100 * high, -100 * low),
        float((found[0] == found[1]).mean()),
        float((found[1] == first).mean()),
        None if trained is None else float((found[1] == trained[:count]).mean()),
        None if trained is None else float((trained[:count] == labels[:count]).mean()),
    )
