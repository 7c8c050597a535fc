"""Steps that give weights and activations few bits: calibrated, or trained with their rounding."""

from dataclasses import replace

import onnx_ir as ir

from mlcnn.api.quantized_training import TuneOptions
from mlcnn.api.quantizing import QuantizeOptions, quantized
from mlcnn.api.stacking.kind import Kind, Values
from mlcnn.api.stacking.lab import Folder, Lab
from mlcnn.frontier.stacks import Aspect
from mlcnn.training.quantisation import Setting

__all__ = ["BITS", "INT8"]

_EXACT = QuantizeOptions(fuse=True)
_TRAINED_RATE = 0.01


def _calibrated(model: ir.Model, values: Values, lab: Lab, folder: Folder) -> ir.Model:
    """Exact passes first, so that fused layers are codes too; then ranges, by images."""
    del values, folder
    return quantized(model, lab.data, lab.normal, _EXACT, progress=lab.tell)


def _trained(model: ir.Model, values: Values, lab: Lab, folder: Folder) -> ir.Model:
    bits, recipe = int(values["bits"]), lab.options.recipe
    tuning = TuneOptions(
        recipe.epochs, _TRAINED_RATE, recipe.batch_size, recipe.flip,
        hardware=lab.options.hardware, seed=lab.options.seed,
        checkpoint=None if folder is None else folder / "checkpoint.npz",
    )  # fmt: skip
    options = replace(
        _EXACT, setting=Setting(weight_bits=bits, input_bits=bits), tuning=tuning, fuse=False
    )
    limit = lab.options.limit
    data = lab.data if limit is None else lab.data.first(limit)
    return quantized(model, data, lab.normal, options, progress=lab.tell, original=lab.original)


INT8 = Kind("int8", Aspect.NUMBERS, "codes of 8 bits, calibrated on images", _calibrated)
BITS = Kind(
    "bits",
    Aspect.NUMBERS,
    "codes of few bits, trained with their rounding",
    _trained,
    trains=True,
    values={"bits": 4.0},
    least={"bits": 1.0},
    most={"bits": 8.0},
)
