"""Which masks leave out most for what they do to the results: sources, rules, shares."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir

from mlcnn.api.skipping.opened import Opened
from mlcnn.api.skipping.work import Parts, Work
from mlcnn.errors import InputError
from mlcnn.frontier.shares import Path, farthest, path
from mlcnn.graph import clone, layer_name
from mlcnn.ops import Emitter
from mlcnn.ops.focused import Growth, Outside, Striding
from mlcnn.passes.exit_heads import exit_points
from mlcnn.passes.focus import Focus
from mlcnn.passes.rewriting import opset_of
from mlcnn.training import ImageSet
from mlcnn.training.quantisation import divergence

__all__ = ["CENTRE", "RANDOM", "Masking", "Search"]

CENTRE, RANDOM = "centre", "random"
"""Sources that know nothing of the image."""

_LOOKED_AT = 500
_FILLED = 500
_COUNTED = 100
"""Images that multiplications are counted on while masks are compared."""
_STEPS = 8
_COST = 0.75
"""Share of the multiplications that masks are compared at."""
_NEAR = 0.03
"""What may be between costs that are called the same; masks that grow back leave out little."""
_LEVELS = (0.15, 0.3, 0.45, 0.6, 0.75, 0.9)
_SOURCES: tuple[Mapping[str, object], ...] = (
    {"source": "contrast", "prior": 1.0},
    {"source": "contrast", "prior": 2.0},
    {"source": "contrast", "prior": 4.0},
    {"source": "brightness"},
)
_RULES = (
    (Growth.SAME, Striding.ANY), (Growth.PATCH, Striding.MAJORITY),
    (Growth.GROW, Striding.MAJORITY),
)  # fmt: skip
_PLACES = 2


@dataclass(frozen=True, slots=True, eq=False)
class Masking:
    """Masks, and the path along which they leave out more and more.

    Attributes:
        opened: the network with them.
        layer: behind which they are made.
        path: shares that are left out of the layers of each size.
        fill: what layers give there: ``zero`` or ``mean``.
        trained: how far along the network was trained under them; 0 where it was not.
    """

    opened: Opened
    layer: str
    path: Path
    fill: str
    trained: float = 0.0

    @property
    def source(self) -> str:
        """Where the masks come from."""
        return self.opened.focus.source

    def setting(self, way: float) -> dict[str, float | str]:
        """In words, so far along the path."""
        focus = self.opened.focus
        shares = "/".join(f"{100 * share:.0f}" for share in self.path.at(way))
        found: dict[str, float | str] = {"behind": self.layer, "below threshold": f"{shares} %"}
        if focus.source == "contrast":
            found["prior"] = focus.prior
        return found | {"rules": f"{focus.grow} {focus.stride}", "rest": self.fill}

    def at_cost(self, share: float, images: ImageSet) -> float:
        """How far along the path so much of the multiplications is left.

        Args:
            share: of the network's without masks.
            images: what they are counted on.
        """
        low, high = 0.0, float(self.path.length)
        dense = self.opened.dense()
        off = {0.0: abs(1 - share)}
        for _ in range(_STEPS):
            middle = (low + high) / 2
            cost = float(self.opened.costs(self.path.at(middle), images).mean())
            off[middle] = abs(cost / dense - share)
            low, high = (middle, high) if cost > share * dense else (low, middle)
        # Masks that are the same of every image have few costs: the nearest one.
        return min(off, key=lambda way: off[way])


@dataclass(slots=True, eq=False)
class Search:
    """Looks for masks on the images that choose.

    Attributes:
        work: the network and its images.
        parts: the images.
        model: the network that masks are looked for in: the original, or one trained under masks.
    """

    work: Work
    parts: Parts
    model: ir.Model
    _means: dict[str, Outside] = field(default_factory=dict[str, Outside])
    _expected: np.ndarray | None = None
    _before: list[float] = field(default_factory=list[float])

    def maskings(self) -> tuple[Masking, ...]:
        """The best masks that know the image, and the best that do not, each with its path.

        Raises:
            InputError: there is no place for a mask.
        """
        places = self._places()
        first = replace(Focus(places[0][1], stride=Striding.MAJORITY.value), outside=self.means())
        seeing = self._best([self._with(first, options) for options in _SOURCES])
        blind = replace(first, source=CENTRE)
        found: list[Masking] = []
        for focus in (seeing, blind):
            best = self._best(self._varied(focus, [at for _, at in places[1:]]))
            layer = next(layer for layer, at in places if at == best.at)
            found.append(self.masking(best, layer))
        return tuple(found)

    def masking(self, focus: Focus, layer: str, found: Path | None = None) -> Masking:
        """Masks with a path; it is looked for where none is given."""
        opened = Opened.of(self.work, self.model, focus, self.parts.choose)
        fill = "mean" if focus.outside else "zero"
        return Masking(opened, layer, found or self._path(opened), fill)

    def farthest(self, masking: Masking, budget: float) -> float:
        """How far along its path the original's accuracy is kept but for a budget, 0 to 1."""
        return farthest(
            lambda way: self.lost(masking, way), lambda way: self.lost(masking, way, 1), budget,
            masking.path.length, start=masking.trained,
        )  # fmt: skip

    def lost(self, masking: Masking, way: float, part: int = 0) -> float:
        """Share of the images that choose (of those that check: part 1) that masks lose."""
        both = (self.parts.choose, self.parts.check)
        if not self._before:
            self._before = [self.work.says(self.work.model, p).right.mean() for p in both]
        self.work.tell(f"try masks by {masking.source}", 0, 0)
        scores = masking.opened.shown(masking.path.at(way), both[part]).scores
        return float(self._before[part] - (scores.argmax(1) == both[part].labels).mean())

    def blind(self) -> Iterator[Masking]:
        """Masks behind the first place that know nothing of the image: as much of every layer."""
        layer, at = self._places()[0]
        first = replace(Focus(at, stride=Striding.MAJORITY.value), outside=self.means())
        for source in (CENTRE, RANDOM):
            yield self._even(replace(first, source=source), layer)

    def _even(self, focus: Focus, layer: str) -> Masking:
        """Masks that leave out as much of layers of every size."""
        opened = Opened.of(self.work, self.model, focus, self.parts.choose)
        even = Path(((0.0,) * opened.parts, (1.0,) * opened.parts))
        return Masking(opened, layer, even, "mean" if focus.outside else "zero")

    def means(self) -> dict[str, Outside]:
        """What convolutions give on average, channel by channel."""
        if not self._means:
            probe = clone(self.model)
            layers = [node for node in probe.graph if node.op_type == "Conv"]
            emitter = Emitter(opset_of(probe), np.dtype(np.float32), "focus/mean")
            axes = emitter.integers((2, 3), "axes")
            means = [
                emitter.op("ReduceMean", [node.outputs[0], axes], keepdims=1) for node in layers
            ]
            for value in means:
                value.name = f"focus/{value.producer().name}"  # pyright: ignore[reportOptionalMemberAccess]
                value.dtype = ir.DataType.FLOAT
            probe.graph.register_initializer(axes)
            probe.graph.extend(emitter.nodes)
            probe.graph.outputs[:] = means
            images = self.parts.heads.first(_FILLED)
            found = self.work.scores(probe, images, "look at the values on the way")
            self._means = {
                layer_name(node): Outside(each.mean(0, keepdims=True))
                for node, each in zip(layers, found, strict=True)
            }
        return self._means

    def _places(self) -> list[tuple[str, str]]:
        """The first places where all that is known of an image is one value."""
        found = exit_points(self.model)[:_PLACES]
        if not found:
            raise InputError("no place for a mask: the network has no layers with height and width")
        return [*found]

    def _with(self, focus: Focus, options: Mapping[str, object]) -> Focus:
        return replace(focus, **options)  # pyright: ignore[reportArgumentType]

    def _varied(self, focus: Focus, places: Sequence[str]) -> Iterator[Focus]:
        """The same with other rules, behind another layer, with zeros for what is left out."""
        yield focus
        yield replace(focus, outside={})
        yield from (replace(focus, at=at) for at in places)
        yield from (replace(focus, grow=g.value, stride=s.value) for g, s in _RULES)

    def _best(self, candidates: "Sequence[Focus] | Iterator[Focus]") -> Focus:
        """What does least to the results at one cost."""
        found = [(self._harm(focus), index, focus) for index, focus in enumerate(candidates)]
        return min(found)[2]

    def _harm(self, focus: Focus) -> float:
        """What masks do at the cost they are compared at; endless where they do not get there."""
        self.work.tell(f"compare masks by {focus.source}", 0, 0)
        masking, few = self._even(focus, ""), self.parts.choose.first(_COUNTED)
        opened, shares = masking.opened, masking.path.at(masking.at_cost(_COST, few))
        reached = float(opened.costs(shares, few).mean()) / opened.dense()
        return self.moved(opened, shares) if abs(reached - _COST) < _NEAR else np.inf

    def moved(self, opened: Opened, shares: Sequence[float]) -> float:
        """How far the results are from those without masks."""
        images = self.parts.choose.first(_LOOKED_AT)
        if self._expected is None:
            (scores,) = self.work.scores(self.model, images, "classify")
            self._expected = scores.astype(np.float32)
        return divergence(self._expected, opened.shown(shares, images).scores)

    def _path(self, opened: Opened) -> Path:
        """What is left out first, from each size of layers alone."""
        few, dense = self.parts.choose.first(_COUNTED), opened.dense()
        harms, saved = list[list[float]](), list[list[float]]()
        for part in range(opened.parts):
            self.work.tell("find out what masks do", part, opened.parts)
            each = [
                tuple(level if index == part else 0.0 for index in range(opened.parts))
                for level in _LEVELS
            ]
            harms.append([self.moved(opened, shares) for shares in each])
            saved.append([dense - float(opened.costs(shares, few).mean()) for shares in each])
        return path(_LEVELS, harms, saved)
