"""Networks built by hand, node by node, for the tests of passes."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from mlcnn.graph import infer_shapes

__all__ = ["Net"]

Operand = ir.Value | float | np.ndarray | None


class Net:
    """A network under construction; every weight is random and named after its node.

    The input is ``x``; a node ``conv`` has the weight ``conv.weight`` and the output ``conv:0``.
    """

    def __init__(
        self,
        *shape: int | str,
        dtype: type = np.float32,
        opset: int = 20,
        seed: int = 0,
    ) -> None:
        self.dtype = np.dtype(dtype)
        self.opset = opset
        self.generator = np.random.default_rng(seed)
        self.nodes: list[ir.Node] = []
        self.initializers: dict[str, ir.Value] = {}
        self.inputs: list[ir.Value] = []
        self.domains = {"": opset}
        self.x = self.input("x", *(shape or ("n", 2, 8, 8)))

    def input(self, name: str, *shape: int | str, dtype: type | None = None) -> ir.Value:
        element = ir.DataType.from_numpy(np.dtype(dtype or self.dtype))
        value = ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(element))
        self.inputs.append(value)
        return value

    def initializer(self, name: str, array: np.ndarray) -> ir.Value:
        if name not in self.initializers:
            self.initializers[name] = ir.Value(
                name=name,
                const_value=ir.Tensor(array, name=name),
                shape=ir.Shape(array.shape),
                type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
            )
        return self.initializers[name]

    def weight(self, name: str, *shape: int) -> ir.Value:
        return self.initializer(name, self.generator.standard_normal(shape).astype(self.dtype))

    def per_channel(self, name: str, channels: int) -> ir.Value:
        """A constant with one value per channel of an (N, C, H, W) tensor."""
        return self.weight(name, channels, 1, 1)

    def op(
        self,
        op_type: str,
        *operands: Operand,
        name: str = "",
        domain: str = "",
        outputs: int = 1,
        **attributes: object,
    ) -> ir.Value:
        """Append a node; return its first output. Numbers and arrays become initializers."""
        name = name or f"{op_type.lower()}{len(self.nodes)}"
        inputs = [
            self._operand(operand, f"{name}.{index}") for index, operand in enumerate(operands)
        ]
        node = ir.node(
            op_type, inputs, attributes=attributes, domain=domain, num_outputs=outputs, name=name
        )
        for index, value in enumerate(node.outputs):
            value.name = f"{name}:{index}"
        self.nodes.append(node)
        if domain:
            self.domains[domain] = 1
        return node.outputs[0]

    def _operand(self, operand: Operand, name: str) -> ir.Value | None:
        if operand is None or isinstance(operand, ir.Value):
            return operand
        array = np.asarray(operand)
        return self.initializer(
            name, array.astype(self.dtype) if array.dtype.kind == "f" else array
        )

    def conv(
        self,
        source: ir.Value,
        filters: int = 2,
        kernel: int | Sequence[int] = 3,
        *,
        name: str = "conv",
        channels: int = 2,
        bias: bool = True,
        weight: ir.Value | None = None,
        **attributes: object,
    ) -> ir.Value:
        """A convolution that keeps height and width, unless ``attributes`` say otherwise."""
        sizes = (kernel, kernel) if isinstance(kernel, int) else tuple(kernel)
        group = attributes.get("group", 1)
        inputs = [
            source,
            weight or self.weight(f"{name}.weight", filters, channels // group, *sizes),
        ]
        if bias:
            inputs.append(self.weight(f"{name}.bias", filters))
        if "auto_pad" not in attributes:
            attributes.setdefault("pads", [size // 2 for size in sizes] * 2)
        return self.op("Conv", *inputs, name=name, **attributes)

    def norm(
        self, source: ir.Value, channels: int = 2, *, name: str = "norm", **attributes: object
    ) -> ir.Value:
        """A batch norm with random statistics, none of them trivial."""
        statistics = [
            self.weight(f"{name}.{part}", channels) for part in ("weight", "bias", "mean")
        ]
        spread = self.generator.uniform(0.5, 2.0, channels).astype(self.dtype)
        variance = self.initializer(f"{name}.var", spread)
        return self.op("BatchNormalization", source, *statistics, variance, name=name, **attributes)

    def pool(
        self,
        source: ir.Value,
        kernel: int = 2,
        stride: int | None = None,
        *,
        name: str = "pool",
        op_type: str = "AveragePool",
        **attributes: object,
    ) -> ir.Value:
        strides = [kernel if stride is None else stride] * 2
        return self.op(
            op_type, source, name=name, kernel_shape=[kernel] * 2, strides=strides, **attributes
        )

    def model(self, *outputs: ir.Value) -> ir.Model:
        """The network, shapes inferred; outputs keep their names."""
        for value in outputs:
            if value.type is None:
                value.type = ir.TensorType(ir.DataType.from_numpy(self.dtype))
        graph = ir.Graph(
            self.inputs,
            outputs,
            nodes=self.nodes,
            initializers=list(self.initializers.values()),
            opset_imports=self.domains,
            name="net",
        )
        model = ir.Model(graph, ir_version=10)
        infer_shapes(model)
        return model
