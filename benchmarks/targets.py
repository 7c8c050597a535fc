"""What the figures of native have to reach, in one place; medians over fresh processes, one thread.

Fused over reordered is held against each engine's own target: Winograd makes the plain layers of
native cheap as well, so its ratio is smaller while both of its times are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import Any

__all__ = ["TARGETS", "Figure", "Found", "Target", "found_in", "spread", "target_of", "targets_of"]


class Figure(StrEnum):
    """What is compared. A ratio says how many times as fast, but where it is a loss."""

    FP32 = "native over the better other engine"
    FUSED_ONNXRUNTIME = "fused over reordered, onnxruntime"
    FUSED_OTHER = "fused over reordered, best other engine"
    FUSED_NATIVE = "fused over reordered, native"
    FUSED_AHEAD = "fused, native over the better other engine"
    INT8 = "INT8, native over the better other engine"
    INT8_FUSED_EXACT = "INT8 fused, native over openvino"
    INT8_FUSED_ROUNDED = "INT8 fused with rounded means, native over openvino"
    LAYER_EXACT = "INT8 layer, fused over plain"
    LAYER_ROUNDED = "INT8 layer, fused with rounded means over plain"
    CHOICE_AUTO = "auto over the best algorithm per layer"
    CHOICE_MEASURED = "measured over the best algorithm per layer"
    NCNN = "native over ncnn with Winograd"


_MOST = frozenset({Figure.CHOICE_AUTO, Figure.CHOICE_MEASURED})  # losses: at most so much


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio to reach.

    Attributes:
        figure: what is compared.
        network: of the zoo, or of ``benchmarks.outside``.
        batch: images.
        ratio: at least, or at most for a loss.
    """

    figure: Figure
    network: str
    batch: int
    ratio: float

    def verdict(self, found: float) -> str:
        """``reached`` or ``missed``."""
        good = found <= self.ratio if self.figure in _MOST else found >= self.ratio
        return "reached" if good else "missed"


@dataclass(frozen=True, slots=True)
class Found:
    """A figure that was measured.

    Attributes:
        figure: what is compared; a text where it has no target.
        network: of the zoo, or of ``benchmarks.outside``.
        batch: images.
        ratios: of each fresh process.
    """

    figure: Figure | str
    network: str
    batch: int
    ratios: Sequence[float]

    @property
    def ratio(self) -> float:
        """Median over the processes."""
        return median(self.ratios)

    @property
    def target(self) -> Target | None:
        """What it has to reach; None if nothing."""
        if not isinstance(self.figure, Figure):
            return None
        return target_of(self.figure, self.network, self.batch)

    def cells(self) -> list[str]:
        """Ratio, smallest and largest, target, and whether it was reached."""
        target = self.target
        held = ["", ""] if target is None else [f"{target.ratio:.2f}", target.verdict(self.ratio)]
        return [f"{self.ratio:.2f}", spread(self.ratios), *held]


def found_in(rows: Iterable[Mapping[str, Any]], figure: Figure) -> list[Found]:
    """The figures of rows that hold one figure each."""
    return [Found(figure, row["network"], row["batch"], row["ratios"]) for row in rows]


def spread(values: Sequence[float]) -> str:
    """Smallest and largest, if there are several."""
    return f"{min(values):.2f} to {max(values):.2f}" if len(values) > 1 else ""


_MOBILENET, _EFFICIENTNET = "pytorchcv:mobilenetv2_w1", "pytorchcv:efficientnet_b0"
_LAYERS = ("layer-128x16", "layer-256x8")  # channels and rows, of ``benchmarks.quantised``

_RATIOS: dict[Figure, dict[str, dict[int, float]]] = {
    Figure.FP32: {
        "lenet5": {1: 1.45, 8: 1.35},
        "vgg16": {1: 1.55, 8: 2.0},
        "googlenet": {1: 1.6, 8: 1.65},
        "resnet18-224": {1: 1.55, 8: 1.7},
        "vgg16-224": {1: 2.4},
        "densenet_cifar": {1: 1.65, 8: 1.4},
        "densenet121": {1: 1.3, 8: 1.3},
        "resnet20": {1: 1.8, 8: 1.8},
        "resnet50-224": {1: 1.15},
        _MOBILENET: {1: 1.1, 8: 1.15},
        _EFFICIENTNET: {1: 1.05},
    },
    Figure.FUSED_ONNXRUNTIME: {"lenet5": {1: 1.9, 8: 2.6}},
    Figure.FUSED_OTHER: {
        "vgg16": {1: 1.30, 8: 1.45, 64: 1.50},
        "googlenet": {1: 1.40, 8: 1.40},
        "densenet121": {1: 1.08, 8: 1.08},
        "vgg16-224": {1: 1.48, 8: 1.48},
    },
    Figure.FUSED_NATIVE: {
        "vgg16": {1: 1.18, 8: 1.2},
        "googlenet": {1: 1.24, 8: 1.24},
        "vgg16-224": {1: 1.16},
    },
    Figure.FUSED_AHEAD: {
        "vgg16": {1: 1.45, 8: 1.45},
        "googlenet": {1: 1.45, 8: 1.45},
        "vgg16-224": {1: 1.45},
    },
    Figure.INT8: {
        "vgg16": {1: 1.2, 8: 1.0},
        "googlenet": {1: 1.1, 8: 1.1},
        "resnet18-224": {1: 1.1, 8: 1.1},
    },
    Figure.INT8_FUSED_EXACT: {"vgg16": {8: 1.0}},
    Figure.INT8_FUSED_ROUNDED: {"vgg16": {8: 1.15}},
    Figure.LAYER_EXACT: {name: {8: 1.85} for name in _LAYERS},
    Figure.LAYER_ROUNDED: {name: {8: 3.3} for name in _LAYERS},
    Figure.NCNN: {"vgg16-224": {1: 1.09}},
}

TARGETS: tuple[Target, ...] = tuple(
    Target(figure, network, batch, ratio)
    for figure, networks in _RATIOS.items()
    for network, batches in networks.items()
    for batch, ratio in batches.items()
)

_LOSSES = {Figure.CHOICE_AUTO: 1.05, Figure.CHOICE_MEASURED: 1.02}  # of every network and batch


def target_of(figure: Figure, network: str, batch: int) -> Target | None:
    """The target of a figure; None where there is none."""
    if figure in _LOSSES:
        return Target(figure, network, batch, _LOSSES[figure])
    key = (figure, network, batch)
    return next((t for t in TARGETS if (t.figure, t.network, t.batch) == key), None)


def targets_of(*figures: Figure) -> tuple[tuple[str, int], ...]:
    """Networks and batches that have a target of these figures, in the order of the table."""
    return tuple(dict.fromkeys((t.network, t.batch) for t in TARGETS if t.figure in figures))
