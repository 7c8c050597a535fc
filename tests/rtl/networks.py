"""Quantised networks for the integer model, and what they give by ONNX's own definition."""

import functools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from training.quantisation.networks import images_of_classes, residual

import mlcnn
from mlcnn import engines
from mlcnn.graph import clone, evaluate, inline
from mlcnn.training import load_sample
from mlcnn.training.quantisation import Means, Setting, calibrate
from mlcnn.zoo import describe

__all__ = [
    "QUICK",
    "by_definition",
    "in_engine",
    "padded",
    "quantised_lenet5",
    "quantised_residual",
    "sample",
    "tiny",
]

QUICK = Setting(observer="mse", bias_correction=False, sensitivity=False, means=Means.EXACT)


@functools.cache
def sample() -> tuple[np.ndarray, np.ndarray]:
    """The embedded images as LeNet-5 takes them, and their labels."""
    images, normal = load_sample(), describe("lenet5").normalisation
    return mlcnn.training.Normal(normal.mean, normal.std).apply(images.images), images.labels


@functools.cache
def _lenet5() -> ir.Model:
    return mlcnn.load("lenet5")


@functools.cache
def quantised_lenet5(*, fused: bool = True, bits: int = 8) -> ir.Model:
    """LeNet-5 with its convolutions fused with mean pools, or with max pools, as it was trained."""
    images, _ = sample()
    if fused:
        model = inline(mlcnn.optimize("lenet5", passes="mlcnn", form="box", check=False).model)
    else:
        model = _lenet5()
    setting = replace(QUICK, weight_bits=bits, input_bits=bits)
    return calibrate(model, images[300:], images[300:], setting).model


@functools.cache
def quantised_residual(bits: int = 8) -> ir.Model:
    """Convolutions, a max pool, a sum, a concatenation, a stride of 2, a global mean."""
    images, _ = images_of_classes(256, seed=2)
    setting = replace(QUICK, weight_bits=bits, input_bits=bits)
    return calibrate(residual(), images[:128], images[128:], setting).model


class _Padded(nn.Module):
    """Padded convolutions before mean pools, one of windows that overlap."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 9, (3, 1), padding=(1, 0))
        self.head = nn.Linear(9 * 9, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(nn.functional.avg_pool2d(self.first(x), 2))
        x = torch.relu(nn.functional.avg_pool2d(self.second(x), 3, 2))
        return self.head(x.flatten(1))


@functools.cache
def padded() -> ir.Model:
    """A fused network whose input has a zero that is not the code 0, and padding of it."""
    torch.manual_seed(3)
    example = torch.zeros(2, 3, 16, 16)
    fused = inline(mlcnn.optimize(_Padded(), example, form="box", check=False).model)
    images, _ = images_of_classes(128, seed=4)
    return calibrate(fused, images, images, QUICK).model


def tiny(
    *nodes: tuple[str, str, dict[str, object]],
    weights: np.ndarray | None = None,
    scale: float | Sequence[float] = 0.05,
    bias: np.ndarray | None = None,
    zero_point: np.ndarray | None = None,
    **attributes: object,
) -> ir.Model:
    """Signed codes of (2, 6, 6), a convolution of 3x3, other operators, and codes again."""
    codes = (
        np.random.default_rng(0).integers(-127, 128, (4, 2, 3, 3)) if weights is None else weights
    )
    stored = {
        "s_x": np.float32(0.25),
        "z_x": np.int8(-3),
        "w": codes.astype(np.int8),
        "s_w": np.float32(scale),
        "z_w": np.int8(0) if zero_point is None else zero_point,
        "s_y": np.float32(0.5),
        "z_y": np.int8(5),
    }
    if zero_point is not None:
        stored["w"] = codes.astype(zero_point.dtype)
    if bias is not None:
        stored["bias"] = bias.astype(np.float32)
    made = [
        helper.make_node("QuantizeLinear", ["x", "s_x", "z_x"], ["x_q"]),
        helper.make_node("DequantizeLinear", ["x_q", "s_x", "z_x"], ["x_d"]),
        helper.make_node("DequantizeLinear", ["w", "s_w", "z_w"], ["w_d"], axis=0),
        helper.make_node(
            "Conv",
            ["x_d", "w_d", *(["bias"] if bias is not None else [])],
            ["c"],
            "conv",
            **attributes,
        ),
    ]
    value = "c"
    for operator, name, given in nodes:
        made.append(helper.make_node(operator, [value], [f"{name}_out"], name, **given))
        value = f"{name}_out"
    made += [
        helper.make_node("QuantizeLinear", [value, "s_y", "z_y"], ["y_q"]),
        helper.make_node("DequantizeLinear", ["y_q", "s_y", "z_y"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, 6, 6])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    constants = [numpy_helper.from_array(np.asarray(each), name) for name, each in stored.items()]
    graph = helper.make_graph(made, "tiny", inputs, outputs, constants)
    return mlcnn.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]))


def by_definition(
    model: ir.Model, images: np.ndarray, names: Sequence[str]
) -> dict[str, np.ndarray]:
    """Values of a network in float64, operator by operator."""
    given = {model.graph.inputs[0].name or "": torch.from_numpy(images)}
    return {name: each.numpy() for name, each in evaluate(model, given, outputs=names).items()}


def in_engine(model: ir.Model, images: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Values of a network in ONNX Runtime, which computes layers between codes in integers."""
    copied = clone(model)
    values = {value.name: value for node in copied.graph for value in node.outputs}
    copied.graph.outputs[:] = [values[name] for name in names]
    session = engines.get("onnxruntime").prepare(copied)
    return session.run({model.graph.inputs[0].name or "": images})
