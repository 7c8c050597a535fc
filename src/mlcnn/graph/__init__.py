"""Networks as ONNX graphs: loading, saving, shapes, checks."""

from mlcnn.graph.callables import find_callable, from_callable
from mlcnn.graph.code_pads import pad_codes, pad_means
from mlcnn.graph.dropout import DropoutKind, dropout_kind, without_dropout
from mlcnn.graph.evaluate import evaluate
from mlcnn.graph.example import ExampleInput
from mlcnn.graph.folding import fold_constants, has_texts, spreads
from mlcnn.graph.load import from_proto, load_file
from mlcnn.graph.names import (
    constant,
    free_name,
    is_constant,
    is_standard,
    layer_name,
    stored_values,
    value_names,
)
from mlcnn.graph.operators import Windows, windows_of
from mlcnn.graph.pools import settle_pools
from mlcnn.graph.programs import load_program
from mlcnn.graph.quantisers import (
    DEQUANTIZE,
    MOVING,
    QUANTIZE,
    Rounding,
    code_bits,
    is_quantised,
    is_quantiser,
    read_rounding,
    unrounded,
)
from mlcnn.graph.reference import Difference, Reference, difference
from mlcnn.graph.saving import check_output, save
from mlcnn.graph.shapes import infer_shapes
from mlcnn.graph.source import copy_source
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
from mlcnn.graph.windows import conv_outputs, pool_outputs

__all__ = [
    "DEQUANTIZE",
    "DOMAIN",
    "MOVING",
    "OPERATOR_KEY",
    "QUANTIZE",
    "Difference",
    "DropoutKind",
    "ExampleInput",
    "Reference",
    "Rounding",
    "Windows",
    "check",
    "check_output",
    "clone",
    "code_bits",
    "constant",
    "conv_outputs",
    "copy_source",
    "difference",
    "dropout_kind",
    "evaluate",
    "extract",
    "find_callable",
    "fold_constants",
    "free_name",
    "from_callable",
    "from_module",
    "from_proto",
    "has_texts",
    "infer_shapes",
    "inline",
    "is_constant",
    "is_operator",
    "is_quantised",
    "is_quantiser",
    "is_standard",
    "layer_name",
    "load_file",
    "load_program",
    "pad_codes",
    "pad_means",
    "pool_outputs",
    "read_rounding",
    "save",
    "settle_pools",
    "spreads",
    "stored_values",
    "tensor_bytes",
    "to_proto",
    "unrounded",
    "value_names",
    "windows_of",
    "without_dropout",
]
