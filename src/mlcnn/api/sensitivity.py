"""What each approximate swap costs in accuracy and saves in multiplications, alone."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn import nn, training
from mlcnn.api.optimized import Optimized
from mlcnn.api.optimizing import Progress, rewrite
from mlcnn.api.options import RewriteOptions
from mlcnn.errors import InputError, UnsupportedError
from mlcnn.report import Difference, difference
from mlcnn.training import Data, Hardware, Normal
from mlcnn.zoo import TestedPair

__all__ = ["Swap", "paired", "saved_by", "swapped", "swaps"]

Right = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Swap:
    """One site that approximate passes change.

    Attributes:
        layer: the name of the layer that it goes by (the pool's).
        change: accuracy on the validation images less the original's, after statistics are
            re-estimated, with the 95 % interval of a paired difference; no training.
        saved: multiplications that fusing it saves, of one image; None where sizes are dynamic.
        kept: whether the budget had room for it.
    """

    layer: str
    change: Difference
    saved: int | None
    kept: bool = True

    def to_json(self) -> dict[str, object]:
        """As ``--json`` prints it."""
        return asdict(self)

    @property
    def told(self) -> str:
        """The swap in words."""
        low, high = (100 * end for end in self.change.interval)
        gain = "" if self.saved is None else f", saves {self.saved:,} multiplications"
        return (
            f"{self.layer}: {100 * self.change.top1:+.2f} points ({low:+.2f} to {high:+.2f}) "
            f"alone{gain}; {'kept' if self.kept else 'left as it was'}"
        )


def paired(name: str, before: Right, after: Right) -> Difference:
    """Accuracy after less accuracy before, on the same images, with its 95 % interval."""
    pair = TestedPair(
        dataset=name,
        images=len(before),
        original=int(before.sum()),
        reordered=int(after.sum()),
        only_original=int((before & ~after).sum()),
        only_reordered=int((after & ~before).sum()),
    )
    return difference(pair)


def swapped(model: ir.Model, passes: str, layers: Sequence[str] | None = None) -> Optimized:
    """The network after approximate passes, at some sites only."""
    options = RewriteOptions(only=() if layers is None else tuple(layers))
    return rewrite(model, passes, options, check=False)


def saved_by(model: ir.Model, passes: str, layer: str) -> int | None:
    """Multiplications of one image that the passes save at one site, once it is fused."""
    fused = rewrite(model, f"{passes},fuse", RewriteOptions(only=(layer,)), check=False)
    try:
        rows = fused.counts().layers
    except UnsupportedError:
        return None
    return sum(row.before.multiplications - row.chosen.multiplications for row in rows)


def swaps(
    model: ir.Model,
    passes: str,
    data: Data,
    normal: Normal,
    hardware: Hardware,
    tell: Progress,
) -> tuple[Swap, ...]:
    """Every site that the passes change, judged alone on the validation images.

    Args:
        model: the original network.
        passes: approximate passes.
        data: statistics are re-estimated on its calibration images.
        normal: what the network takes for an image.
        hardware: where.
        tell: told how the work goes on.

    Returns:
        The swaps, the one that costs least first.

    Raises:
        InputError: the passes change nothing.
    """
    layers = list(dict.fromkeys(change.nodes[-1] for change in swapped(model, passes).changes))
    if not layers:
        raise InputError(f"--passes {passes}: there is nothing to swap in this network")
    before = judged(model, data, normal, hardware, again=False)
    found: list[Swap] = []
    for done, layer in enumerate(layers):
        tell("judge each swap", done, len(layers))
        after = judged(swapped(model, passes, [layer]).model, data, normal, hardware)
        change = paired(data.validation.name, before, after)
        found.append(Swap(layer, change, saved_by(model, passes, layer)))
    return tuple(sorted(found, key=lambda swap: -swap.change.top1))


def judged(
    model: ir.Model, data: Data, normal: Normal, hardware: Hardware, *, again: bool = True
) -> Right:
    """Which validation images a network classifies correctly.

    Args:
        model: the network.
        data: the images.
        normal: what the network takes for an image.
        hardware: where.
        again: whether to re-estimate the statistics of batch norms first.
    """
    module = nn.to_module(model)
    hardware.place(module)
    if again:
        training.reestimate(module, data.calibration, normal, hardware)
    return training.right_images(module, data.validation, normal, hardware)


def affordable(
    found: Sequence[Swap],
    model: ir.Model,
    passes: str,
    data: Data,
    normal: Normal,
    hardware: Hardware,
    budget: float,
    tell: Progress,
) -> tuple[Swap, ...]:
    """The swaps with those kept that together stay within a budget, without training.

    The cheapest first, each kept if the network with it and all kept before it stays within.

    Args:
        found: what ``swaps`` returned.
        model: the original network.
        passes: approximate passes.
        data: judged on its validation images.
        normal: what the network takes for an image.
        hardware: where.
        budget: the accuracy that may be lost, 0 to 1.
        tell: told how the work goes on.

    Raises:
        InputError: not even one swap stays within: the message names the nearest.
    """
    before = judged(model, data, normal, hardware, again=False)
    kept: list[str] = []
    for done, swap in enumerate(found):
        tell("add swaps", done, len(found))
        trial = swapped(model, passes, [*kept, swap.layer]).model
        after = judged(trial, data, normal, hardware)
        if paired(data.validation.name, before, after).top1 >= -budget:
            kept.append(swap.layer)
    if not kept:
        nearest = found[0]
        raise InputError(
            f"--max-drop {100 * budget:g}: no swap stays within it without training; the nearest is "
            f"{nearest.layer} with {100 * nearest.change.top1:+.2f} points; allow "
            f"{-100 * nearest.change.top1:.2f}, or recover it by `mlcnn finetune`"
        )
    return tuple(replace(swap, kept=swap.layer in kept) for swap in found)
