"""A training step of one layer in circulant blocks over that of the dense layer, one thread.

A step is the forward pass, the gradients by weights and by inputs, and SGD with momentum. Both
roads of ``mlcnn.ops.block_circulant.roads`` run in turn with the dense layer in one process;
``takes`` says which one the module takes. Figures are times over the dense step: less is faster.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from benchmarks import fresh
from benchmarks.interleaved import clock_of, medians
from benchmarks.results import Row, Rows, repeated, show
from benchmarks.targets import spread
from mlcnn import engines
from mlcnn.ops.block_circulant import Blocks
from mlcnn.ops.block_circulant.roads import (
    by_bins,
    convolved_by_bins,
    dense_tensor,
    multiplied_by_bins,
)

__all__ = ["LAYERS", "Trained", "main", "row_of", "time_layer"]

_RATE = 1e-3
_PLACE = ((1, 1), (1, 1), (1, 1))  # strides, padding, dilations of a 3 x 3 convolution


@dataclass(frozen=True, slots=True)
class Trained:
    """A layer.

    Attributes:
        channels: in and out, or features.
        side: of the images; 0 for a dense layer.
        sizes: of blocks.
    """

    channels: int
    side: int
    sizes: tuple[int, ...]

    @property
    def name(self) -> str:
        """What stands in its row, and selects it."""
        return f"{self.channels}@{self.side}" if self.side else f"{self.channels}x{self.channels}"

    def shape(self, batch: int) -> tuple[int, ...]:
        """Of the inputs."""
        return (batch, self.channels, *([self.side] * 2 if self.side else []))

    def roads(self, size: int) -> dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Tensor]]:
        """Ways from inputs and weights to outputs, each with its weights."""
        blocks, taps = Blocks(size, self.channels, self.channels), (3, 3) if self.side else ()
        compact = torch.randn(blocks.rows, blocks.columns, size, *taps) / self.channels
        whole = dense_tensor(compact, blocks)
        if self.side:
            return {
                "dense": (lambda x, w: F.conv2d(x, w, None, *_PLACE), whole),
                "gathered": (
                    lambda x, w: F.conv2d(x, dense_tensor(w, blocks), None, *_PLACE), compact
                ),
                "bins": (lambda x, w: convolved_by_bins(x, w, blocks, *_PLACE), compact.clone()),
            }  # fmt: skip
        return {
            "dense": (F.linear, whole),
            "gathered": (lambda x, w: F.linear(x, dense_tensor(w, blocks)), compact),
            "bins": (lambda x, w: multiplied_by_bins(x, w, blocks), compact.clone()),
        }


LAYERS = (
    Trained(64, 32, (4, 8, 16)),
    Trained(128, 16, (4, 8, 16)),
    Trained(256, 8, (4, 8, 16)),
    Trained(512, 4, (4, 8, 16)),
    Trained(16, 32, (2, 4)),
    Trained(32, 16, (4, 8)),
    Trained(64, 8, (4, 8, 16)),
    Trained(4096, 0, (8, 64)),
    Trained(512, 0, (8, 16, 64)),
    Trained(128, 0, (8, 16)),
)


def step_of(
    road: Callable[[Tensor, Tensor], Tensor], weight: Tensor, inputs: Tensor, precision: str
) -> Callable[[], object]:
    """One step as a function."""
    weight, inputs = weight.clone().requires_grad_(), inputs.clone().requires_grad_()
    optimizer = torch.optim.SGD([weight], lr=_RATE, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        inputs.grad = None
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            outputs = road(inputs, weight)
        outputs.backward(outputs.detach())
        optimizer.step()

    return step


def time_layer(
    *, name: str, batch: int, precision: str, budget_s: float, processor_time: bool
) -> list[dict[str, Any]]:
    """In a fresh process: samples of each road in ms, for every size."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layer = next(layer for layer in LAYERS if layer.name == name)
    inputs = torch.randn(layer.shape(batch))
    found: list[dict[str, Any]] = []
    for size in layer.sizes:
        runners = {
            road: step_of(run, weight, inputs, precision)
            for road, (run, weight) in layer.roads(size).items()
        }
        clock = clock_of(processor_time=processor_time)
        told = engines.interleave(runners, budget_s=budget_s, min_rounds=3, clock=clock)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            chosen = by_bins(
                Blocks(size, layer.channels, layer.channels), 9 if layer.side else 1, inputs
            )
        found.append({
            "key": {"layer": name, "blocks": size, "batch": batch, "precision": precision},
            "takes": "bins" if chosen else "gathered",
            "ms": {road: list(timing.samples_ms) for road, timing in told.items()},
        })  # fmt: skip
    return found


def row_of(parts: Sequence[dict[str, Any]]) -> Row:
    """What the fresh processes say of one setting together."""
    ratios = {
        road: [
            median(a / b for a, b in zip(p["ms"][road], p["ms"]["dense"], strict=True))
            for p in parts
        ]
        for road in ("gathered", "bins")
    }
    return {
        **parts[0]["key"], "takes": parts[0]["takes"], "processes": len(parts), "ratios": ratios,
        "ms": {n: median(medians(p["ms"])[n] for p in parts) for n in parts[0]["ms"]},
    }  # fmt: skip


def _line(row: Row) -> list[str]:
    taken = row["ratios"][row["takes"]]
    return [
        row["layer"], str(row["blocks"]), str(row["batch"]), row["precision"],
        f"{row['ms']['dense']:.1f}",
        *(f"{median(row['ratios'][road]):.2f}" for road in ("gathered", "bins")),
        row["takes"], f"{median(taken):.2f}", spread(taken),
    ]  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = repeated(__doc__, "training_layers", seconds=1.0, processes=3)
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"])
    options = parser.parse_args()
    rows = Rows(options, ("layer", "blocks", "batch", "precision"))
    layers = [layer for layer in LAYERS if not options.networks or layer.name in options.networks]
    for layer, batch, precision in product(layers, options.batch or [32, 128], options.precision):
        key = {"batch": batch, "precision": precision}
        if all(
            rows.done(options.processes, layer=layer.name, blocks=size, **key)
            for size in layer.sizes
        ):
            continue
        parts = [
            fresh.call(
                "benchmarks.training_layers:time_layer", name=layer.name, **key,
                budget_s=options.seconds, processor_time=options.processor_time,
            )
            for _ in range(options.processes)
        ]  # fmt: skip
        for settings in zip(*parts, strict=True):
            rows.put(row_of(settings))
    columns = ("a step, one thread", "k", "batch", "", "dense ms", "gathered", "by bins", "takes",
               "over dense", "least to most")  # fmt: skip
    show("training step in circulant blocks", columns, [_line(row) for row in rows.rows])
    print(f"results: {options.out}")


if __name__ == "__main__":
    main()
