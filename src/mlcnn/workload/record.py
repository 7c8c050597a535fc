"""The record of a layer in a node's metadata: what the layer is, beside the nodes that compute it.

Every node that an operator emits carries it. It survives inlining, saving and loading, so that
every reader sees the same layer, and nothing is remembered beside the graph.
"""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import onnx_ir as ir

from mlcnn.workload.description import DENSE, Activity, Arithmetic, Weights
from mlcnn.workload.layer import ConvLayer, Pool

__all__ = ["RECORD_KEY", "Record", "read_record"]

RECORD_KEY = "mlcnn.layer"
"""Key of the record among a node's metadata."""

_VERSION = 1
# Stand for what the record leaves to the graph: batch, height and width may be dynamic.
_OPEN: dict[str, Any] = {"N": 1, "H": 1, "W": 1}

_WHOLE = Activity()


@dataclass(frozen=True, slots=True)
class Record:
    """What a layer is, but for the sizes of its input, which the graph has.

    Attributes:
        site: name of the value that the layer gives: the nodes of one layer share it.
        geometry: the loop nest, with the pool; batch, height and width are not told.
        form: how the layer is computed.
        inner: how what a pool is in front of is computed; empty where that is no operator of its
            own, or its body.
        global_pool: the pool covers the convolution's output, whatever its size.
        operator: what the layer was: ``Conv``, ``Gemm`` or ``MatMul``.
        weights: the structure of its weights.
        activity: which share of it is computed.
        arithmetic: how weight and input meet.
        parameters: numbers that the network kept for the layer before, biases included.
        weight_bytes: bytes of them.
        density: share of those of its largest weight that were not zero.
        positions: name of the value that says which positions are computed, boolean, shape
            (N, 1, P, Q); empty where all are.
        channels: names of the values that say which channels are given and which are read,
            boolean, shape (N, K) and (N, C), each empty where all are; nothing where both are.
        version: of the format that it was written in.
    """

    site: str
    geometry: ConvLayer
    form: str
    inner: str = ""
    global_pool: bool = False
    operator: str = "Conv"
    weights: Weights = DENSE
    activity: Activity = _WHOLE
    arithmetic: Arithmetic = Arithmetic.MULTIPLY
    parameters: int = 0
    weight_bytes: int = 0
    density: float = 1.0
    positions: str = ""
    channels: tuple[str, ...] = ()
    version: int = _VERSION

    @property
    def is_pooled(self) -> bool:
        """Whether an average pool is part of the layer."""
        return self.global_pool or self.geometry.pool is not None

    @property
    def masks(self) -> frozenset[str]:
        """Names of the values that say how much of it is computed."""
        return frozenset({self.positions, *self.channels} - {""})

    def text(self) -> str:
        """What stands in the metadata."""
        document = asdict(self)
        for name in _OPEN:
            del document["geometry"][name]
        return json.dumps(document, sort_keys=True)

    def nest(self, batch: int, height: int, width: int) -> ConvLayer:
        """The loop nest for an input of these sizes.

        Raises:
            ValueError: they do not go with the geometry.
        """
        nest = replace(self.geometry, N=batch, H=height, W=width, pool=None)
        pool = self.geometry.pool
        if self.global_pool:
            pool = Pool((nest.P, nest.Q), (1, 1))
        return replace(nest, pool=pool)


def read_record(node: ir.Node) -> Record | str | None:
    """The record of a node; why it cannot be read; None where it has none."""
    text = node.metadata_props.get(RECORD_KEY)
    if text is None:
        return None
    try:
        return _parsed(cast("dict[str, Any]", json.loads(text)))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return f"its record cannot be read ({type(error).__name__}: {error})"


def _parsed(document: dict[str, Any]) -> Record:
    geometry = dict(document["geometry"])
    pool = geometry.pop("pool", None)
    known: dict[str, Any] = {n: _tuples(geometry[n]) for n in _FIELDS if n in geometry}
    nest = ConvLayer(**(_OPEN | known), pool=None if pool is None else _pool(pool))
    weights = document.get("weights") or {}
    activity = document.get("activity") or {}
    return Record(
        site=str(document["site"]),
        geometry=nest,
        form=str(document["form"]),
        inner=str(document.get("inner", "")),
        global_pool=bool(document.get("global_pool", False)),
        operator=str(document.get("operator", "Conv")),
        weights=Weights(weights.get("kind", "dense"), _tuples(weights.get("options", ()))),
        activity=Activity(
            float(activity.get("mean", 1.0)),
            float(activity.get("sd", 0.0)),
            int(activity.get("images", 0)),
        ),
        arithmetic=Arithmetic(document.get("arithmetic", Arithmetic.MULTIPLY)),
        parameters=int(document.get("parameters", 0)),
        weight_bytes=int(document.get("weight_bytes", 0)),
        density=float(document.get("density", 1.0)),
        positions=str(document.get("positions", "")),
        channels=tuple(map(str, document.get("channels", ()))),
        version=int(document.get("version", _VERSION)),
    )


_FIELDS = ("name", "K", "C", "R", "S", "G", "strides", "dilations", "pads")


def _pool(document: dict[str, Any]) -> Pool:
    names = ("kernel", "strides", "pads", "ceil_mode", "count_include_pad")
    return Pool(**{name: _tuples(document[name]) for name in names if name in document})


def _tuples(value: Any) -> Any:
    """Lists, as JSON has them, as tuples."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value
