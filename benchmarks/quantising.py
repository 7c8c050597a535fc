"""Networks quantised by ONNX Runtime's static quantiser, on random calibration data."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_ir as ir

from mlcnn.api.searching.peers import statically_quantised
from mlcnn.engines import signatures

__all__ = ["images", "quantised"]


def images(shape: tuple[int, ...], count: int = 8, *, seed: int = 1) -> Iterator[np.ndarray]:
    """What the networks here are calibrated on."""
    generator = np.random.default_rng(seed)
    return (generator.standard_normal(shape).astype(np.float32) for _ in range(count))


def quantised(model: ir.Model, **options: Any) -> ir.Model:
    """The network in QDQ form, weights in s8.

    Args:
        model: in float32, batch norms folded.
        options: see ``statically_quantised``.
    """
    sizes = signatures(model)[0].shape or ()
    shape = tuple(size if isinstance(size, int) else 1 for size in sizes)
    return statically_quantised(model, images(shape), **options)
