"""Modules come in whole: same numbers, own names, dynamic batch, and the module left alone."""

import collections
import copy
import logging
import threading
import warnings

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mlcnn import graph
from mlcnn.errors import InputError


class Net(nn.Module):
    """A little of everything that the exporter treats specially."""

    def __init__(self, pooled=1):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Dropout(),
            nn.Conv2d(8, 6, 3),
        )
        self.gate = nn.Parameter(torch.randn(6, 6, 1, 1))
        self.pool = nn.AdaptiveAvgPool2d(pooled)
        self.head = nn.Linear(6 * pooled * pooled, 5)
        nn.init.normal_(self.features[1].running_mean)
        nn.init.uniform_(self.features[1].running_var, 0.5, 2)

    def forward(self, x):
        y = self.features(x)
        y = F.silu(F.conv2d(y, self.gate)) + y
        return self.head(torch.flatten(self.pool(y), 1))


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return Net()


@pytest.fixture(scope="module")
def model(net):
    return graph.from_module(net, (torch.randn(2, 3, 18, 18),), name="net")


def operators(model):
    return collections.Counter(node.op_type for node in model.graph)


def compare(module, model, run, *inputs, tolerance=1e-5):
    names = [value.name for value in model.graph.inputs]
    feeds = {name: item.numpy() for name, item in zip(names, inputs, strict=True)}
    with torch.no_grad():
        want = copy.deepcopy(module).eval()(*inputs)
    results = run(graph.to_proto(model), feeds)
    wanted = want if isinstance(want, tuple) else (want,)
    for got, expected in zip(results, wanted, strict=True):
        np.testing.assert_allclose(got, expected.numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_the_network_computes_what_the_module_does(net, model, run, batch):
    compare(net, model, run, torch.randn(batch, 3, 18, 18))


def test_the_network_holds_no_noise_of_the_exporter(model):
    assert operators(model) == {
        "Conv": 3,
        "BatchNormalization": 1,
        "Relu": 1,
        "AveragePool": 1,
        "Sigmoid": 1,
        "Mul": 1,
        "Add": 1,
        "ReduceMean": 1,
        "Reshape": 1,
        "Gemm": 1,
    }


def test_a_convolution_without_bias_has_none(model):
    inputs = [len(node.inputs) for node in model.graph if node.op_type == "Conv"]
    assert inputs == [2, 3, 2]


def test_weights_keep_the_names_of_their_modules(net, model):
    expected = {name for name in net.state_dict() if not name.endswith("num_batches_tracked")}
    assert expected <= set(model.graph.initializers)
    np.testing.assert_array_equal(
        graph.constant(model.graph.initializers["head.weight"]), net.head.weight.detach().numpy()
    )


def test_layers_carry_the_names_of_their_modules(model):
    names = {node.op_type: graph.layer_name(node) for node in reversed(model.graph)}
    assert names["Conv"] == "features.0"
    assert names["BatchNormalization"] == "features.1"
    assert names["AveragePool"] == "features.3"
    assert names["ReduceMean"] == "pool"
    assert names["Gemm"] == "head"


def test_the_batch_is_dynamic_and_called_so(model):
    assert str(model.graph.inputs[0].shape) == "[batch,3,18,18]"
    assert str(model.graph.outputs[0].shape) == "[batch,5]"


def test_a_batch_of_one_is_dynamic_too(run):
    module = nn.Conv2d(1, 2, 3)
    model = graph.from_module(module, (torch.randn(1, 1, 5, 5),))

    compare(module, model, run, torch.randn(4, 1, 5, 5))


def test_the_example_is_not_changed():
    x = torch.randn(2, 1, 5, 5)
    before, notes = x.clone(), dict(vars(x))

    graph.from_module(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True)), (x,))

    assert torch.equal(x, before)
    assert vars(x) == notes


def test_nothing_of_this_machine_is_noted_in_the_file(model):
    content = graph.to_proto(model).SerializeToString()
    assert __file__.encode() not in content
    assert b"site-packages" not in content


def test_the_file_is_valid(model):
    onnx.checker.check_model(graph.to_proto(model), full_check=True)


@pytest.mark.parametrize("training", [True, False])
def test_the_module_is_not_changed(training):
    module = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Dropout()).train(training)
    module[1].eval()
    before = copy.deepcopy(module.state_dict())
    modes = [part.training for part in module.modules()]

    graph.from_module(module, (torch.randn(1, 1, 4, 4),))

    assert [part.training for part in module.modules()] == modes
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(item.grad is None and item.requires_grad for item in module.parameters())


def test_the_network_does_not_follow_later_training():
    module = nn.Conv2d(1, 1, 1)
    model = graph.from_module(module, (torch.randn(1, 1, 2, 2),))
    before = graph.constant(model.graph.initializers["weight"]).copy()

    with torch.no_grad():
        module.weight.add_(1)

    np.testing.assert_array_equal(graph.constant(model.graph.initializers["weight"]), before)


@pytest.mark.parametrize(
    ("pooled", "expected"),
    [
        (1, "ReduceMean"),
        (2, "AveragePool"),
        ((4, 2), "AveragePool"),
    ],
)
def test_an_adaptive_pool_that_divides_is_one_node(pooled, expected, run):
    module = nn.Sequential(nn.Conv2d(2, 3, 1), nn.AdaptiveAvgPool2d(pooled))
    x = torch.randn(2, 2, 8, 6)

    model = graph.from_module(module, (x,))

    assert operators(model) == {"Conv": 1, expected: 1}
    compare(module, model, run, x)


def test_an_adaptive_pool_that_does_not_divide_still_computes(run):
    module = nn.Sequential(nn.Conv2d(2, 3, 1), nn.AdaptiveAvgPool2d(3))
    x = torch.randn(2, 2, 8, 8)

    compare(module, graph.from_module(module, (x,)), run, x)


class Fixed(nn.Module):
    """Works for one batch size only."""

    def forward(self, x):
        return x.reshape(2, -1) * 2.0


def test_a_module_for_one_batch_size_is_fixed_with_a_note(caplog, run):
    x = torch.randn(2, 3, 4)
    with caplog.at_level(logging.WARNING, "mlcnn"):
        model = graph.from_module(Fixed(), (x,), name="fixed")

    assert caplog.messages == ["fixed: the module works for one batch size only: it is fixed at 2"]
    assert model.graph.inputs[0].shape == (2, 3, 4)
    compare(Fixed(), model, run, x)


class Pair(nn.Module):
    """Several inputs, one of them without a batch, and several outputs."""

    def forward(self, left, right, scale):
        return left * scale + right, left - right


def test_several_inputs_and_outputs(run):
    inputs = torch.randn(2, 3), torch.randn(2, 3), torch.randn(3)

    model = graph.from_module(Pair(), inputs)

    assert [value.name for value in model.graph.inputs] == ["left", "right", "scale"]
    assert [str(value.shape) for value in model.graph.inputs] == ["[batch,3]", "[batch,3]", "[3]"]
    compare(Pair(), model, run, torch.randn(5, 3), torch.randn(5, 3), torch.randn(3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.bfloat16])
def test_other_float_types(dtype):
    module = nn.Sequential(nn.Conv2d(2, 3, 1, bias=False), nn.ReLU(), nn.AvgPool2d(2)).to(dtype)

    model = graph.from_module(module, (torch.randn(1, 2, 4, 4, dtype=dtype),))

    kind = {torch.float16: "FLOAT16", torch.float64: "DOUBLE", torch.bfloat16: "BFLOAT16"}[dtype]
    assert model.graph.inputs[0].dtype.name == kind
    assert model.graph.initializers["0.weight"].dtype.name == kind
    assert operators(model) == {"Conv": 1, "Relu": 1, "AveragePool": 1}


def test_an_input_that_looks_batched_by_chance(run):
    inputs = torch.randn(3, 3), torch.randn(3, 3), torch.randn(3)

    model = graph.from_module(Pair(), inputs)

    compare(Pair(), model, run, *inputs)


def test_an_example_that_is_no_tensor():
    with pytest.raises(
        InputError, match="net: the example input must consist of tensors, got a str"
    ):
        graph.from_module(nn.ReLU(), ("an image",), name="net")


class Shared(nn.Module):
    """One convolution used twice, and an activation used twice."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(self.conv(self.act(self.conv(x))))


def test_a_module_that_is_used_twice_keeps_one_weight(run):
    x = torch.randn(1, 2, 5, 5)
    module = Shared()

    model = graph.from_module(module, (x,))

    assert sorted(model.graph.initializers) == ["conv.bias", "conv.weight"]
    assert [graph.layer_name(node) for node in model.graph] == ["conv", "act", "conv", "act"]
    compare(module, model, run, x)


class Caching(nn.Module):
    """Keeps a computed tensor, which Python cannot copy."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3))
        self.doubled = self.weight * 2

    def forward(self, x):
        return x * self.doubled


def test_a_module_with_a_computed_attribute_is_copied(run):
    x = torch.randn(2, 3)
    module = Caching()
    model = graph.from_module(module, (x,))

    (got,) = run(graph.to_proto(model), {model.graph.inputs[0].name: x.numpy()})

    np.testing.assert_allclose(got, module(x).detach().numpy(), rtol=1e-6)


class Raising(nn.Module):
    def forward(self, x):
        raise KeyError("no such label\nand a second line")


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class Uncopyable(nn.Module):
    def __deepcopy__(self, memo):
        raise TypeError("not this one")

    def forward(self, x):
        return x


@pytest.mark.parametrize(
    ("module", "shape", "pattern"),
    [
        (
            Raising(),
            (1, 3),
            r"^net: the module fails on an input of shape \(1, 3\): KeyError: .no such label",
        ),
        (
            nn.Conv2d(3, 4, 3),
            (1, 1, 8, 8),
            (
                r"^net: the module fails on an input of shape \(1, 1, 8, 8\): RuntimeError: Given "
                r"groups=1.*expected input\[1, 1, 8, 8\] to have 3 channels.*batch first$"
            ),
        ),
        (nn.Linear(3, 4), (2, 5), r"the module fails on an input of shape \(2, 5\): RuntimeError"),
        (Branching(), (1, 3), r"runs on an input of shape .* but torch.export cannot trace it"),
        (Uncopyable(), (1, 3), r"^net: the module cannot be copied.*TypeError: not this one"),
    ],
)
def test_a_module_that_cannot_be_exported_is_one_message(module, shape, pattern, capfd):
    with pytest.raises(InputError, match=pattern) as caught:
        graph.from_module(module, (torch.ones(shape),), name="net")

    assert "\n" not in str(caught.value)
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_the_exporter_is_silent(capfd):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        graph.from_module(nn.Conv2d(1, 1, 1), (torch.randn(1, 1, 2, 2),))

    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")
    assert not caught


def test_exports_in_parallel_do_not_disturb_each_other():
    results = {}

    def work(channels):
        module = nn.Conv2d(2, channels, 1)
        model = graph.from_module(module, (torch.randn(1, 2, 4, 4),))
        results[channels] = model.graph.outputs[0].shape[1]

    threads = [threading.Thread(target=work, args=(channels,)) for channels in (3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert results == {3: 3, 4: 4}


def test_a_weight_that_is_not_finite_is_named(caplog):
    module = nn.Conv2d(1, 2, 1)
    with torch.no_grad():
        module.weight[0] = float("nan")

    with caplog.at_level(logging.WARNING, "mlcnn"):
        graph.from_module(module, (torch.randn(1, 1, 2, 2),), name="net")

    assert caplog.messages == ["net: weight 'weight' holds NaN"]
