"""Batch norms fold into the layer before them; expected values are torch's own."""

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
import torch
from passes.builder import Net
from passes.story import story
from torch.nn import functional as F

from mlcnn.graph import constant, evaluate, layer_name
from mlcnn.passes import FoldBatchNorm, pipeline
from mlcnn.passes.verification import verify

LEAVES = "fold-batch-norm leaves norm: "


def _parameters(model: ir.Model) -> dict[str, torch.Tensor]:
    return {
        name: torch.from_numpy(value.const_value.numpy().astype(np.float64))
        for name, value in model.graph.initializers.items()
    }


def _norm(value: torch.Tensor, p: dict[str, torch.Tensor], epsilon: float = 1e-5) -> torch.Tensor:
    statistics = p["norm.mean"], p["norm.var"], p["norm.weight"], p["norm.bias"]
    return F.batch_norm(value, *statistics, training=False, eps=epsilon)


def _folded(model: ir.Model, source: torch.Tensor) -> tuple[torch.Tensor, list[str]]:
    """Output of the folded network, and the operators that are left."""
    result = FoldBatchNorm().apply(model)
    assert [(c.nodes, c.exact) for c in result.changes] == [(("layer", "norm"), True)]
    (output,) = evaluate(result.model, {"x": source}).values()
    return output, [node.op_type for node in result.model.graph]


def _close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    assert actual.shape == expected.shape
    assert float((actual - expected).abs().max() / expected.abs().max()) <= 1e-14


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("epsilon", [1e-5, 1e-3, 0.0])
def test_convolution(groups: int, *, bias: bool, epsilon: float) -> None:
    net = Net("n", 4, 9, 8, dtype=np.float64)
    options = {"strides": [2, 1], "dilations": [1, 2], "pads": [1, 0, 1, 0], "group": groups}
    conv = net.conv(net.x, 8, channels=4, bias=bias, name="layer", **options)
    model = net.model(net.norm(conv, 8, epsilon=epsilon))
    p, source = _parameters(model), torch.randn(2, 4, 9, 8, dtype=torch.float64)
    expected = F.conv2d(
        source, p["layer.weight"], p.get("layer.bias"), (2, 1), (1, 0), (1, 2), groups
    )
    actual, left = _folded(model, source)
    _close(actual, _norm(expected, p, epsilon))
    assert left == ["Conv"]


@pytest.mark.parametrize("rank", [1, 3])
def test_convolution_over_another_number_of_dimensions(rank: int) -> None:
    net = Net("n", 2, *[6] * rank, dtype=np.float64)
    conv = net.op("Conv", net.x, net.weight("layer.weight", 3, 2, *[3] * rank), name="layer")
    model = net.model(net.norm(conv, 3))
    p, source = _parameters(model), torch.randn(2, 2, *[6] * rank, dtype=torch.float64)
    convolve = F.conv1d if rank == 1 else F.conv3d
    actual, _ = _folded(model, source)
    _close(actual, _norm(convolve(source, p["layer.weight"]), p))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("bias", [False, True])
def test_transposed_convolution(groups: int, *, bias: bool) -> None:
    net = Net("n", 4, 5, 5, dtype=np.float64)
    operands = [net.x, net.weight("layer.weight", 4, 6 // groups, 3, 3)]
    if bias:
        operands.append(net.weight("layer.bias", 6))
    value = net.op("ConvTranspose", *operands, group=groups, strides=[2, 2], name="layer")
    model = net.model(net.norm(value, 6))
    p, source = _parameters(model), torch.randn(2, 4, 5, 5, dtype=torch.float64)
    expected = F.conv_transpose2d(
        source, p["layer.weight"], p.get("layer.bias"), stride=2, groups=groups
    )
    actual, left = _folded(model, source)
    _close(actual, _norm(expected, p))
    assert left == ["ConvTranspose"]


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("bias", [None, (5,), (1, 5), (1,), ()])
def test_dense_layer(transposed: int, bias: tuple[int, ...] | None) -> None:
    net = Net("n", 3, dtype=np.float64)
    operands = [net.x, net.weight("layer.weight", *((5, 3) if transposed else (3, 5)))]
    if bias is not None:
        operands.append(net.weight("layer.bias", *bias))
    model = net.model(net.norm(net.op("Gemm", *operands, transB=transposed, name="layer"), 5))
    p, source = _parameters(model), torch.randn(2, 3, dtype=torch.float64)
    weight = p["layer.weight"].T if transposed else p["layer.weight"]
    expected = source @ weight + p.get("layer.bias", torch.zeros(5))
    actual, left = _folded(model, source)
    _close(actual, _norm(expected, p))
    assert left == ["Gemm"]


def test_layer_keeps_its_name_and_its_weights_names() -> None:
    net = Net()
    conv = net.conv(net.x, name="features.0")
    conv.producer().metadata_props["origin"] = "somewhere"
    result = FoldBatchNorm().apply(net.model(net.norm(conv)))
    (node,) = result.model.graph
    assert layer_name(node) == "features.0"
    assert node.metadata_props["origin"] == "somewhere"
    assert list(result.model.graph.initializers) == ["features.0.weight", "features.0.bias"]
    assert [value.name for value in result.model.graph.outputs] == ["norm:0"]


def test_layer_without_a_name_is_not_called_by_its_batch_norm() -> None:
    net = Net()
    weight, bias = net.weight("w", 2, 2, 3, 3), net.weight("b", 2)
    conv = net.op("Conv", net.x, weight, bias, pads=[1] * 4, name="first")
    conv.producer().name = ""
    (node,) = FoldBatchNorm().apply(net.model(net.norm(conv))).model.graph
    assert layer_name(node) == "first:0"
    assert node.name == "first:0"


def test_layers_that_share_a_weight_keep_their_own_fold() -> None:
    net = Net()
    weight = net.weight("shared.weight", 2, 2, 3, 3)
    convs = [net.conv(net.x, weight=weight, name=name) for name in ("a", "b")]
    norms = [net.norm(conv, name=f"norm_{i}") for i, conv in enumerate(convs)]
    assert story(net.model(*norms), "fold-batch-norm") == [
        "fold-batch-norm rewrites shared, norm_0",
        "fold-batch-norm rewrites shared, norm_1",
    ]


def test_two_batch_norms_in_a_row_are_one_change() -> None:
    net = Net()
    model = net.model(net.norm(net.norm(net.conv(net.x), name="first"), name="second"))
    assert story(model, "fold-batch-norm") == ["fold-batch-norm rewrites conv, first, second"]


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_weights_of_half_precision(dtype: type) -> None:
    net = Net(dtype=dtype)
    model = net.model(net.norm(net.conv(net.x)))
    result = pipeline.run(model, [FoldBatchNorm()])
    stored = {value.const_value.numpy().dtype for value in result.model.graph.initializers.values()}
    assert stored == {np.dtype(dtype)}
    verification = verify(result)
    assert verification.max_error <= 1e-12
    assert 1e-5 < verification.max_deployed_error <= 8 * float(ml_dtypes.finfo(dtype).eps)


def test_fold_that_overflows_half_precision() -> None:
    net = Net(dtype=np.float16)
    net.initializer("norm.var", np.full(2, 1e-7, np.float16))
    net.initializer("norm.weight", np.full(2, 6e4, np.float16))
    assert story(net.model(net.norm(net.conv(net.x))), "fold-batch-norm", runs=False) == [
        f"{LEAVES}folded, its weights do not fit into float16",
    ]


def test_batch_norm_in_training() -> None:
    net = Net()
    operands = [net.conv(net.x), *(net.weight(name, 2) for name in ("scale", "shift", "mean"))]
    variance = net.initializer("var", np.ones(2, np.float32))
    norm = net.op(
        "BatchNormalization", *operands, variance, training_mode=1, outputs=3, name="norm"
    )
    assert story(net.model(norm), "fold-batch-norm") == [
        f"{LEAVES}the batch norm is in training mode",
    ]


def test_no_layer_before() -> None:
    for op_type in (None, "Relu"):
        net = Net()
        value = net.x if op_type is None else net.op(op_type, net.conv(net.x), name="act")
        assert story(net.model(net.norm(value)), "fold-batch-norm") == [
            f"{LEAVES}no convolution or dense layer stands directly before it",
        ]


def test_layer_that_something_else_reads_too() -> None:
    net = Net()
    conv = net.conv(net.x)
    model = net.model(net.norm(conv), net.op("Relu", conv))
    reason = f"{LEAVES}the output of conv is used elsewhere too"
    assert story(model, "fold-batch-norm") == [reason]


def test_layer_that_is_an_output() -> None:
    net = Net()
    conv = net.conv(net.x)
    reason = f"{LEAVES}the output of conv is used elsewhere too"
    assert story(net.model(net.norm(conv), conv), "fold-batch-norm") == [reason]


@pytest.mark.parametrize("computed", ["weight", "statistics"])
def test_parameters_that_are_not_constants(computed: str) -> None:
    net = Net()
    raw = {"weight": ("conv.weight", (2, 2, 3, 3)), "statistics": ("norm.mean", (2,))}[computed]
    net.initializers[raw[0]] = net.input("given", *raw[1])
    assert story(net.model(net.norm(net.conv(net.x))), "fold-batch-norm") == [
        f"{LEAVES}weights or statistics are not constants",
    ]


@pytest.mark.parametrize(("alpha", "beta", "folds"), [(1.0, 1.0, True), (0.5, 1.0, False),
                                                       (1.0, 0.5, False)])  # fmt: skip
def test_dense_layer_that_scales(alpha: float, beta: float, *, folds: bool) -> None:
    net = Net("n", 3)
    operands = net.x, net.weight("fc.weight", 3, 2), net.weight("fc.bias", 2)
    model = net.model(net.norm(net.op("Gemm", *operands, alpha=alpha, beta=beta, name="fc")))
    expected = (
        "fold-batch-norm rewrites fc, norm"
        if folds
        else (f"{LEAVES}the dense layer scales its product")
    )
    assert story(model, "fold-batch-norm") == [expected]


@pytest.mark.parametrize("foreign", ["Conv", "BatchNormalization"])
def test_operators_of_another_domain(foreign: str) -> None:
    """A norm of another domain is not looked at; a convolution of another is none."""
    net = Net()
    conv = net.conv(net.x)
    norm = net.norm(conv)
    value = conv if foreign == "Conv" else norm
    value.producer().domain = "custom"
    net.domains["custom"] = 1
    value.shape, value.type = ir.Shape(["n", 2, 8, 8]), net.x.type
    told = story(net.model(norm), "fold-batch-norm", runs=False)
    reason = f"{LEAVES}no convolution or dense layer stands directly before it"
    assert told == ([reason] if foreign == "Conv" else [])


def test_selection() -> None:
    for options, changed in (({"exclude": ("conv",)}, 0), ({"only": ("norm",)}, 1),
                             ({"only": ("other",)}, 0)):  # fmt: skip
        net = Net()
        result = FoldBatchNorm(**options).apply(net.model(net.norm(net.conv(net.x))))
        assert len(result.changes) == changed


def test_old_weights_are_gone() -> None:
    net = Net()
    result = FoldBatchNorm().apply(net.model(net.norm(net.conv(net.x))))
    weight = constant(result.model.graph.initializers["conv.weight"])
    assert weight is not None
    assert not np.array_equal(weight, net.initializers["conv.weight"].const_value.numpy())
    assert not any(name.startswith("norm") for name in result.model.graph.initializers)
