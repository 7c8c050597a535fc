"""Small networks for the tests of passes, drawn or built by hand."""

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from hypothesis import strategies as st

from mlcnn.graph import infer_shapes

__all__ = ["Geometry", "conv_pool_model", "geometries", "model_of"]

Pads = tuple[int, int, int, int]


@dataclass(frozen=True)
class Geometry:
    """A convolution and an average pool behind it."""

    size: tuple[int, int] = (8, 8)
    kernel: tuple[int, int] = (3, 3)
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: Pads = (1, 1, 1, 1)
    groups: int = 1
    channels: int = 2
    filters: int = 2
    bias: bool = True
    pool: str = "AveragePool"
    pool_kernel: tuple[int, int] = (2, 2)
    pool_strides: tuple[int, int] = (2, 2)
    pool_pads: Pads = (0, 0, 0, 0)
    ceil_mode: bool = False
    count_include_pad: bool = False
    keepdims: bool = True
    dtype: type = np.float64
    dynamic: bool = field(default=False)

    def conv_size(self, axis: int) -> int:
        extent = (self.kernel[axis] - 1) * self.dilations[axis] + 1
        padded = self.size[axis] + self.pads[axis] + self.pads[axis + 2]
        return (padded - extent) // self.strides[axis] + 1


def _initializer(name: str, array: np.ndarray) -> ir.Value:
    tensor = ir.Tensor(array, name=name)
    return ir.Value(
        name=name,
        const_value=tensor,
        shape=ir.Shape(array.shape),
        type=ir.TensorType(tensor.dtype),
    )


def model_of(
    inputs: list[ir.Value], nodes: list[ir.Node], outputs: list[ir.Value], opset: int = 20
) -> ir.Model:
    """A checked model; initializers are found as the nodes' constant inputs."""
    constants = {
        value.name: value
        for node in nodes
        for value in node.inputs
        if value is not None and value.const_value is not None
    }
    for value in outputs:
        value.name = value.name or "y"
    graph = ir.Graph(
        inputs,
        outputs,
        nodes=nodes,
        initializers=list(constants.values()),
        opset_imports={"": opset},
        name="test",
    )
    model = ir.Model(graph, ir_version=10)
    infer_shapes(model)
    return model


def conv_nodes(geometry: Geometry, source: ir.Value, seed: int = 0) -> ir.Node:
    generator = np.random.default_rng(seed)
    shape = (geometry.filters, geometry.channels // geometry.groups, *geometry.kernel)
    weight = generator.standard_normal(shape).astype(geometry.dtype)
    inputs = [source, _initializer("conv.weight", weight)]
    if geometry.bias:
        values = generator.standard_normal(geometry.filters).astype(geometry.dtype)
        inputs.append(_initializer("conv.bias", values))
    return ir.node(
        "Conv",
        inputs,
        attributes={
            "strides": geometry.strides,
            "dilations": geometry.dilations,
            "pads": geometry.pads,
            "group": geometry.groups,
            "kernel_shape": geometry.kernel,
        },
        name="conv",
    )


def pool_nodes(geometry: Geometry, source: ir.Value) -> ir.Node:
    if geometry.pool == "GlobalAveragePool":
        return ir.node("GlobalAveragePool", [source], name="pool")
    if geometry.pool == "ReduceMean":
        axes = _initializer("axes", np.array([-1, 2], np.int64))
        attributes = {"keepdims": int(geometry.keepdims)}
        return ir.node("ReduceMean", [source, axes], attributes=attributes, name="pool")
    return ir.node(
        "AveragePool",
        [source],
        attributes={
            "kernel_shape": geometry.pool_kernel,
            "strides": geometry.pool_strides,
            "pads": geometry.pool_pads,
            "ceil_mode": int(geometry.ceil_mode),
            "count_include_pad": int(geometry.count_include_pad),
        },
        name="pool",
    )


def conv_pool_model(geometry: Geometry, seed: int = 0) -> ir.Model:
    """input ``x`` -> convolution ``conv`` -> pool ``pool`` -> output ``y``."""
    element = ir.DataType.from_numpy(np.dtype(geometry.dtype))
    size = ("h", "w") if geometry.dynamic else geometry.size
    source = ir.Value(
        name="x", shape=ir.Shape(["n", geometry.channels, *size]), type=ir.TensorType(element)
    )
    conv = conv_nodes(geometry, source, seed)
    pool = pool_nodes(geometry, conv.outputs[0])
    conv.outputs[0].name = "c"
    pool.outputs[0].name = "y"
    pool.outputs[0].type = ir.TensorType(element)
    return model_of([source], [conv, pool], [pool.outputs[0]])


def _pair(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


def _pads(high: int) -> st.SearchStrategy[Pads]:
    return st.tuples(*[st.integers(0, high)] * 4)


_ANY = st.tuples(_pair(1, 11), _pair(1, 3), _pair(1, 2), _pads(5))
# What networks have, and what the forms of 1x1 kernels take: rare among any geometries.
_ORDINARY = st.tuples(
    st.sampled_from([(1, 1), (3, 3)]), st.just((1, 1)), st.just((1, 1)), st.just((0, 0, 0, 0))
)


@st.composite
def geometries(draw: st.DrawFn, max_size: int = 23) -> Geometry:
    """Convolutions and pools over the whole geometry that the passes promise to handle."""
    kernel, strides, dilations, pads = draw(st.one_of(_ANY, _ANY, _ORDINARY))
    least = [
        max(1, (k - 1) * d + 1 - pads[a] - pads[a + 2])
        for a, (k, d) in enumerate(zip(kernel, dilations, strict=True))
    ]
    size = tuple(draw(st.integers(low, max(max_size, low))) for low in least)
    groups, per_group, per_filter = draw(st.sampled_from([(1, 2, 3), (2, 1, 1), (3, 1, 2)]))
    geometry = Geometry(
        size, kernel, strides, dilations, pads, groups,
        groups * per_group, groups * per_filter, draw(st.booleans()),
    )  # fmt: skip
    kind = draw(st.sampled_from(["AveragePool"] * 4 + ["GlobalAveragePool", "ReduceMean"]))
    if kind != "AveragePool":
        return Geometry(**{**_fields(geometry), "pool": kind, "keepdims": draw(st.booleans())})
    limits = [geometry.conv_size(axis) for axis in (0, 1)]
    pool_kernel = tuple(draw(st.integers(1, min(limit + 1, 5))) for limit in limits)
    pool_pads = tuple(draw(st.integers(0, pool_kernel[axis % 2] // 2)) for axis in range(4))
    pool_kernel = tuple(
        min(k, limits[a] + pool_pads[a] + pool_pads[a + 2]) for a, k in enumerate(pool_kernel)
    )
    pool_pads = tuple(min(p, pool_kernel[axis % 2] - 1) for axis, p in enumerate(pool_pads))
    changes = {
        "pool_kernel": tuple(
            min(k, limits[a] + pool_pads[a] + pool_pads[a + 2]) for a, k in enumerate(pool_kernel)
        ),
        "pool_strides": draw(_pair(1, 4)),
        "pool_pads": pool_pads,
        "ceil_mode": draw(st.booleans()),
        "count_include_pad": draw(st.booleans()),
    }
    return Geometry(**{**_fields(geometry), **changes})


def _fields(geometry: Geometry) -> dict[str, object]:
    return {name: getattr(geometry, name) for name in geometry.__dataclass_fields__}
