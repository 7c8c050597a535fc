"""A network whose masks' thresholds are inputs: one session for every setting that is tried."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn import engines
from mlcnn.api.benchmarking import fixed_batch
from mlcnn.api.skipping.work import Work
from mlcnn.counting import executed_multiplications
from mlcnn.engines import Session
from mlcnn.frontier.activity import Activity
from mlcnn.graph import clone
from mlcnn.ops.focused import KIND
from mlcnn.passes.focus import Focus
from mlcnn.training import ImageSet
from mlcnn.workload import Layer, read

__all__ = ["Opened", "Shown"]

_BATCH = 125
_SCORED = 500
"""Images whose scores say where a share of the positions lies; each has its hundreds."""


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What a network with masks gives for images.

    Attributes:
        scores: shape (images, classes); empty where only masks were asked for.
        cost: multiplications of each image, shape (images,).
    """

    scores: NDArray[np.float32]
    cost: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A network with masks whose thresholds are not yet chosen.

    Attributes:
        work: how images go to the network.
        model: without masks, batch norms folded.
        focus: the masks; its thresholds do not matter.
        layers: of the network with masks.
    """

    work: Work
    model: ir.Model
    focus: Focus
    layers: Sequence[Layer]
    _whole: Session
    _masks: Session
    _quantiles: NDArray[np.float64]

    @classmethod
    def of(cls, work: Work, model: ir.Model, focus: Focus, images: ImageSet) -> "Opened":
        """Prepare a network with masks.

        Args:
            work: how images go to the network.
            model: without masks.
            focus: the masks, of one threshold.
            images: those whose scores say which thresholds leave out which share.

        Raises:
            InputError: the network has no layer that can be focused there.
        """
        grids = focus.grids(model)
        more = max(grids.values(), default=0)
        # Thresholds that are alike would be one.
        focus = replace(focus, threshold=0.0, later=tuple(float(n + 1) for n in range(more)))
        layers = read(focus.apply(model).model, batch=1).every
        opened = focus.opened(model)
        names = dict.fromkeys(layer.positions for layer in layers if layer.positions)
        values = {value.name or "": value for node in opened.graph for value in node.outputs}
        opened.graph.outputs.extend(values[name] for name in names)
        masks = clone(opened)
        del masks.graph.outputs[:1]
        engine = engines.get("onnxruntime")
        whole, alone = (engine.prepare(each, threads=1) for each in (opened, masks))
        found = work.scores(focus.scores(model), images.first(_SCORED), "score positions")[0]
        quantiles = np.quantile(found.astype(np.float64), np.linspace(0, 1, 1001))
        return cls(work, model, focus, layers, whole, alone, quantiles)

    @property
    def parts(self) -> int:
        """Sizes of layers, each with a share of its own."""
        return len(self.focus.thresholds)

    def dense(self) -> float:
        """Multiplications of the network without masks."""
        return sum(map(executed_multiplications, read(self.model, batch=1).layers))

    def settled(self, shares: Sequence[float]) -> Focus:
        """The masks that leave out shares of the positions; nothing of a size is no mask there."""
        first, *later = self._thresholds(shares)
        grids = self.focus.grids(self.model)
        none = tuple(name for name, grid in grids.items() if not shares[grid])
        return replace(self.focus, threshold=first, later=tuple(later), exclude=none)

    def _thresholds(self, shares: Sequence[float]) -> tuple[float, ...]:
        at = np.linspace(0, 1, len(self._quantiles))
        # None at all is below every score, of other images too.
        return tuple(
            float(np.float32(np.interp(share, at, self._quantiles))) if share else -1e30
            for share in shares
        )

    def costs(self, shares: Sequence[float], images: ImageSet) -> NDArray[np.float64]:
        """Multiplications of each image; what the layers give is not computed.

        Args:
            shares: of the positions that are left out, for each size of layers.
            images: which.
        """
        return self._run(self._masks, shares, images, 0).cost

    def shown(self, shares: Sequence[float], images: ImageSet) -> Shown:
        """What the network gives; see ``costs``."""
        return self._run(self._whole, shares, images, 1)

    def _run(
        self, session: Session, shares: Sequence[float], images: ImageSet, first: int
    ) -> Shown:
        """One pass; in front of the masks stand so many outputs."""
        scores, kept = list[NDArray[np.float32]](), list[Mapping[str, NDArray[np.float64]]]()
        name = self.model.graph.inputs[0].name or ""
        thresholds = {
            f"threshold{index}": np.asarray(value, np.float32)
            for index, value in enumerate(self._thresholds(shares), 1)
        }
        masks = list(dict.fromkeys(la.positions for la in self.layers if la.positions))
        step = fixed_batch(self.model) or _BATCH
        for start in range(0, len(images), step):
            pixels = self.work.normal.apply(images.images[start : start + step])
            found = [*session.run({name: pixels, **thresholds}).values()]
            scores += (each.astype(np.float32) for each in found[:first])
            kept.append({m: f.mean((1, 2, 3)) for m, f in zip(masks, found[first:], strict=True)})
        each = {(KIND, m): np.concatenate([part[m] for part in kept]) for m in masks}
        activity = Activity({}, len(images), each)
        cost = activity.each(self.layers, executed_multiplications)
        return Shown(np.concatenate(scores) if scores else np.empty((0, 0), np.float32), cost)
