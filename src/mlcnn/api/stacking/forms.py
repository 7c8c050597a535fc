"""The step that runs exact passes: pools fused, forms chosen."""

import onnx_ir as ir

from mlcnn.api.affording import EXACT
from mlcnn.api.optimizing import rewrite
from mlcnn.api.stacking.kind import Kind, Values
from mlcnn.api.stacking.lab import Folder, Lab
from mlcnn.frontier.stacks import Aspect
from mlcnn.graph import inline, without_dropout

__all__ = ["FORMS"]


def _formed(model: ir.Model, values: Values, lab: Lab, folder: Folder) -> ir.Model:
    del values, folder
    return inline(rewrite(without_dropout(model), EXACT, progress=lab.tell).model)


FORMS = Kind("exact", Aspect.FORMS, "exact passes: pools fused, the cheapest forms", _formed)
