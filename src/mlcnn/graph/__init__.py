"""Networks as ONNX graphs: loading, saving, shapes, checks."""

from mlcnn.graph.callables import from_callable
from mlcnn.graph.evaluate import evaluate
from mlcnn.graph.folding import fold_constants, has_texts
from mlcnn.graph.load import from_proto, load_file
from mlcnn.graph.names import constant, free_name, layer_name, value_names
from mlcnn.graph.pools import settle_pools
from mlcnn.graph.programs import load_program
from mlcnn.graph.reference import Difference, Reference, difference
from mlcnn.graph.saving import check_output, save
from mlcnn.graph.shapes import infer_shapes
from mlcnn.graph.structure import (
    DOMAIN,
    OPERATOR_KEY,
    check,
    clone,
    extract,
    inline,
    is_operator,
    tensor_bytes,
    to_proto,
)
from mlcnn.graph.torch_export import from_module
from mlcnn.graph.windows import pool_outputs, same_pads

__all__ = [
    "DOMAIN",
    "OPERATOR_KEY",
    "Difference",
    "Reference",
    "check",
    "check_output",
    "clone",
    "constant",
    "difference",
    "evaluate",
    "extract",
    "fold_constants",
    "free_name",
    "from_callable",
    "from_module",
    "from_proto",
    "has_texts",
    "infer_shapes",
    "inline",
    "is_operator",
    "layer_name",
    "load_file",
    "load_program",
    "pool_outputs",
    "same_pads",
    "save",
    "settle_pools",
    "tensor_bytes",
    "to_proto",
    "value_names",
]
