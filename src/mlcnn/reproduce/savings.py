"""Figure 14 of [MLCNN]: multiplications and additions that fusing saves, layer by layer.

Additions are counted as Tables IV to VI count them: one pooled row of one filter and channel,
sums shared along the row and formed anew for every filter.
"""

from collections.abc import Mapping
from dataclasses import replace

from mlcnn.counting import Reuse, fused, original
from mlcnn.reproduce.experiment import fused_tasks
from mlcnn.reproduce.reproduction import (
    Beside,
    Number,
    Reproduction,
    Tell,
    compared,
    published_rows,
)
from mlcnn.workload import ConvLayer

__all__ = ["reproduce_savings"]


def reproduce_savings(what: str, _: Tell) -> Reproduction:
    """Reproduce ``figure-14``."""
    layers = {task.nest.name: task.nest for task in fused_tasks(1)}
    rows = tuple(compared(row, _computed(row, layers)) for row in published_rows(what))
    table = Beside(
        "every fused layer; additions as the paper counts them, of one row of one filter and "
        "channel and of the whole layer, and with box sums shared by all filters",
        (
            "layer",
            "multiplications saved, %",
            "additions saved in a row, %",
            "in the layer, %",
            "shared, %",
        ),
        tuple(
            (
                name,
                _multiplications(layer),
                _row_additions(layer),
                _additions(layer, Reuse.PAPER),
                _additions(layer, Reuse.SHARED),
            )
            for name, layer in layers.items()
        ),
    )
    return Reproduction(what, rows, beside=(table,))


def _computed(published: Mapping[str, str], layers: Mapping[str, ConvLayer]) -> Number:
    if not published["layer"]:
        return max(_row_additions(layer) for layer in layers.values())
    layer = layers[published["layer"]]
    if published["quantity"] == "multiplications":
        return _multiplications(layer)
    return _row_additions(layer)


def _multiplications(layer: ConvLayer) -> float:
    """Percent saved."""
    left = fused(layer, Reuse.PAPER).multiplications / original(layer).multiplications
    return 100 * (1 - left)


def _additions(layer: ConvLayer, reuse: Reuse) -> float:
    """Percent saved."""
    return 100 * (1 - fused(layer, reuse).additions / original(layer).additions)


def _row_additions(layer: ConvLayer) -> float:
    """Percent saved in a row of one filter and channel; all rows of it are alike."""
    return _additions(replace(layer, K=1, C=1, G=1), Reuse.PAPER)
