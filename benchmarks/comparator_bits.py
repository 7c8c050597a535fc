"""Bits that differ between engines where floats are compared, and where codes are.

Comparing amplifies rounding: two taps that are nearly equal may be rounded to either order. Each
comparison of a trained network is read from the engine, and held against the same network in
float64; the largest difference of logits beside it, relative to the largest logit. Of the network
in codes two engines are held against each other, whose bits differ only where a layer in front of
a comparison rounds to another code:

    python -m benchmarks.comparator_bits NETWORK.onnx --data FOLDER_OF_MNIST
"""

import argparse
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor

import mlcnn
from benchmarks.results import show
from mlcnn import engines, graph, nn
from mlcnn.api import QuantizeOptions, Setting
from mlcnn.ops.comparator import ComparatorConv2d
from mlcnn.passes import pipeline

__all__ = ["COLUMNS", "main", "with_bits"]

COLUMNS = ("network", "engine", "bits that differ, %, by layer", "logits, %")

_ENGINES = ("onnxruntime", "openvino")
Images = NDArray[np.floating]


def with_bits(model: ir.Model) -> tuple[ir.Model, tuple[str, ...]]:
    """The network with its comparisons as further outputs, and their names."""
    shown = graph.clone(model)
    bits = [node.outputs[0] for node in shown.graph if _gives_bits(node)]
    shown.graph.outputs.extend(bits)
    return shown, tuple(value.name or "" for value in bits)


def _gives_bits(node: ir.Node) -> bool:
    maker = None if node.op_type != "Cast" or node.inputs[0] is None else node.inputs[0].producer()
    return maker is not None and maker.op_type == "Greater"


def _in_engine(engine: str, model: ir.Model, images: Images) -> list[Images]:
    """Logits, then the bits of each layer."""
    shown, bits = with_bits(model)
    given, logits = shown.graph.inputs[0].name or "", shown.graph.outputs[0].name or ""
    found = engines.get(engine).prepare(shown).run({given: images})
    return [found[name] for name in (logits, *bits)]


def _in_torch(model: ir.Model, images: Images) -> list[Images]:
    """The same in the type of the images."""
    module, bits = nn.to_module(model), list[Tensor]()
    given = torch.from_numpy(images)
    module.to(given.dtype)
    for layer in module.modules():
        if isinstance(layer, ComparatorConv2d):
            layer.register_forward_pre_hook(
                lambda layer, inputs: bits.append(layer.bits(inputs[0]))
            )
    with torch.no_grad():
        logits = module(given)
    return [found.numpy() for found in (logits, *bits)]


def _cells(found: Sequence[Images], right: Sequence[Images]) -> list[str]:
    """Cells of a row behind the engine."""
    shares = [
        100 * float((one != other).mean())
        for one, other in zip(found[1:], right[1:], strict=True)
    ]  # fmt: skip
    apart = np.abs(found[0] - right[0]).max() / np.abs(right[0]).max()
    return [", ".join(f"{share:.4f}" for share in shares), f"{100 * apart:.3f}"]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.comparator_bits", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("network", help="a trained cmpnet")
    parser.add_argument("--data", required=True)
    parser.add_argument("--images", type=int, default=500)
    return parser.parse_args()


def main() -> None:
    """Print the table."""
    given = _arguments()
    normal = mlcnn.api.ImageOptions(mean=(0.5,), std=(0.25,))
    data, scaled, _ = normal.open(given.data, given.network)
    images = scaled.apply(data.test.first(given.images).images)
    model = mlcnn.load(given.network)
    lowered = pipeline.run(model, pipeline.parse("choose{form=compare}")).model
    right = _in_torch(model, images.astype(np.float64))
    rows = [["floats", "torch", *_cells(_in_torch(model, images), right)]]
    rows += [
        ["floats", engine, *_cells(_in_engine(engine, lowered, images), right)]
        for engine in _ENGINES
    ]
    codes = mlcnn.quantize(
        given.network, data, QuantizeOptions(Setting(), engines=("onnxruntime",)), images=normal
    ).model
    first, second = (_in_engine(engine, codes, images) for engine in _ENGINES)
    rows.append(["codes of 8 bits", "openvino against onnxruntime", *_cells(second, first)])
    show("comparisons against float64", COLUMNS, rows)


if __name__ == "__main__":
    main()
