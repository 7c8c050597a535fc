"""Focused layers: each form against the dense layer, over the share of positions that is kept.

Single 3x3 layers, batch 1, one thread; boxes for ``rect``, scattered places for ``gather`` and
``list`` (engine native, lists made in the timed run). Printed is the speed over the faster of ONNX
Runtime and OpenVINO on the dense layer (processor time, interleaved), in brackets what the share of
positions allows, and for ``list`` behind a slash the speed over native's own fastest dense form:

    python -m benchmarks.focused [--layers 64@32 128@28]
"""

import argparse
import time

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import nn

from mlcnn import engines, graph
from mlcnn.engines.timing import interleave
from mlcnn.passes.focus import Focus
from mlcnn.passes.focus_forms import with_forms

__all__ = ["main"]

_LAYERS = ("16@32", "32@16", "64@8", "64@32", "64@56", "128@28", "256@14", "512@7")
_KEPT = (1.0, 0.75, 0.5, 0.25)
_ENGINES = {"gather": "onnxruntime", "rect": "onnxruntime", "list": "native"}
_DENSE = ("onnxruntime", "openvino")
_OWN = "native"


def _box(size: int, kept: float) -> NDArray[np.bool_]:
    """A box in the middle, of so large a share as whole lines allow."""
    rows = max(1, round(size * kept**0.5))
    columns = max(1, round(size * size * kept / rows))
    top, left = (size - rows) // 2, (size - columns) // 2
    mask = np.zeros((1, 1, size, size), bool)
    mask[:, :, top : top + rows, left : left + columns] = True
    return mask


def _scattered(size: int, kept: float, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Exactly so many positions, anywhere."""
    mask = np.zeros(size * size, bool)
    mask[generator.permutation(size * size)[: round(kept * size * size)]] = True
    return mask.reshape(1, 1, size, size)


def _network(channels: int, size: int) -> tuple[ir.Model, ir.Model]:
    """The dense layer, and the focused one with the user's mask."""
    layer = nn.Conv2d(channels, channels, 3, padding=1)
    dense = graph.from_module(layer.eval(), (torch.zeros(1, channels, size, size),))
    return dense, Focus(dense.graph.inputs[0].name or "", "input").apply(dense).model


def main() -> None:
    """Print the speed of each form over that of the faster dense layer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--layers", nargs="*", default=_LAYERS, help="channels@size")
    parser.add_argument("--forms", nargs="*", default=[*_ENGINES], choices=[*_ENGINES])
    arguments = parser.parse_args()
    generator = np.random.default_rng(0)
    known = {name: engines.get(name) for name in (*_DENSE, _OWN)}
    for layer in arguments.layers:
        channels, size = map(int, layer.split("@"))
        dense, focused = _network(channels, size)
        name = dense.graph.inputs[0].name or ""
        image = generator.normal(size=(1, channels, size, size)).astype(np.float32)
        runners = {
            key: engine.prepare(dense, threads=1).runner({name: image})
            for key, engine in known.items()
        }
        kept: dict[str, float] = {}
        for form in arguments.forms:
            written = focused if form == "list" else with_forms(focused, form)
            session = known[_ENGINES[form]].prepare(written, threads=1)
            for share in _KEPT:
                boxed = form == "rect"
                mask = _box(size, share) if boxed else _scattered(size, share, generator)
                key = f"{form} {share:.0%}"
                kept[key] = float(mask.mean())
                runners[key] = session.runner({name: image, "mask": mask})
        times = interleave(runners, budget_s=arguments.seconds, clock=time.process_time_ns)
        best = min(_DENSE, key=lambda engine: times[engine].median_ms)
        reference = times[best].median_ms
        own = times[_OWN].median_ms
        told = ", ".join(
            f"{key} {reference / times[key].median_ms:.2f} ({1 / kept[key]:.2f})"
            + f" / {own / times[key].median_ms:.2f}" * key.startswith("list")
            for key in kept
        )
        others = ", ".join(f"{name} {times[name].median_ms:.3f}" for name in known if name != best)
        print(f"{channels}@{size}: {best} {reference:.3f} ms ({others}); {told}", flush=True)


if __name__ == "__main__":
    main()
