"""Weights out of a network and back."""

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

from mlcnn import zoo
from mlcnn.errors import InputError
from mlcnn.graph import evaluate
from mlcnn.nn import to_module, write_weights


def serialised(model: ir.Model) -> bytes:
    return ir.serde.serialize_model(model).SerializeToString()


def test_untrained_weights_come_back_bit_for_bit(resnet):
    _, resnet = resnet
    result = write_weights(to_module(resnet), resnet)
    for name, value in resnet.graph.initializers.items():
        before, after = value.const_value, result.graph.initializers[name].const_value
        assert before is not None
        assert after is not None
        assert (before.dtype, before.shape) == (after.dtype, after.shape)
        assert np.array_equal(before.numpy(), after.numpy())


def test_a_trained_network_computes_what_its_module_does(resnet):
    _, resnet = resnet
    before = serialised(resnet)
    module = to_module(resnet).train()
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        optimizer.zero_grad()
        module(torch.randn(4, 3, 32, 32, generator=generator)).square().mean().backward()
        optimizer.step()
    module.eval()
    trained = write_weights(module, resnet)
    x = torch.randn(3, 3, 32, 32, generator=generator)
    with torch.no_grad():
        expected = module.double()(x.double())
    (actual,) = evaluate(trained, {str(trained.graph.inputs[0].name): x}).values()
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)
    (original,) = evaluate(resnet, {str(resnet.graph.inputs[0].name): x}).values()
    assert (actual - original).abs().max() > 1e-2
    assert serialised(resnet) == before
    assert list(trained.graph.initializers) == list(resnet.graph.initializers)


def test_weights_of_the_original_module_can_be_written_too(resnet):
    _, resnet = resnet
    other = zoo.build("resnet20", seed=6)
    result = write_weights(other, resnet)
    weight = result.graph.initializers["conv1.weight"].const_value
    assert weight is not None
    assert np.array_equal(weight.numpy(), other.get_parameter("conv1.weight").detach().numpy())


LAYERS = """g (float[n,4] x) => (float[n,3] y) {
    a = Gemm (x, w, b)
    c = PRelu (a, slope)
    y = MatMul (c, v)
}"""


@pytest.fixture
def dense(network, random):
    weights = {"w": random(4, 5), "b": random(1, 5), "slope": random(1), "v": random(5, 3)}
    return network(LAYERS, weights)


def test_layouts_are_undone(dense):
    module = to_module(dense)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2).add_(0.125)
    result = write_weights(module, dense)
    for name, value in dense.graph.initializers.items():
        before, after = value.const_value, result.graph.initializers[name].const_value
        assert before is not None
        assert after is not None
        np.testing.assert_array_equal(after.numpy(), before.numpy() * 2 + np.float32(0.125))


def test_half_precision_stays_half_precision(network, random):
    text = "g (float16[n,4] x) => (float16[n,5] y) { y = Gemm (x, w) }"
    model = network(text, {"w": random(4, 5).astype(np.float16)})
    module = to_module(model)
    assert next(module.parameters()).dtype == torch.float16
    with torch.no_grad():
        next(module.parameters()).mul_(2)
    weight = write_weights(module, model).graph.initializers["w"].const_value
    assert weight is not None
    assert weight.dtype == ir.DataType.FLOAT16


def test_a_module_of_another_network_is_refused(dense):
    with pytest.raises(InputError, match=r"the module has no weight 'a\.weight': it is not"):
        write_weights(nn.Linear(4, 5), dense)


def test_a_module_of_another_shape_is_refused(network, random):
    def linear(size: int) -> ir.Model:
        text = "g (float[n,4] x) => (float[n,m] y) { y = Gemm (x, w) }"
        return network(text, {"w": random(4, size)})

    message = r"has shape \(5, 4\), the network's 'w' has \(4, 3\)"
    with pytest.raises(InputError, match=message):
        write_weights(to_module(linear(5)), linear(3))


def test_weights_that_are_not_finite_are_refused(dense):
    module = to_module(dense)
    with torch.no_grad():
        next(module.parameters()).fill_(float("nan"))
    with pytest.raises(InputError, match="is not finite: its training diverged"):
        write_weights(module, dense)
