"""Whether a head with a 3x3 convolution earns its cost where a network is left early.

At one place a linear head and one with a convolution in front of it, both on averages over 2 x 2
regions, are fitted to the same training images while the network stays as it is; thresholds are
chosen and checked by budget as ``mlcnn skip`` does, and the rest of the images is reported:

    python -m benchmarks.heavier_head --weights resnet20.npz --data cifar10
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import mlcnn
from benchmarks.selection import work_on
from mlcnn import graph
from mlcnn.accelerators import LayerTask, evaluate_layer
from mlcnn.api.skipping.exits import Ends
from mlcnn.api.skipping.work import Work
from mlcnn.frontier.exits import Judged, judged, thresholds
from mlcnn.passes.exit_heads import exit_points
from mlcnn.training import ImageSet
from mlcnn.training.heads import fit_linear, region_means
from mlcnn.workload import ConvLayer, Layer, read

__all__ = ["main"]

_GRID, _BATCH, _TIGHTER = 2, 128, 5


class _Heavy(nn.Module):
    """3x3 convolution with as many filters, ReLU, averages, linear."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.line = nn.Linear(channels * _GRID**2, classes)

    def forward(self, values: Tensor) -> Tensor:
        """Scores, shape (images, classes)."""
        return self.line(region_means(torch.relu(self.conv(values)), _GRID))


def _fitted(values: Tensor, labels: NDArray[np.int64], classes: int, epochs: int) -> nn.Module:
    """By cross entropy, the rate falling to nothing."""
    torch.manual_seed(0)
    head = _Heavy(values.shape[1], classes)
    steps = epochs * (len(values) // _BATCH)
    optimizer = torch.optim.AdamW(head.parameters(), 3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    wanted, rng = torch.from_numpy(labels), np.random.default_rng(0)
    for _ in range(epochs):
        order = rng.permutation(len(values))
        for start in range(0, len(values) - _BATCH + 1, _BATCH):
            batch = torch.from_numpy(order[start : start + _BATCH])
            optimizer.zero_grad()
            nn.functional.cross_entropy(head(values[batch]), wanted[batch]).backward()
            optimizer.step()
            schedule.step()
    return head


def _values(work: Work, at: str, images: ImageSet) -> Tensor:
    part = graph.extract(work.model, [v.name or "" for v in work.model.graph.inputs], [at])
    return torch.from_numpy(work.scores(part, images, "")[0])


def _told(
    name: str,
    says: Sequence[Judged],
    ends: Sequence[Judged],
    costs: tuple[float, float],
    budget: float,
) -> str:
    """A line: what a head saves on the images that nothing was chosen on."""
    choose, check, test = says
    end = Ends(ends[0], ends[1], (int(ends[0].right.sum()), int(ends[1].right.sum())))
    allowed = budget
    for _ in range(_TIGHTER):
        found = thresholds([choose], ends[0], costs, end.allowed(allowed))
        drop = end.drop([check], found.values)
        if drop <= budget:
            break
        allowed *= min(budget / drop, 0.9)
    leaves = test.sure >= found.values[0]
    right = np.where(leaves, test.right, ends[2].right)
    mean = float(np.where(leaves, costs[0], costs[1]).mean())
    return (
        f"  {name:7} alone {100 * test.right.mean():.2f} %; budget {100 * budget:g}: "
        f"{leaves.mean():.3f} leave, energy {mean:.3f}, "
        f"{100 * (right.mean() - ends[2].right.mean()):+.2f} points"
    )


def main() -> None:
    """Print both heads at each budget."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="resnet20")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--at", default="layer2.2.conv2", help="last layer in front of the head")
    parser.add_argument("--on", default="mlcnn-fp32")
    parser.add_argument("--heads", type=int, default=10_000, help="training images")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--budgets", type=float, nargs="+", default=[1.0, 5.0])
    given = parser.parse_args()
    work = work_on(given, mlcnn.SkipOptions(objective="energy"), print)
    model, data, parts, machines = work.model, work.data, work.parts(), work.machines
    assert machines is not None
    images = (parts.choose, parts.check, parts.test)
    known = data.training.first(given.heads)
    at = dict(exit_points(model))[given.at]
    fitted, *values = (_values(work, at, part) for part in (known, *images))
    weight, bias = fit_linear(region_means(fitted, _GRID), known.labels, known.classes)
    heavy = _fitted(fitted, known.labels, known.classes, given.epochs)
    _, channels, height, width = fitted.shape
    layers = read(model, batch=1).layers
    cost = work.cost_of(model)
    names = [layer.name for layer in layers]
    whole = sum(map(cost, layers))
    first = sum(map(cost, layers[: names.index(given.at) + 1]))

    def energy(nest: ConvLayer) -> float:
        task = LayerTask(Layer(nest, parts=(nest,)))
        return evaluate_layer(task, machines.on[0], machines.technology).energy.total

    line = energy(ConvLayer("line", 1, known.classes, channels * _GRID**2, 1, 1, 1, 1))
    conv = energy(ConvLayer("conv", 1, channels, channels, height, width, 3, 3, pads=(1, 1, 1, 1)))
    print(
        f"behind {given.at}: linear head {line / whole:.4f}, with 3x3 {(line + conv) / whole:.4f}"
    )
    ends = [work.says(model, part) for part in images]
    with torch.no_grad():
        both = {
            "linear": ([(region_means(v, _GRID) @ torch.from_numpy(weight.T)).numpy() + bias
                        for v in values], line),
            "3x3": ([torch.cat([heavy(p) for p in v.split(250)]).numpy() for v in values],
                    line + conv),
        }  # fmt: skip
    for name, (scores, own) in both.items():
        says = [judged(s, part.labels) for s, part in zip(scores, images, strict=True)]
        costs = ((first + own) / whole, (whole + own) / whole)
        for budget in given.budgets:
            print(_told(name, says, ends, costs, budget / 100), flush=True)


if __name__ == "__main__":
    main()
