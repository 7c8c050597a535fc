"""What each approximate swap costs in accuracy and saves in multiplications."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import onnx_ir as ir
import torch
from torch import fx

from mlcnn import nn, training
from mlcnn.api.optimized import Optimized
from mlcnn.api.optimizing import Progress, rewrite
from mlcnn.api.options import RewriteOptions
from mlcnn.errors import InputError, UnsupportedError
from mlcnn.training import Data, Hardware, Normal
from mlcnn.training.fitting import fit, fitted_sites
from mlcnn.training.intervals import Difference, Right, paired, points

__all__ = ["Judge", "Swap", "swapped"]


@dataclass(frozen=True, slots=True)
class Swap:
    """One site that approximate passes change.

    Attributes:
        layer: the name of the layer that it goes by (the pool's).
        change: accuracy on the validation images less the original's, after statistics are
            re-estimated and convolutions fitted, with the 95 % interval of a paired difference; no
            training.
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
        gain = "" if self.saved is None else f", saves {self.saved:,} multiplications"
        kept = "kept" if self.kept else "left as it was"
        return f"{self.layer}: {points(self.change)} alone, untrained{gain}; {kept}"


def swapped(model: ir.Model, passes: str, layers: Sequence[str] | None = None) -> Optimized:
    """The network after approximate passes; at the sites of some layers only, unless None."""
    if layers is not None and not layers:
        raise InputError("no layers to swap at")
    return rewrite(model, passes, RewriteOptions(only=tuple(layers or ())), check=False)


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges rewrites of a network on the validation images, never on the test images.

    Attributes:
        model: the original network.
        passes: approximate passes.
        data: statistics are re-estimated, and convolutions fitted, on its calibration images.
        normal: what the network takes for an image.
        hardware: where.
        tell: told how the work goes on.
    """

    model: ir.Model
    passes: str
    data: Data
    normal: Normal
    hardware: Hardware
    tell: Progress

    def right(self, module: torch.nn.Module) -> Right:
        """Which validation images a module classifies correctly."""
        self.hardware.place(module)
        return training.right_images(module, self.data.validation, self.normal, self.hardware)

    def change(self, before: Right, layers: Sequence[str]) -> Difference:
        """What swapping at some layers costs without training; see ``renewed``."""
        module = self.renewed(swapped(self.model, self.passes, layers))
        return paired(before, self.right(module))

    def renewed(self, optimized: Optimized) -> fx.GraphModule:
        """A rewritten network as good as it gets without training, as a module on the device.

        Statistics of batch norms are re-estimated; convolutions of sites without one are fitted
        one after another, each fit kept where validation images are the better for it.
        """
        module, original = optimized.module(), nn.to_module(self.model)
        for network in (module, original):
            self.hardware.place(network)
        training.reestimate(module, self.data.calibration, self.normal, self.hardware)
        correct = None
        for site in fitted_sites(module, original):
            correct = self.right(module).sum() if correct is None else correct
            kept = {name: tensor.clone() for name, tensor in module.state_dict().items()}
            images = self.data.calibration
            fit(module, original, site, images, normal=self.normal, hardware=self.hardware)
            if (now := self.right(module).sum()) > correct:
                correct = now
            else:
                module.load_state_dict(kept)
        return module

    def swaps(self) -> tuple[Swap, ...]:
        """Every site that the passes change, judged alone; the one that costs least first.

        Raises:
            InputError: the passes change nothing.
        """
        changes = swapped(self.model, self.passes).changes
        # A site goes by its pool, the last of its layers; passes after the first keep the name.
        layers = list(dict.fromkeys(change.nodes[-1] for change in changes))
        if not layers:
            raise InputError(f"--passes {self.passes}: there is nothing to swap in this network")
        before = self.right(nn.to_module(self.model))
        found: list[Swap] = []
        for done, layer in enumerate(layers):
            self.tell("judge each swap", done, len(layers))
            found.append(Swap(layer, self.change(before, [layer]), self._saved(layer)))
        return tuple(sorted(found, key=lambda swap: -swap.change.top1))

    def _saved(self, layer: str) -> int | None:
        before = _multiplications(self.model)
        after = _multiplications(swapped(self.model, self.passes, [layer]).model)
        return None if before is None or after is None else before - after

    def affordable(self, found: Sequence[Swap], budget: float) -> tuple[Swap, ...]:
        """The swaps with those kept that together stay within a budget, without training.

        The cheapest first, each kept if the network with it and all kept before it stays within.

        Args:
            found: what ``swaps`` returned.
            budget: the accuracy that may be lost, 0 to 1.

        Raises:
            InputError: not even one swap stays within: the message names the nearest.
        """
        before = self.right(nn.to_module(self.model))
        kept: list[str] = []
        for done, swap in enumerate(found):
            self.tell("add swaps", done, len(found))
            # Alone it has been judged already.
            change = self.change(before, [*kept, swap.layer]) if kept else swap.change
            if change.top1 >= -budget:
                kept.append(swap.layer)
        if not kept:
            loss = -100 * found[0].change.top1
            raise InputError(
                f"--max-drop {100 * budget:g}: no swap stays within it without training; the "
                f"nearest is {found[0].layer}, {loss:.2f} points below the original; allow so "
                "many, or recover the accuracy by `mlcnn finetune`"
            )
        return tuple(replace(swap, kept=swap.layer in kept) for swap in found)


def _multiplications(model: ir.Model) -> int | None:
    """Of one image, once everything is fused that can be; None where sizes are dynamic."""
    try:
        rows = rewrite(model, "fuse", check=False).counts().layers
    except UnsupportedError:
        return None
    return sum(row.chosen.multiplications for row in rows)
