"""The step that makes weights of k x k blocks with k numbers, trained."""

import onnx_ir as ir

from mlcnn.api.recovery import Recovery, Step
from mlcnn.api.stacking.kind import Kind, Values
from mlcnn.api.stacking.lab import Folder, Lab
from mlcnn.frontier.stacks import Aspect
from mlcnn.passes import restore
from mlcnn.training import Processes

__all__ = ["CIRCULANT"]


def _circulant(model: ir.Model, values: Values, lab: Lab, folder: Folder) -> ir.Model:
    passes = f"block-circulant{{block={values['block']:g},layers=all}}"
    recovery = Recovery(
        restore(model, lowered=True), passes, Step.of(passes, lab.options.recipe), lab.data,
        lab.normal, lab.options, lab.teaching, Processes(), lab.tell, lab.say, lab.original,
    )  # fmt: skip
    return recovery.attempt(folder, None).last.result().model


CIRCULANT = Kind(
    "block-circulant",
    Aspect.WEIGHTS,
    "weights of k x k blocks that k numbers make",
    _circulant,
    trains=True,
    values={"block": 4.0},
    least={"block": 2.0},
    most={"block": 64.0},
    settings=({"block": 2.0}, {"block": 4.0}),
)
