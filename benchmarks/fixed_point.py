"""Accuracy of trained networks in the FFT engine's fixed point, on all test images.

The networks of ``benchmarks.structured_accuracy`` run bit for bit as the engine computes: words of
so many bits, spectra a bit longer for each level, products and sums of 32 bits, outputs rounded and
cut off. Scales come from the calibration images. Networks are trained where their checkpoint is not
there; rows that are in the results are not run again:

    python -m benchmarks.fixed_point --mnist FOLDER
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from benchmarks.results import FOLDER, Row, Rows, read_rows, show
from benchmarks.structured_accuracy import CASES, resized, trained
from mlcnn import reproduce, training
from mlcnn.accelerators.fft.fixed import FixedPoint
from mlcnn.api import ImageOptions
from mlcnn.nn import to_module
from mlcnn.ops.block_circulant import Blocks
from mlcnn.reproduce.study.statistics import mean_over_seeds
from mlcnn.training import Data, Hardware, Normal

__all__ = ["BITS", "COLUMNS", "MEASURED", "in_fixed_point", "main", "summary"]

BITS = (6, 8, 10, 12, 16)
NETWORKS = {"mlp 256-128-128-10": 64, "mlp 121-64-64-10": 32, "lenet5": 8}
"""The block size of each network whose accuracy is asked for."""

MEASURED = Path(reproduce.__file__).parent / "measured" / "fixed_point.json"
"""Where ``mlcnn reproduce aaai18`` reads it."""

_Layer = Callable[[np.ndarray], np.ndarray]


class _Fixed(nn.Module):
    """A layer in the engine's integers; its first inputs calibrate it."""

    _layer: Any

    def __init__(self, layer: nn.Module, fixed: FixedPoint) -> None:
        super().__init__()
        self._layer, self._fixed = layer, fixed
        self._compute: _Layer | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        """As the layer."""
        taps: Sequence[int] = self._layer.weight.shape[-2:] if inputs.ndim == 4 else ()
        rows, size = _rows(inputs, taps, self._layer)
        if self._compute is None:
            self._compute = _computing(self._layer, self._fixed, rows)
        outputs = torch.from_numpy(self._compute(rows)).to(inputs)
        if not taps:
            return outputs
        return outputs.reshape(len(inputs), *size, -1).movedim(-1, 1)


def _rows(inputs: Tensor, taps: Sequence[int], layer: Any) -> tuple[np.ndarray, tuple[int, ...]]:
    """Windows of the inputs, shape (images * places, channels * taps), and the outputs' size."""
    if not taps:
        return inputs.double().numpy(), ()
    left, right, top, bottom = _pads(layer)
    padded = F.pad(inputs.double(), (left, right, top, bottom))
    size = tuple(have - tap + 1 for have, tap in zip(padded.shape[2:], taps, strict=True))
    windows = F.unfold(padded, tuple(taps)).transpose(1, 2)
    return windows.reshape(-1, windows.shape[2]).numpy(), size


def _pads(layer: Any) -> tuple[int, int, int, int]:
    """Of a convolution of stride 1: left, right, top, bottom."""
    if isinstance(layer, nn.Conv2d):
        high, wide = map(int, layer.padding)
        return wide, wide, high, high
    return layer.pads


def _computing(layer: Any, fixed: FixedPoint, rows: np.ndarray) -> _Layer:
    """The layer's arithmetic on windows, with scales that fit these."""
    weight = layer.weight.detach().double().numpy()
    bias = layer.bias.detach().double().numpy()
    if not hasattr(layer, "blocks"):
        return fixed.dense(rows, weight.reshape(len(weight), -1), bias)
    blocks: Blocks = layer.blocks
    # Each tap is one more block of inputs.
    columns = np.moveaxis(weight.reshape(*weight.shape[:3], -1), 3, 2)
    added = np.pad(bias, (0, blocks.padded[0] - blocks.filters))
    computing = fixed.calibrated(
        _in_blocks(rows, blocks),
        columns.reshape(blocks.rows, -1, blocks.size),
        added.reshape(blocks.size, blocks.rows).T,
    )

    def compute(windows: np.ndarray) -> np.ndarray:
        words = computing(_in_blocks(windows, blocks))
        return words.swapaxes(1, 2).reshape(len(windows), -1)[:, : blocks.filters]

    return compute


def _in_blocks(windows: np.ndarray, blocks: Blocks) -> np.ndarray:
    """Shape (windows, blocks * taps, k): the channels of a block lie ``blocks.columns`` apart."""
    split = windows.reshape(len(windows), blocks.channels, -1)
    padded = blocks.columns * blocks.size - blocks.channels
    split = np.pad(split, ((0, 0), (0, padded), (0, 0)))
    apart = split.reshape(len(windows), blocks.size, blocks.columns, -1)
    return np.moveaxis(apart, 1, 3).reshape(len(windows), -1, blocks.size)


def in_fixed_point(module: nn.Module, bits: int) -> nn.Module:
    """The network with every layer that has weights in the engine's integers.

    Its convolutions have stride 1, no dilation and no groups. The first images that it is given
    calibrate it.

    Args:
        module: of convolutions and dense layers, block-circulant or not; it is changed.
        bits: of weights, inputs and outputs.
    """
    fixed = FixedPoint(bits)
    layers = [
        (name, layer)
        for name, layer in module.named_modules()
        if hasattr(layer, "blocks") or isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    for name, layer in layers:
        module.set_submodule(name, _Fixed(layer, fixed))
    return module


def _right(module: nn.Module, bits: int, data: Data, normal: Normal) -> float:
    """Share of the test images that are classified correctly."""
    found = in_fixed_point(module, bits).eval()
    with torch.no_grad():
        found(torch.from_numpy(normal.apply(data.calibration.images)))
    return float(training.right_images(found, data.test, normal, Hardware()).mean())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fixed_point", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("networks", nargs="*", help="by default all")
    parser.add_argument("--mnist", required=True, help="folder of the MNIST files")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--checkpoints", type=Path, default=FOLDER / "structured_accuracy")
    parser.add_argument("--out", type=Path, default=MEASURED)
    parser.set_defaults(precision="fp32", resume=True, processor_time=True)
    return parser.parse_args()


def main() -> None:
    """Measure what is missing, and print accuracy beside float's."""
    given = _arguments()
    torch.set_num_threads(1)
    for case in CASES:
        if case.name not in NETWORKS or (given.networks and case.name not in given.networks):
            continue
        block = NETWORKS[case.name]
        data = resized(training.open_data(given.mnist), case.side)
        for seed in range(given.seeds):
            rows = Rows(given, ("network", "block", "seed", "bits"))
            key = {"network": case.name, "block": block, "seed": seed}
            missing = [bits for bits in BITS if not rows.done(1, **key, bits=bits)]
            if not missing:
                continue
            found = trained(case, block, seed, data, given)
            _, normal, _ = ImageOptions().open(data, found.model)
            for bits in missing:
                top1 = _right(to_module(found.model), bits, data, normal)
                rows.put(
                    {**key, "bits": bits, "top1": top1, "float": found.test.top1,
                     "images": found.test.images, "processes": 1}
                )  # fmt: skip
    title = "accuracy in the FFT engine's fixed point, all test images"
    show(title, COLUMNS, summary(read_rows(given.out)))
    print(f"results: {given.out}")


COLUMNS = ("network, block", "bits", "top-1, %", "95 % interval", "below float32, points",
           "worst seed", "seeds")  # fmt: skip


def summary(rows: Sequence[Row]) -> list[list[str]]:
    """A line for each network and width: means over the seeds.

    Args:
        rows: of the results.
    """
    lines: list[list[str]] = []
    for network, block, bits in dict.fromkeys((r["network"], r["block"], r["bits"]) for r in rows):
        mine = [r for r in rows if (r["network"], r["block"], r["bits"]) == (network, block, bits)]
        found = mean_over_seeds([row["top1"] for row in mine], mine[0]["images"])
        drops = [100 * (row["float"] - row["top1"]) for row in mine]
        lines.append(
            [f"{network}, {block}", str(bits), f"{100 * found.value:.2f}",
             f"{100 * found.low:.2f} to {100 * found.high:.2f}",
             f"{np.mean(drops):z.2f}", f"{max(drops):z.2f}", str(len(mine))]
        )  # fmt: skip
    return lines


if __name__ == "__main__":
    main()
