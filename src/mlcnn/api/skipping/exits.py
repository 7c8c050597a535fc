"""Exits: images leave a network where a first head is sure of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from mlcnn import graph
from mlcnn.api.skipping.work import Candidate, Parts, Work
from mlcnn.counting import executed_multiplications
from mlcnn.errors import InputError
from mlcnn.frontier.exits import Judged, Thresholds, judged, softmax, thresholds
from mlcnn.passes.early_exit import EarlyExit
from mlcnn.passes.exit_heads import GRID, Head, exit_points, with_heads
from mlcnn.training import ImageSet
from mlcnn.training.heads import fit_linear, region_means
from mlcnn.workload import Layer, read

__all__ = ["Ends", "Found", "Place", "Search", "candidate"]

_LEAST, _MOST = 0.05, 0.95
_PLACES = 8
_TIGHTER = 5


@dataclass(frozen=True, slots=True)
class Place:
    """A head, fitted, and what it says of the images that thresholds are chosen and checked on.

    Attributes:
        layer: the last one in front of it.
        head: the head.
        choose: of the images that choose.
        check: of those that check.
        shares: probabilities of all classes, of both, shape (images, classes).
    """

    layer: str
    head: Head
    choose: Judged
    check: Judged
    shares: tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Ends:
    """What the whole network says of the images that thresholds are chosen and checked on.

    Attributes:
        choose: of those that choose.
        check: of those that check.
        before: how many of both the original has right, which a trained one may differ from.
    """

    choose: Judged
    check: Judged
    before: tuple[int, int]

    def allowed(self, share: float) -> float:
        """Images that may be lost to what the network has right now, for a share of all."""
        return share * len(self.choose.right) - self.before[0] + int(self.choose.right.sum())

    def drop(self, exits: Sequence[Judged], values: Sequence[float]) -> float:
        """What is lost to the original on the images that check, 0 to 1."""
        right = self.check.right.copy()
        for says, value in zip(reversed(exits), reversed(values), strict=True):
            right = np.where(says.sure >= value, says.right, right)
        return self.before[1] / len(right) - float(right.mean())


@dataclass(frozen=True, slots=True)
class Found:
    """Exits with thresholds, within the budget on the images that they were chosen on."""

    places: tuple[Place, ...]
    thresholds: Thresholds

    @property
    def setting(self) -> dict[str, float | str]:
        """What the point on the curve says of it."""
        values = self.thresholds.values
        return {p.layer: value for p, value in zip(self.places, values, strict=True)}

    @property
    def text(self) -> str:
        """As ``early-exit`` takes it."""
        return "+".join(f"exit{i}={value!r}" for i, value in enumerate(self.thresholds.values, 1))


def candidate(model: ir.Model, item: Found) -> Candidate:
    """The network with exits, to be judged."""
    heads = with_heads(model, [place.head for place in item.places])
    return Candidate("exit", item.setting, EarlyExit(item.text).apply(heads).model, heads)


@dataclass(frozen=True, slots=True)
class Search:
    """Looks for exits within the budget.

    Attributes:
        work: what is left to do.
        parts: the images.
        model: the network that heads stand in: the original, or what was trained with them.
    """

    work: Work
    parts: Parts
    model: ir.Model

    def found(self, heads: Mapping[str, Head]) -> tuple[Found, ...]:
        """The best pair and the three best places.

        Raises:
            InputError: none saves anything within the budget.
        """
        return self.found_at(self.places(heads))

    def found_at(self, places: Sequence[Place]) -> tuple[Found, ...]:
        """The same, where it is known already what heads say; see ``found``."""
        work, images = self.work, (self.parts.choose, self.parts.check)
        choose, check = (work.says(self.model, part) for part in images)
        first, second = (int(work.says(work.model, part).right.sum()) for part in images)
        return self.search(places, Ends(choose, check, (first, second)))

    def fitted(self) -> dict[str, Head]:
        """Heads where a network can be left after a twentieth of its work, or more."""
        points, images = self._points(), self.parts.heads
        found: dict[str, Head] = {}
        features = self._features([*points.values()], images)
        for (layer, name), inputs in zip(points.items(), features, strict=True):
            self.work.tell("fit heads", len(found), len(points))
            found[layer] = Head(name, *fit_linear(inputs, images.labels, images.classes))
        return found

    def taken(self, heads: Mapping[str, Head]) -> dict[str, Head]:
        """The heads from the first on that the network as it is would be left at.

        Those in front of it cost the others while they train; those behind it become better. All
        where there is none.
        """
        try:
            found = self.found(heads)
        except InputError:
            return {**heads}
        layers = {place.layer for item in found for place in item.places}
        first = next(index for index, layer in enumerate(heads) if layer in layers)
        return dict(list(heads.items())[first:])

    def _features(self, names: Sequence[str], images: ImageSet) -> list[torch.Tensor]:
        """What heads read at some values."""
        copied = graph.clone(self.model)
        values = {v.name: v for node in copied.graph for v in node.outputs}
        copied.graph.outputs.extend(values[name] for name in names)
        batches: list[list[torch.Tensor]] = [[] for _ in names]
        for _, *found in self.work.outputs(copied, images, "look at the values on the way"):
            for batch, value in zip(batches, found, strict=True):
                batch.append(region_means(torch.from_numpy(value), GRID))
        return [torch.cat(batch) for batch in batches]

    def places(self, heads: Mapping[str, Head]) -> tuple[Place, ...]:
        """What heads say of the images."""
        names = [head.at for head in heads.values()]
        both = (self.parts.choose, self.parts.check)
        inputs = [self._features(names, images) for images in both]
        found: list[Place] = []
        for index, (layer, head) in enumerate(heads.items()):
            scores = [each[index].numpy() @ head.weight.T + head.bias for each in inputs]
            says = [judged(s, images.labels) for s, images in zip(scores, both, strict=True)]
            shares = (softmax(scores[0]), softmax(scores[1]))
            found.append(Place(layer, head, says[0], says[1], shares))
            self.work.say(f"a head behind {layer}: {100 * says[0].right.mean():.1f} % alone")
        return tuple(found)

    def _points(self) -> dict[str, str]:
        """Values by the layer in front of them, at most eight, evenly over the network's work."""
        share = self._shares()
        sizes = {v.name: v.shape for node in self.model.graph for v in node.outputs}
        found = {
            layer: name
            for layer, name in exit_points(self.model)
            if _LEAST <= share.get(layer, 1.0) <= _MOST and _is_wide(sizes.get(name))
        }
        if not found:
            raise InputError(
                "no place for an exit: between a twentieth and 95 % of the network's work there is "
                f"no single value of at least {GRID}x{GRID} positions"
            )
        kept = np.unique(np.linspace(0, len(found) - 1, _PLACES).round().astype(int))
        return {layer: name for i, (layer, name) in enumerate(found.items()) if i in kept}

    def between(
        self, heads: Mapping[str, Head], ends: tuple[float, float], most: int
    ) -> dict[str, Head]:
        """Heads, evenly, that have a share of the network's work in front of them; all if none has.

        Args:
            heads: by the layer in front of them.
            ends: the least share and the largest.
            most: how many at most.
        """
        share = self._shares()
        found = [name for name in heads if ends[0] <= share.get(name, 0.0) <= ends[1]] or [*heads]
        kept = np.unique(np.linspace(0, len(found) - 1, most).round().astype(int))
        return {found[i]: heads[found[i]] for i in kept}

    @property
    def whole_cost(self) -> float:
        """What the network costs an image."""
        cost = self.work.cost_of(self.model)
        return sum(map(cost, read(self.model, batch=1).layers))

    def _shares(self) -> dict[str, float]:
        """The share of the network's work that is done with each layer."""
        layers = read(self.model, batch=1).layers
        work = np.cumsum([executed_multiplications(layer) for layer in layers])
        return {la.name: float(done / work[-1]) for la, done in zip(layers, work, strict=True)}

    def search(self, places: Sequence[Place], end: Ends) -> tuple[Found, ...]:
        """The cheapest thresholds of the best pair and of the three best places."""
        cost = self.work.cost_of(with_heads(self.model, [place.head for place in places]))
        found: list[Found] = []
        sets = [*combinations(places, 1)]
        sets += combinations(places, 2) if self.work.options.exits == 2 else []
        for done, each in enumerate(sets):
            self.work.tell("choose thresholds", done, len(sets))
            result = self._within(each, end, self.cumulative(each, cost))
            if result is not None:
                found.append(Found(each, result))
        if not found:
            raise InputError(
                f"--max-drop {self.work.options.max_drop:g}: no exit saves anything within it; "
                "allow more, or train heads with the network"
            )
        order = sorted(found, key=lambda item: item.thresholds.cost)
        pairs = [item for item in order if len(item.places) == 2]
        singles = [item for item in order if len(item.places) == 1]
        return (*pairs[:1], *singles[:3])

    def _within(
        self, places: Sequence[Place], end: Ends, costs: Sequence[float]
    ) -> Thresholds | None:
        """Chosen on some images, with less to lose as long as others lose more than the budget."""
        budget = self.work.options.max_drop / 100
        allowed = budget
        for _ in range(_TIGHTER):
            count = end.allowed(allowed)
            result = thresholds([place.choose for place in places], end.choose, costs, count)
            if max(result.values) > 1:  # no image leaves at one of them: others do without it
                return None
            drop = end.drop([place.check for place in places], result.values)
            if drop <= budget:
                return result
            allowed *= min(budget / drop, 0.9)
        return None

    def cumulative(self, places: Sequence[Place], cost: Callable[[Layer], float]) -> list[float]:
        """What an image costs that leaves at each place, and at the end.

        Args:
            places: in order.
            cost: of a layer.
        """
        model = with_heads(self.model, [place.head for place in places])
        model = EarlyExit("+".join(f"exit{i}=0.5" for i in range(1, len(places) + 1))).apply(model)
        layers = read(model.model, batch=1).every
        conditions = list(dict.fromkeys(layer.condition for layer in layers))
        parts = [sum(cost(la) for la in layers if la.condition == c) for c in conditions]
        return np.cumsum(parts).tolist()


def _is_wide(shape: ir.Shape | None) -> bool:
    dims = () if shape is None else shape.dims[2:]
    return len(dims) == 2 and all(isinstance(d, int) and d >= GRID for d in dims)
