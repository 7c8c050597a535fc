"""``fold-constants``: nodes whose inputs are all known become initializers; exact."""

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir
from onnxscript import optimizer

from mlcnn.graph import clone, has_texts, infer_shapes, layer_name, spreads
from mlcnn.passes.base import Change, PassResult

__all__ = ["FoldConstants"]

_OUTPUT_LIMIT = 1 << 20  # elements: a larger result would blow the file up


def _should_fold(node: ir.Node) -> bool | None:
    return False if has_texts(node) or spreads(node) else None  # None: as the folder likes


@dataclass(frozen=True, slots=True)
class FoldConstants:
    """Compute what does not depend on the network's input, once."""

    name: ClassVar[str] = "fold-constants"
    exact: ClassVar[bool] = True

    def apply(self, model: ir.Model) -> PassResult:
        """Return the network without constant subexpressions."""
        folded = clone(model)
        optimizer.fold_constants(
            folded,
            input_size_limit=_OUTPUT_LIMIT,
            output_size_limit=_OUTPUT_LIMIT,
            should_fold=_should_fold,
        )
        before = Counter(layer_name(n) for n in model.graph if n.op_type != "Constant")
        after = Counter(layer_name(n) for n in folded.graph if n.op_type != "Constant")
        gone = tuple((before - after).keys())
        if not gone:
            return PassResult(folded)
        infer_shapes(folded)
        return PassResult(folded, (Change(self.name, gone, exact=True),))
