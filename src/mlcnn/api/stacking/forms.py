"""The step that runs exact passes: pools fused, forms chosen."""

import onnx_ir as ir

from mlcnn.api.affording import EXACT
from mlcnn.api.benchmarking import MeasureOptions, chooser_for
from mlcnn.api.evaluation import Fused
from mlcnn.api.optimizing import rewrite
from mlcnn.api.stacking.kind import Kind, Values
from mlcnn.api.stacking.lab import ON_MACHINES, Folder, Lab
from mlcnn.frontier.stacks import Aspect
from mlcnn.graph import inline, without_dropout

__all__ = ["FORMS"]


def _formed(model: ir.Model, values: Values, lab: Lab, folder: Folder) -> ir.Model:
    del values, folder
    plain = without_dropout(model)
    chooser = None
    if lab.engine == ON_MACHINES:
        chooser = Fused()
    elif lab.engine is not None:
        chooser = chooser_for(plain, MeasureOptions(engines=(lab.engine,)))
    return inline(rewrite(plain, EXACT, chooser=chooser, progress=lab.tell).model)


FORMS = Kind("exact", Aspect.FORMS, "exact passes: pools fused, the cheapest forms", _formed)
