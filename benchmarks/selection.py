"""What selective activation saves of a trained ResNet-20, beside an exit and static masks.

A head behind layer2 names candidate classes; in layer3 the channels that they need are computed.
Channels' relevance comes from one part of the test images, thresholds are chosen on a second one,
and a third one is reported. Energy is that of one image, heads, tables and their logic included:

    python -m benchmarks.selection --weights resnet20.npz --cifar10 FOLDER
"""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mlcnn import training, zoo
from mlcnn.accelerators import (
    LayerTask,
    Precision,
    evaluate_layer,
    load_accelerator,
    load_technology,
)
from mlcnn.frontier.exits import judged, thresholds
from mlcnn.frontier.relevance import (
    active,
    candidates,
    class_means,
    covering,
    margins,
    products,
    relevances,
)
from mlcnn.passes import pipeline
from mlcnn.training.heads import fit_linear, region_means
from mlcnn.training.intervals import paired
from mlcnn.workload import read

__all__ = ["main"]

_BATCH = 100
_CLASSES = 10
_BETAS = (0.9, 0.97, 0.99, 0.999, 1.0)
_TAUS = (0.5, 0.65, 0.8, 0.9, 0.95, 0.985)
_BLOCKS = (0, 1, 2)
_STEP = 8
_GRID = 2

Masks = Mapping[str, NDArray[np.bool_]]
Each = NDArray[np.float64]
_ENDS = (("conv1", "in", "inner"), ("conv2", "inner", "out"))
"""Of a block's convolutions: the masks of what it reads and of what it writes."""


class _Tail:
    """Layer3 and what follows: selected, or watched.

    Of each block, ``in`` is what its first convolution reads, ``inner`` what that one writes behind
    its activation, ``out`` what the second one adds to the shortcut.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def scores(self, values: Tensor, at: Callable[[str, Tensor], Tensor]) -> Tensor:
        """Class scores; ``at`` is given each place's value and returns what is used there."""
        for index in _BLOCKS:
            block, name = self._module.get_submodule(f"layer3.{index}"), f"{index}."
            inner = block.relu1(block.bn1(block.conv1(at(f"{name}in", values))))
            out = at(f"{name}out", block.bn2(block.conv2(at(f"{name}inner", inner))))
            values = block.relu2(out + block.shortcut(values))
        pooled = self._module.flatten(self._module.avgpool(values))
        return self._module.linear(pooled)

    def selected(self, values: Tensor, masks: Masks) -> NDArray[np.float32]:
        """Class scores, shape (images, classes); masks have a row for each image."""
        found: list[Tensor] = []
        with torch.no_grad():
            for start in range(0, len(values), _BATCH):
                part = slice(start, start + _BATCH)

                def at(name: str, value: Tensor, part: slice = part) -> Tensor:
                    mask = torch.from_numpy(masks[name][part]) if name in masks else None
                    return value if mask is None else value * mask[:, :, None, None]

                found.append(self.scores(values[part], at))
        return torch.cat(found).numpy()

    def relevance(self, values: Tensor, labels: NDArray[np.int64]) -> dict[str, Each]:
        """By place: the mean relevance for each class, shape (classes, channels)."""
        found: dict[str, list[NDArray[np.floating]]] = {}
        for start in range(0, len(values), _BATCH):
            part, seen = slice(start, start + _BATCH), dict[str, Tensor]()

            def at(name: str, value: Tensor, seen: dict[str, Tensor] = seen) -> Tensor:
                # A copy, so that the derivative is by what is read here and not by the shortcut.
                seen[name] = value.clone() if value.requires_grad else value.requires_grad_()
                return seen[name]

            scores = self.scores(values[part].clone(), at)
            others = margins(scores.detach().numpy(), labels[part])
            strongest = scores.detach().clone()
            rows = torch.arange(len(scores))
            strongest[rows, labels[part]] = -torch.inf
            mine, best = scores[rows, labels[part]], scores[rows, strongest.argmax(1)]
            assert np.allclose((mine - best).detach().numpy(), others, atol=1e-4)
            gradients = torch.autograd.grad((mine - best).sum(), list(seen.values()))
            for (name, value), gradient in zip(seen.items(), gradients, strict=True):
                each = relevances(value.detach().numpy(), gradient.numpy())
                found.setdefault(name, []).append(each)
        return {n: class_means(np.concatenate(e), labels, _CLASSES) for n, e in found.items()}


class _Costs:
    """Multiplications and energy in pJ of one image, by layer and numbers of channels.

    Energies are taken at multiples of eight channels, and interpolated between these.
    """

    def __init__(self, model: ir.Model, machine: str) -> None:
        self.layers = {layer.name: layer for layer in read(model, batch=1).layers}
        self.technology = load_technology()
        self._machine = load_accelerator(machine)
        self._tables: dict[str, Each] = {}

    def energy(self, name: str, filters: int, channels: int) -> float:
        """Of a layer with so many channels."""
        if not filters * channels:
            return 0.0
        layer = self.layers[name]
        nest = replace(layer.nest, K=filters, C=channels)
        task = LayerTask(replace(layer, nest=nest, parts=(nest,), mask=None))
        return evaluate_layer(task, self._machine, self.technology).energy.total

    def dense(self, names: Iterable[str]) -> NDArray[np.float64]:
        """Multiplications and energy of layers as they are."""
        nests = {name: self.layers[name].nest for name in names}
        pairs = [(nest.macs, self.energy(name, nest.K, nest.C)) for name, nest in nests.items()]
        return np.array(pairs, np.float64).sum(0)

    def each(self, name: str, outs: NDArray[np.bool_], ins: NDArray[np.bool_]) -> Each:
        """Multiplications and energy for each image, shape (images, 2)."""
        nest = self.layers[name].nest
        table = self._tables.setdefault(name, self._table(name))
        macs = products(outs, ins, nest.macs // (nest.K * nest.C)).astype(np.float64)
        row, column = outs.sum(1) / _STEP, ins.sum(1) / _STEP
        low = np.minimum(row.astype(int), len(table) - 2)
        left = np.minimum(column.astype(int), table.shape[1] - 2)
        down, right = row - low, column - left
        upper = table[low, left] * (1 - right) + table[low, left + 1] * right
        lower = table[low + 1, left] * (1 - right) + table[low + 1, left + 1] * right
        return np.stack([macs, upper * (1 - down) + lower * down], 1)

    def _table(self, name: str) -> Each:
        nest = self.layers[name].nest
        rows, columns = range(0, nest.K + 1, _STEP), range(0, nest.C + 1, _STEP)
        return np.array([[self.energy(name, k, c) for c in columns] for k in rows])

    def head(self, features: int, values: int) -> NDArray[np.float64]:
        """A head: sums of values to features, its layer, and softmax with its comparisons."""
        layer = self.layers["linear"]
        nest = replace(layer.nest, C=features)
        task = LayerTask(replace(layer, nest=nest, parts=(nest,), mask=None))
        energy = evaluate_layer(task, self._machine, self.technology).energy.total
        costs = self.technology.operations[Precision.FP32]
        # An exponential as four products and sums; every class compared with every other one.
        logic = 4 * _CLASSES * (costs.multiply.energy_pj + costs.add.energy_pj)
        logic += (values + _CLASSES**2) * costs.add.energy_pj
        return np.array([nest.macs + 4 * _CLASSES, energy + logic])

    def tables(self, channels: int) -> NDArray[np.float64]:
        """Masks of all classes, from DRAM through a register, and the OR over the candidates."""
        bits, technology = channels * _CLASSES, self.technology
        each = technology.dram.pj_per_bit + 2 * technology.register.energy_pj_per_bit
        return np.array([0.0, bits * each])


@dataclass(frozen=True, slots=True)
class _Part:
    """Images with what stands behind layer2, and what the head and the whole network say.

    Attributes:
        values: shape (images, 32, 16, 16).
        labels: shape (images,).
        head: probabilities, shape (images, classes).
        dense: scores, shape (images, classes).
    """

    values: Tensor
    labels: NDArray[np.int64]
    head: NDArray[np.float64]
    dense: NDArray[np.float32]

    @property
    def right(self) -> NDArray[np.bool_]:
        """What the whole network has right."""
        return self.dense.argmax(1) == self.labels


@dataclass(frozen=True, slots=True)
class _Ran:
    """One setting on one part.

    Attributes:
        right: shape (images,).
        costs: multiplications and energy, shape (images, 2).
        scores: shape (images, classes).
    """

    right: NDArray[np.bool_]
    costs: Each
    scores: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Work:
    """What all settings share."""

    tail: "_Tail"
    costs: _Costs
    relevance: Mapping[str, Each]
    first: NDArray[np.float64]
    head: NDArray[np.float64]
    tables: NDArray[np.float64]
    whole: NDArray[np.float64]

    def ran(self, part: _Part, masks: Masks, rows: NDArray[np.bool_], extra: Each) -> _Ran:
        """With masks; of the last layer the rows of candidates."""
        scores = np.where(rows, self.tail.selected(part.values, masks), -np.inf)
        costs = np.zeros((len(part.labels), 2)) + self.first + extra
        for index, (name, ins, outs) in product(_BLOCKS, _ENDS):
            layer = f"layer3.{index}.{name}"
            costs += self.costs.each(layer, masks[f"{index}.{outs}"], masks[f"{index}.{ins}"])
        last = self.costs.dense(["linear"])
        costs += last * rows.mean(1)[:, None]
        return _Ran(scores.argmax(1) == part.labels, costs, scores)

    def selected(self, part: _Part, beta: float, tau: float) -> _Ran:
        """Selective activation."""
        chosen = candidates(part.head, beta)
        masks = {n: active(chosen, covering(r, tau)) for n, r in self.relevance.items()}
        return self.ran(part, masks, chosen, self.head + self.tables)

    def static(self, part: _Part, tau: float) -> _Ran:
        """The same channels for all images: those of the mean relevance."""
        count = len(part.labels)
        masks = {
            n: np.repeat(covering(r.mean(0, keepdims=True), tau), count, 0)
            for n, r in self.relevance.items()
        }
        return self.ran(part, masks, np.ones((count, _CLASSES), bool), np.zeros(2))

    def left(self, part: _Part, ran: _Ran | None, sure: float) -> _Ran:
        """Images that the head is sure of leave; the others go on, selected where ``ran`` says."""
        leave = part.head.max(1) >= sure
        scores = part.dense if ran is None else ran.scores
        right = np.where(leave, part.head.argmax(1) == part.labels, scores.argmax(1) == part.labels)
        on = self.whole + self.head if ran is None else ran.costs
        costs = np.where(leave[:, None], self.first + self.head, on)
        return _Ran(right, costs, scores)


def _exit(work: _Work, part: _Part, ran: _Ran | None, budget: float) -> float:
    """From which probability on images leave, chosen within a budget of the dense network."""
    here = judged(np.log(part.head.clip(1e-30)), part.labels)
    end = judged(part.dense if ran is None else np.maximum(ran.scores, -1e30), part.labels)
    allowed = budget * len(part.labels) - (int(part.right.sum()) - int(end.right.sum()))
    on = work.whole + work.head if ran is None else ran.costs.mean(0)
    costs = ((work.first + work.head)[1], float(on[1]))
    return thresholds([here], end, costs, allowed).values[0]


def _told(name: str, work: _Work, part: _Part, ran: _Ran) -> str:
    """A line: costs over the dense network's, and accuracy against it."""
    share = ran.costs / work.whole
    change = paired(part.right, ran.right)
    low, high = change.interval
    return (
        f"{name:52} multiplications {share[:, 0].mean():.3f}  energy {share[:, 1].mean():.3f} "
        f"(sd {share[:, 1].std():.3f}, p95 {np.quantile(share[:, 1], 0.95):.3f}, most "
        f"{share[:, 1].max():.3f})  {100 * ran.right.mean():.2f} %, {100 * change.top1:+.2f} "
        f"({100 * low:+.2f} to {100 * high:+.2f})"
    )


def _static_of(work: _Work, part: _Part, energy: float) -> float:
    """The tau whose static masks cost so much energy on average."""
    low, high = 0.05, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        cheap = work.static(_some(part, 1), middle).costs[:, 1].mean() <= energy
        low, high = (middle, high) if cheap else (low, middle)
    return low


def _some(part: _Part, count: int) -> _Part:
    return _Part(part.values[:count], part.labels[:count], part.head[:count], part.dense[:count])


def _compare(work: _Work, choose: _Part, test: _Part, budgets: Sequence[float]) -> None:
    """Print what each way gives within each budget."""
    settings = {pair: work.selected(choose, *pair) for pair in product(_BETAS, _TAUS)}
    for budget in budgets:
        print(f"budget {100 * budget:g} points", flush=True)
        least = int(choose.right.sum()) - budget * len(choose.labels)
        within = {p: r for p, r in settings.items() if r.right.sum() >= least}
        beta, tau = min(within, key=lambda pair: within[pair].costs[:, 1].mean())
        alone = work.selected(test, beta, tau)
        print(_told(f"  selection, beta {beta:g} tau {tau:g}", work, test, alone))
        level = _static_of(work, test, float(alone.costs[:, 1].mean()))
        print(_told(f"  static masks at that energy, tau {level:.3f}", work, test,
                    work.static(test, level)))  # fmt: skip
        sure = _exit(work, choose, None, budget)
        print(_told(f"  exit, from {sure:.3f}", work, test, work.left(test, None, sure)))
        pairs = {p: _exit(work, choose, r, budget) for p, r in settings.items()}
        both = {p: work.left(choose, settings[p], v) for p, v in pairs.items()}
        kept = {p: r for p, r in both.items() if r.right.sum() >= least}
        beta, tau = min(kept, key=lambda pair: kept[pair].costs[:, 1].mean())
        ran = work.left(test, work.selected(test, beta, tau), pairs[beta, tau])
        name = f"  both, from {pairs[beta, tau]:.3f}, beta {beta:g} tau {tau:g}"
        print(_told(name, work, test, ran), flush=True)


def _front(module: nn.Module, pixels: NDArray[np.float32]) -> Tensor:
    """What stands behind layer2."""
    found: list[Tensor] = []
    with torch.no_grad():
        for start in range(0, len(pixels), _BATCH):
            x = module.relu(
                module.bn1(module.conv1(torch.from_numpy(pixels[start : start + _BATCH])))
            )
            found.append(module.layer2(module.layer1(x)))
    return torch.cat(found)


def _parts(
    module: nn.Module, data: training.Data, sizes: Sequence[int], heads: int
) -> tuple[_Tail, list[_Part]]:
    """Parts of the test images, none in two, judged by a head that training images were fitted to."""  # noqa: E501
    normal, _ = training.normal_for(data.test, zoo.describe("resnet20"))
    fitted = data.training.first(heads)
    known = region_means(_front(module, normal.apply(fitted.images)), _GRID)
    weight, bias = fit_linear(known, fitted.labels, _CLASSES)
    order = np.random.default_rng(0).permutation(len(data.test))
    tail, parts = _Tail(module), list[_Part]()
    for start, size in zip(np.cumsum([0, *sizes]), sizes, strict=False):
        which = order[start : start + size]
        values = _front(module, normal.apply(data.test.images[which]))
        scores = region_means(values, _GRID) @ torch.from_numpy(weight.T) + torch.from_numpy(bias)
        head = torch.softmax(scores.double(), 1).numpy()
        parts.append(_Part(values, data.test.labels[which], head, tail.selected(values, {})))
    return tail, parts


def main() -> None:
    """Print selection, static masks, an exit, and selection with an exit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--cifar10", type=Path, required=True)
    parser.add_argument("--on", default="mlcnn-fp32", help="accelerator")
    parser.add_argument("--parts", type=int, nargs=3, default=[1_000, 1_500, 3_000],
                        help="images for relevance, for thresholds, and to report")  # fmt: skip
    parser.add_argument("--heads", type=int, default=4_000, help="training images for the head")
    parser.add_argument("--budgets", type=float, nargs="+", default=[1.0, 5.0])
    given = parser.parse_args()
    module = zoo.build("resnet20")
    zoo.load_weights(module, given.weights)
    model = pipeline.run(zoo.load("resnet20", weights=given.weights),
                         pipeline.parse("fold-batch-norm")).model  # fmt: skip
    data = training.open_data(given.cifar10)
    tail, (known, choose, test) = _parts(module, data, given.parts, given.heads)
    costs = _Costs(model, given.on)
    relevance = tail.relevance(known.values, known.labels)
    layers, channels = [*costs.layers], sum(r.shape[1] for r in relevance.values())
    first = costs.dense(n for n in layers if not n.startswith(("layer3", "linear")))
    features, values = test.values.shape[1] * _GRID**2, test.values[0].numel()
    work = _Work(tail, costs, relevance, first, costs.head(features, values),
                 costs.tables(channels), costs.dense(layers))  # fmt: skip
    print(
        f"{len(test.labels):,} images of {data.test.name}: {100 * test.right.mean():.2f} %; head "
        f"alone {100 * (test.head.argmax(1) == test.labels).mean():.2f} %; layer3 holds "
        f"{1 - first[1] / work.whole[1]:.3f} of the energy on {given.on}; head "
        f"{work.head[1] / work.whole[1]:.4f}, tables {work.tables[1] / work.whole[1]:.5f} of it"
    )
    _compare(work, choose, test, [value / 100 for value in given.budgets])


if __name__ == "__main__":
    main()
