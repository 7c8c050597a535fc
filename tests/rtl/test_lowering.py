"""Quantised networks in whole numbers, against ONNX's definition and ONNX Runtime."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper
from rtl.networks import (
    by_definition,
    in_engine,
    padded,
    quantised_lenet5,
    quantised_residual,
    sample,
    tiny,
)
from training.quantisation.networks import images_of_classes

import mlcnn
from mlcnn.errors import InfeasibleError, InputError, UnsupportedError
from mlcnn.graph import constant
from mlcnn.rtl.integer import run_layer
from mlcnn.rtl.lowering import lower
from mlcnn.rtl.network import HardwareStep, IntegerNetwork, run_network

IMAGES = images_of_classes(60, seed=7)[0]


def _lenet_images() -> np.ndarray:
    return sample()[0][:60]


def _rounded(model: ir.Model, network: IntegerNetwork) -> list[str]:
    """Names of the codes that the file has, too."""
    made = {value.name for node in model.graph for value in node.outputs}
    of_input = [network.source]
    return of_input + [
        step.output
        for step in network.steps
        if step.output in made and step.output.endswith("QuantizeLinear")
    ]


NETWORKS: dict[str, tuple[Callable[[], ir.Model], Callable[[], np.ndarray], int]] = {
    "lenet5 fused": (quantised_lenet5, _lenet_images, 5),
    "lenet5": (lambda: quantised_lenet5(fused=False), _lenet_images, 5),
    "padded": (padded, lambda: IMAGES, 3),
    "residual": (quantised_residual, lambda: IMAGES, 6),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_code_is_that_of_the_definition(name: str) -> None:
    """In float64 no sum is rounded; a tie that a scale of 24 bits breaks would be one step off."""
    make, images, layers = NETWORKS[name]
    model, given = make(), images()
    network = lower(model, given)
    names = _rounded(model, network)
    assert len(names) >= layers
    ran, expected = run_network(network, given), by_definition(model, given, names)
    for each in names:
        assert expected[each].ravel().tolist() == ran.codes[each].ravel().tolist(), each


@pytest.mark.parametrize("name", NETWORKS)
def test_a_layer_alone_is_at_most_one_step_from_onnx_runtime(name: str) -> None:
    make, images, _ = NETWORKS[name]
    model, given = make(), images()
    network = lower(model, given)
    made = {value.name: value for node in model.graph for value in node.outputs}
    names = [name for step in network.steps for name in (step.output,) if name in made]
    coded = [name for name in names if made[name].dtype == ir.DataType.UINT8]
    found = in_engine(model, given, [network.source, *coded])
    compared = 0
    for step in network.layers:
        if step.source in found and step.output in found:
            codes = found[step.source].astype(np.int64).reshape(-1, *step.layer.shape)
            off = np.abs(run_layer(step.layer, codes).ravel() - found[step.output].ravel())
            assert off.max() <= 1, step.name
            assert (off > 0).mean() < 0.001, step.name
            compared += 1
    assert compared >= 2


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_within_half_a_step_of_the_definition(name: str) -> None:
    make, images, _ = NETWORKS[name]
    model, given = make(), images()
    network = lower(model, given)
    output = model.graph.outputs[0].name or ""
    expected = by_definition(model, given, [output])[output]
    off = np.abs(run_network(network, given).outputs - expected).max()
    assert off <= 0.5001 * network.output_grid.step
    assert network.rescaled


@pytest.mark.parametrize("name", ["lenet5 fused", "padded"])
def test_fused_layers_give_the_same_codes_in_plain_order(name: str) -> None:
    make, images, _ = NETWORKS[name]
    network, given = lower(make(), images()), images()
    fused = [step for step in network.layers if step.layer.fused]
    assert fused

    def plainly(step: HardwareStep, codes: np.ndarray) -> np.ndarray:
        return run_layer(replace(step.layer, fused=False), codes)

    first, second = run_network(network, given), run_network(network, given, plainly)
    assert first.outputs.tolist() == second.outputs.tolist()


def test_fused_layer_of_lenet5_has_the_numbers_of_its_file() -> None:
    model = quantised_lenet5()
    network = lower(model, _lenet_images())
    layer = network.layers[0].layer
    stored = {
        name: found
        for name, value in model.graph.initializers.items()
        if (found := constant(value)) is not None
    }
    codes, biases = stored["conv1.weight_quantized"], stored["conv1.bias_quantized"]
    zero, of_input, of_output, of_weights = (
        stored[name]
        for name in ("x_zero_point", "x_scale", "max_pool2d_scale", "conv1.weight_scale")
    )
    assert (layer.name, layer.fused, layer.shape) == ("conv1", True, (3, 32, 32))
    assert (layer.window, layer.pool_strides, layer.strides) == ((2, 2), (2, 2), (1, 1))
    assert layer.weights.tolist() == codes.tolist()
    assert (layer.signed, layer.pad_value, layer.low, layer.high) == (False, int(zero), 0, 255)
    sums = codes.astype(int).sum((1, 2, 3))
    assert layer.bias.tolist() == (4 * biases.astype(int) - 4 * int(zero) * sums).tolist()
    for weight, significand, shift in zip(of_weights, layer.significand, layer.shift, strict=True):
        exact = (
            Fraction(float(of_input)) * Fraction(float(weight)) / (4 * Fraction(float(of_output)))
        )
        assert abs(Fraction(int(significand), 2 ** int(shift)) / exact - 1) <= Fraction(1, 2**24)


def test_what_the_host_runs_is_told() -> None:
    lowered = lower(quantised_residual(), IMAGES)
    hosts = [(step.name, step.operator) for step in lowered.on_host]
    assert hosts == [
        ("max_pool2d", "MaxPool"),
        ("add_30", "Add"),
        ("cat", "Concat"),
        ("mean", "ReduceMean"),
    ]
    assert [step.name for step in lowered.layers] == ["stem", "inner", "side", "last", "head"]


def test_images_of_another_size_are_refused() -> None:
    network = lower(quantised_residual(), IMAGES)
    with pytest.raises(InputError, match=r"^the images are 3x8x8, the network takes 3x16x16$"):
        run_network(network, np.zeros((1, 3, 8, 8), np.float32))


RANDOM = np.random.default_rng(1).normal(0, 12, (8, 2, 6, 6)).astype(np.float32)
MEAN = ("AveragePool", "pool", {"kernel_shape": [2, 2], "strides": [2, 2]})
RELU = ("Relu", "relu", {})


@pytest.mark.parametrize(
    ("nodes", "window"),
    [((), (1, 1)), ((MEAN, RELU), (2, 2)), ((("GlobalAveragePool", "pool", {}),), (6, 6))],
)
def test_signed_codes_and_a_mean_behind_the_sums(
    nodes: tuple[tuple[str, str, dict[str, object]], ...], window: tuple[int, int]
) -> None:
    model = tiny(
        *nodes, bias=np.array([0.3, -2, 7, 10.5]), pads=[1, 1, 1, 1], scale=[0.1, 0.2, 0.01, 0.03]
    )
    network = lower(model)
    (step,) = network.layers
    assert (step.layer.window, step.layer.fused, step.layer.signed) == (window, False, True)
    assert step.layer.low == (5 if RELU in nodes else -128)
    found = run_network(network, RANDOM)
    expected = by_definition(model, RANDOM, ["x_q", "y_q", "y"])
    assert found.codes["x_q"].tolist() == expected["x_q"].tolist()
    assert found.codes["y_q"].ravel().tolist() == expected["y_q"].ravel().tolist()
    assert found.outputs.ravel() == pytest.approx(expected["y"].ravel(), abs=1e-6)
    assert not network.rescaled


def test_bound_of_a_clip_is_a_code() -> None:
    model = tiny(scale=0.5)
    (plain,) = lower(model).layers
    assert (plain.layer.low, plain.layer.high) == (-128, 127)
    (step,) = lower(quantised_lenet5(fused=False, bits=4), _lenet_images()).layers[2:3]
    assert (step.name, step.layer.low, step.layer.high) == ("fc1", 0, 15)


def test_a_network_in_floats_is_refused() -> None:
    value = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, 8, 8]) for name in "xy"
    ]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "net", value[:1], value[1:])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    with pytest.raises(InputError) as caught:
        lower(mlcnn.load(proto), name="lenet5")
    assert str(caught.value) == (
        "lenet5: the network is not quantised, and the hardware computes with codes of 8 bits; "
        "quantise it and give the file: mlcnn quantize lenet5 --data IMAGES --fuse --means exact "
        "--no-sensitivity -o FILE.onnx"
    )


def test_an_output_in_floats_needs_images() -> None:
    with pytest.raises(InputError) as caught:
        lower(quantised_residual())
    assert str(caught.value) == (
        "the network does not round its output, and codes need a range: give images to find it"
    )


GROUPS = np.ones((4, 1, 3, 3))
REFUSED: dict[
    str, tuple[dict[str, object], tuple[tuple[str, str, dict[str, object]], ...], str]
] = {
    "depth-wise": (
        {"weights": GROUPS, "group": 2},
        (),
        (
            "conv: a depth-wise convolution, which the hardware does not run: of its 128 "
            "multipliers 2 would work (1.6%); give a network without groups"
        ),
    ),
    "dilation": (
        {"dilations": [2, 2]},
        (),
        (
            "conv: its taps are 2x2 positions apart (dilation), and the hardware takes neighbours: "
            "write the kernel with zeros between its taps"
        ),
    ),
    "wide weights": (
        {"zero_point": np.uint8(3), "weights": np.full((4, 2, 3, 3), 200)},
        (),
        (
            "conv: its weights are codes of 197 to 197 about their zero, and the hardware takes "
            "-128 to 127: quantise them symmetrically, as mlcnn quantize does"
        ),
    ),
    "relu before a mean": (
        {},
        (RELU, MEAN),
        (
            "pool: this mean reads sums that are not rounded, and cannot be part of the layer "
            "conv: a ReLU stands before it; put it behind (mlcnn optimize --passes reorder)"
        ),
    ),
    "padded mean": (
        {},
        (("AveragePool", "pool", {"kernel_shape": [2, 2], "pads": [1, 1, 1, 1]}),),
        (
            "pool: this mean reads sums that are not rounded, and cannot be part of the layer "
            "conv: it is padded or dilated"
        ),
    ),
    "another operator": (
        {},
        (("Sigmoid", "gate", {}),),
        (
            "gate: neither the hardware nor the host runs Sigmoid on codes; they run Add, "
            "AveragePool, Clip, Concat, Conv, DequantizeLinear, Dropout, Flatten, Gemm, "
            "GlobalAveragePool, GlobalMaxPool, Identity, MatMul, MaxPool, QuantizeLinear, "
            "ReduceMean, Relu, Reshape, Squeeze"
        ),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_run_is_refused_by_name(case: str) -> None:
    options, nodes, message = REFUSED[case]
    with pytest.raises(UnsupportedError) as caught:
        lower(tiny(*nodes, **options))  # pyright: ignore[reportArgumentType]
    assert str(caught.value) == message


def test_a_layer_in_floats_is_refused() -> None:
    proto = mlcnn.graph.to_proto(tiny())
    entering = next(node for node in proto.graph.node if node.op_type == "Conv")
    entering.input[0] = "x"
    with pytest.raises(InputError) as caught:
        lower(mlcnn.load(onnx.ModelProto.FromString(proto.SerializeToString())))
    assert str(caught.value) == (
        "conv: Conv reads what is not rounded to codes; quantise the whole network: mlcnn quantize "
        "with --bits 8 and --no-sensitivity, and without --float"
    )


def test_sums_beyond_32_bits_are_refused() -> None:
    with pytest.raises(InfeasibleError) as caught:
        lower(tiny(bias=np.array([3e7, 0, 0, 0]), weights=np.full((4, 2, 3, 3), 127)))
    assert str(caught.value) == (
        "conv: its bias is 2.4e+09 steps of its sums, and the hardware takes 32 bits: a filter has "
        "hardly any weights; take it out, or leave its batch norm unfolded"
    )
    with pytest.raises(InfeasibleError) as caught:
        lower(tiny(bias=np.array([2.684e7, 0, 0, 0]), weights=np.full((4, 2, 3, 3), 127)))
    assert str(caught.value).startswith("conv: its sums may reach 2,147,")
