"""What is left of a network behind a head where channels are selected, for many settings at once.

The layers in front run once for each batch, and what stands behind once for each setting, dense,
with channels scaled by 0 or 1: the definition of the selection. Nothing here is lowered.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from mlcnn import engines, graph, nn
from mlcnn.api.skipping.energies import choosing_pj, tables_pj
from mlcnn.api.skipping.work import Work
from mlcnn.engines import Array
from mlcnn.errors import InputError
from mlcnn.frontier.activity import ChannelCosts
from mlcnn.frontier.exits import Judged, judged, softmax
from mlcnn.frontier.relevance import active, candidates, class_means, covering, relevances
from mlcnn.passes.exit_heads import Head, with_heads
from mlcnn.passes.select import HEAD, Place, Selected, places, selectable, with_scales
from mlcnn.training import ImageSet
from mlcnn.workload import Layer, read

__all__ = ["Ran", "Selection", "Setting"]

_BATCH = 100
_LEAST = -1e30

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, order=True)
class Setting:
    """How much of candidates and of channels is kept.

    Attributes:
        beta: probability of the candidates together.
        tau: share of a class's relevance that its channels hold.
    """

    beta: float
    tau: float


@dataclass(frozen=True, slots=True)
class Ran:
    """One setting on some images.

    Attributes:
        head: what the head says.
        end: what the end says, of the candidates alone.
        cost: of each image that goes to the end, shape (images,).
    """

    head: Judged
    end: Judged
    cost: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The layers behind one head.

    Attributes:
        work: the network and how images go to it.
        layer: the last layer in front of the head.
        head: the head.
        layers: those that can compute some channels.
        relevance: of each place's channels for each class, shape (classes, channels).
        before: the cost of an image up to the head, and the head's.
        head_cost: the head's alone.
        more: what choosing costs an image besides, by quantity.
    """

    work: Work
    layer: str
    head: Head
    layers: tuple[Selected, ...]
    relevance: Mapping[Place, Floats]
    before: float
    head_cost: float
    more: Mapping[str, float]
    _costs_of: Mapping[str, ChannelCosts]
    _last: str
    _tables: dict[tuple[Place, float], Flags] = field(default_factory=dict)

    @classmethod
    def of(cls, work: Work, layer: str, head: Head, known: ImageSet) -> "Selection":
        """Behind one head.

        Args:
            work: the network and how images go to it.
            layer: the last layer in front of the head.
            head: the head.
            known: labelled images that tell relevances; the network must not be trained on them.

        Raises:
            InputError: there is no layer to select from, or a class without an image.
        """
        layers = selectable(work.model, head.at)
        if not layers:
            raise InputError(f"behind {layer} there is no convolution whose channels could be left")
        headed = with_heads(work.model, [head])
        first = {item.name for item in read(_until(headed, HEAD), batch=1).layers}
        every = read(headed, batch=1).layers
        cost, relevance = work.cost_of(headed), _relevance(work, head, places(layers), known)
        channels = sum(each.shape[1] for each in relevance.values())
        more = _more(work, head, _values_of(headed, head.at), channels)
        before = sum(cost(item) for item in every if item.name in first)
        own = sum(cost(item) for item in every if item.name == HEAD)
        behind = [_masked(item) for item in every if item.name not in first]
        costs = {item.name: ChannelCosts.of(item, cost) for item in behind}
        last = behind[-1].name if behind[-1].operator == "Gemm" else ""
        return cls(work, layer, head, layers, relevance, before, own, more, costs, last)

    @property
    def places(self) -> tuple[Place, ...]:
        """Where channels are masked."""
        return tuple(self.relevance)

    def tables(self, tau: float) -> dict[Place, Flags]:
        """Which channels each class needs, shape (classes, channels)."""
        for place, relevance in self.relevance.items():
            if (place, tau) not in self._tables:
                self._tables[place, tau] = covering(relevance, tau)
        return {place: self._tables[place, tau] for place in self.relevance}

    def static(self, tau: float) -> dict[Place, Flags]:
        """The channels that all images get, by their mean relevance, shape (channels,)."""
        return {p: covering(r.mean(0, keepdims=True), tau)[0] for p, r in self.relevance.items()}

    def ran(self, images: ImageSet, settings: Sequence[Setting]) -> dict[Setting, Ran]:
        """Every setting on some images."""
        collected: dict[Setting, list[tuple[Floats, Floats]]] = {each: [] for each in settings}
        heads = list[Floats]()
        tail = _Tail(self.work, self.head, self.places)
        for value, scores in self._front(images):
            heads.append(scores.astype(np.float64))
            shares = softmax(scores)
            for setting in settings:
                chosen = candidates(shares, setting.beta)
                masks = {p: active(chosen, t) for p, t in self.tables(setting.tau).items()}
                found = np.where(chosen, tail.scores(value, masks), _LEAST)
                collected[setting].append((found, self._costs(masks, chosen)))
        first = judged(np.concatenate(heads), images.labels)
        result: dict[Setting, Ran] = {}
        for setting, batches in collected.items():
            scores, costs = (np.concatenate(each) for each in zip(*batches, strict=True))
            result[setting] = Ran(first, judged(scores, images.labels), costs)
        return result

    def static_cost(self, tau: float) -> float:
        """What every image costs with static masks, of all classes and without the head."""
        masks = {place: mask[None] for place, mask in self.static(tau).items()}
        free = self.more.get(self.work.quantity, 0.0) + self.head_cost
        return float(self._costs(masks, np.ones((1, 1), bool))[0]) - free

    def _front(self, images: ImageSet) -> Iterator[Sequence[Array]]:
        """What stands at the head, and what it says, batch by batch."""
        headed = with_heads(self.work.model, [self.head])
        return self.work.outputs(_until(headed, self.head.at, HEAD), images, "select channels")

    def _costs(self, masks: Mapping[Place, Flags], chosen: Flags) -> Floats:
        """Of images that go to the end, shape (images,)."""
        selected = {item.layer: item for item in self.layers}
        count = len(chosen)
        found = np.full(count, self.before + self.more.get(self.work.quantity, 0.0))
        for name, costs in self._costs_of.items():
            item, outs, ins = selected.get(name), np.ones(count), np.ones(count)
            if item is not None:
                outs, ins = masks[item.writes].mean(1), masks[item.reads].mean(1)
            elif name == self._last:
                outs = chosen.mean(1)
            found += costs.each(outs, ins)
        return found


def _masked(layer: Layer) -> Layer:
    """A layer of which some channels are computed."""
    return replace(layer, channels=("outputs", "inputs"))


def _until(model: ir.Model, *names: str) -> ir.Model:
    """The network up to some of its values."""
    return graph.extract(model, [value.name or "" for value in model.graph.inputs], names)


def _values_of(model: ir.Model, at: str) -> int:
    """How many numbers a value has for one image."""
    found = next(v for node in model.graph for v in node.outputs if v.name == at)
    dims = () if found.shape is None else found.shape.dims[1:]
    return int(np.prod([dim for dim in dims if isinstance(dim, int)]))


def _more(work: Work, head: Head, values: int, channels: int) -> dict[str, float]:
    """Energies of choosing, by quantity."""
    if work.machines is None:
        return {}
    classes, technology = len(head.weight), work.machines.technology
    found: dict[str, float] = {}
    for machine in work.machines.on:
        name = f"energy_pj {machine.name}" if found else "energy_pj"
        found[name] = choosing_pj(machine, technology, classes, values)
        found[name] += tables_pj(technology, classes, channels)
    return found


class _Tail:
    """What stands behind a head, its channels scaled."""

    def __init__(self, work: Work, head: Head, found: Sequence[Place]) -> None:
        self._at, self._places = head.at, tuple(found)
        self.model = _scaled(work.model, head.at, self._places)
        self._session = engines.get("onnxruntime").prepare(self.model, threads=1)

    def scores(self, value: Array, masks: Mapping[Place, Flags]) -> Array:
        """Class scores, shape (images, classes)."""
        scales = {
            f"scale{i}": masks[place].astype(value.dtype)[:, :, None, None]
            for i, place in enumerate(self._places)
        }
        return next(iter(self._session.run({self._at: value, **scales}).values()))


def _scaled(model: ir.Model, at: str, found: Sequence[Place]) -> ir.Model:
    tail = graph.extract(model, [at], [model.graph.outputs[0].name or ""])
    return with_scales(tail, found)


def _relevance(
    work: Work, head: Head, found: Sequence[Place], known: ImageSet
) -> dict[Place, Floats]:
    """By place, what the margin loses without a channel, for each class: see ``relevances``."""
    front = _until(work.model, head.at)
    module = nn.to_module(_scaled(work.model, head.at, found))
    sizes = _sizes(work.model, found)
    collected = list[list[NDArray[np.floating]]]()
    start = 0
    for (value,) in work.outputs(front, known, "find out what channels matter"):
        for first in range(0, len(value), _BATCH):
            part = torch.from_numpy(np.array(value[first : first + _BATCH]))
            labels = torch.from_numpy(known.labels[start : start + len(part)])
            collected.append(_of_batch(module, part, labels, sizes))
            start += len(part)
    whole = [np.concatenate(each) for each in zip(*collected, strict=True)]
    means = [class_means(each, known.labels, known.classes) for each in whole]
    return dict(zip(found, means, strict=True))


def _of_batch(
    module: torch.nn.Module, values: torch.Tensor, labels: torch.Tensor, sizes: Sequence[int]
) -> list[NDArray[np.floating]]:
    """The derivative by a scale of 1 is the channel times the derivative by it, summed."""
    scales = [
        torch.ones(len(values), size, 1, 1, dtype=values.dtype, requires_grad=True)
        for size in sizes
    ]
    scores = module(values, *scales)
    mine = scores.gather(1, labels[:, None])[:, 0]
    others = scores.scatter(1, labels[:, None], -torch.inf).amax(1)
    gradients = torch.autograd.grad((mine - others).sum(), scales)
    one = np.ones((1, 1, 1, 1))
    return [relevances(one, each.numpy()) for each in gradients]


def _sizes(model: ir.Model, found: Sequence[Place]) -> list[int]:
    shapes = {v.name: v.shape for node in model.graph for v in node.outputs}
    sizes = (shape[1] for place in found if (shape := shapes[place.value]) is not None)
    return [size for size in sizes if isinstance(size, int)]
