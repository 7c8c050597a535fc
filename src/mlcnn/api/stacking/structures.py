"""Steps that train a network with other pools, fewer channels, or weights with a structure."""

from functools import partial

import onnx_ir as ir

from mlcnn.api.affording import APPROXIMATE
from mlcnn.api.recovery import Recovery, Step
from mlcnn.api.shrinking import Shrinking
from mlcnn.api.stacking.kind import Kind, Values
from mlcnn.api.stacking.lab import Folder, Lab
from mlcnn.frontier import COMPRESSIONS, Compression, Settings
from mlcnn.frontier.stacks import Aspect
from mlcnn.passes import restore
from mlcnn.training import Processes

__all__ = ["POOLS", "SHRINKING"]


def _averaged(model: ir.Model, values: Values, lab: Lab, folder: Folder) -> ir.Model:
    """Average pools in place of max pools, activations behind them, trained."""
    del values
    steps = Step.of(APPROXIMATE, lab.options.recipe)
    recovery = Recovery(
        restore(model, lowered=True), APPROXIMATE, steps, lab.data, lab.normal, lab.options,
        lab.teaching, Processes(), lab.tell, lab.say, lab.original,
    )  # fmt: skip
    return recovery.attempt(folder, None).last.result().model


def _shrunk(
    method: Compression, model: ir.Model, values: Values, lab: Lab, folder: Folder
) -> ir.Model:
    """Trained down to a share of the multiplications."""
    shrinking = Shrinking(
        restore(model, lowered=True), Settings(quantity="multiplications"), lab.data, lab.normal,
        lab.options, lab.teaching, lab.tell, lab.say, lab.original,
    )  # fmt: skip
    return shrinking.to(method, values["share"], folder).model


POOLS = Kind(
    "average-pools",
    Aspect.POOLS,
    "average pools in place of max pools, activations behind them",
    _averaged,
    trains=True,
)
SHRINKING = tuple(
    Kind(
        method.name,
        method.aspect,
        method.summary,
        partial(_shrunk, method),
        trains=True,
        values={"share": 0.5},
        least={"share": 0.01},
        most={"share": 1.0},
        settings=({"share": 0.7}, {"share": 0.5}, {"share": 0.3}),
        between=True,
    )
    for method in COMPRESSIONS.values()
)
