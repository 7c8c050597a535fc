"""DoReFa's weights: Eq. 9 as printed, odd codes, gradients, and the same after export."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils import parametrize
from training.quantisation.networks import CLASSES, images_of_classes, residual

from mlcnn import engines
from mlcnn.graph import constant, is_quantiser
from mlcnn.nn import to_module
from mlcnn.training import ImageSet, Normal, reestimate
from mlcnn.training.quantisation import WeightRange
from mlcnn.training.quantisation.biases import put_bias_on_grid
from mlcnn.training.quantisation.dorefa import WeightQuantiser
from mlcnn.training.quantisation.fine_tuning import Rounded, rounded_module

torch.set_num_threads(1)


def weights(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bits", range(1, 8))
def test_equation_9(bits: int) -> None:
    weight, levels = weights(6, 4, 3, 3), 2**bits - 1
    squashed = torch.tanh(weight)
    unit = squashed / (2 * squashed.abs().max()) + 0.5
    expected = 2 * torch.round(levels * unit) / levels - 1
    found = WeightQuantiser(bits, WeightRange.TANH)(weight)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", WeightRange)
@pytest.mark.parametrize("bits", range(1, 9))
def test_codes_fit_int8_and_are_odd(bits: int, kind: WeightRange) -> None:
    quantiser = WeightQuantiser(bits, kind)
    codes = quantiser.codes(weights(8, 16, 3, 3)).detach().numpy()
    np.testing.assert_array_equal(codes, codes.astype(np.int8))
    if bits < 8:
        assert (codes % 2 == 1).all()
        assert set(np.unique(codes)) <= set(range(1 - 2**bits, 2**bits, 2))
    if kind is WeightRange.TANH or bits < 5:  # else none may lie so far outside
        assert np.abs(codes).max() == quantiser.largest


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_gradients_pass_straight_through(bits: int) -> None:
    weight = weights(4, 9).requires_grad_()
    quantiser = WeightQuantiser(bits)
    upstream = weights(4, 9, seed=1)
    (quantiser(weight) * upstream).sum().backward()
    torch.testing.assert_close(weight.grad, upstream)


def test_gradient_of_tanh_is_that_of_the_function_without_rounding() -> None:
    weight, upstream = weights(4, 9).requires_grad_(), weights(4, 9, seed=1)
    (WeightQuantiser(4, WeightRange.TANH)(weight) * upstream).sum().backward()
    found = weight.grad
    smooth = weight.detach().clone().requires_grad_()
    squashed = torch.tanh(smooth)
    (squashed / squashed.abs().max() * upstream).sum().backward()
    torch.testing.assert_close(found, smooth.grad)


def made(weight_bits: int, input_bits: int, kind: WeightRange = WeightRange.SIGMA) -> Rounded:
    images, labels = images_of_classes(256)
    rounded = rounded_module(
        residual(), images, weight_bits=weight_bits, input_bits=input_bits, kind=kind,
        progress=lambda *_: None,
    )  # fmt: skip
    reestimate(rounded.module, ImageSet("classes", images, labels, CLASSES), Normal(scale=1.0))
    return rounded


@pytest.mark.parametrize("kind", WeightRange)
@pytest.mark.parametrize("bits", [(8, 8), (4, 8), (4, 4), (2, 2), (1, 2)])
def test_exported_codes_compute_what_was_trained(bits: tuple[int, int], kind: WeightRange) -> None:
    """In float64, where no tie is rounded otherwise, all but to the last bits."""
    rounded = made(*bits, kind)
    exported = to_module(rounded.to_codes()).double()
    images = torch.from_numpy(images_of_classes(64, seed=5)[0]).double()
    with torch.no_grad():
        expected, found = rounded.module.double()(images), exported(images)
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


@given(seed=st.integers(0, 2**32 - 1), step=st.floats(1e-4, 1), normed=st.booleans())
def test_a_bias_is_whole_steps_of_the_products(seed: int, step: float, normed: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    layer, norm = torch.nn.Conv2d(3, 5, 3), torch.nn.BatchNorm2d(5) if normed else None
    for tensor in (*layer.parameters(), *([] if norm is None else norm.parameters())):
        tensor.data.normal_(generator=generator)
    if norm is not None:
        norm.running_mean.normal_(generator=generator)
        norm.running_var.uniform_(0.1, 2, generator=generator)
    quantiser = WeightQuantiser(8)
    parametrize.register_parametrization(layer, "weight", quantiser)
    put_bias_on_grid(layer, norm, quantiser, lambda: step)
    both = torch.nn.Sequential(layer, *([] if norm is None else [norm])).double().eval()
    steps = step * quantiser.steps(layer.parametrizations["weight"].original).flatten()
    if norm is not None:
        steps = steps * (norm.weight / torch.sqrt(norm.running_var + norm.eps)).abs()
    with torch.no_grad():
        codes = both(torch.zeros(1, 3, 3, 3).double()).flatten() / steps
    assert (codes - codes.round()).abs().max() <= 1e-9 * codes.abs().max().clamp_min(1)


def test_a_bias_behind_statistics_of_the_batch_is_left_alone() -> None:
    layer, norm = torch.nn.Conv2d(3, 5, 3), torch.nn.BatchNorm2d(5)
    images, bias = weights(4, 3, 8, 8), norm.bias.detach().clone()
    quantiser = WeightQuantiser(8)
    parametrize.register_parametrization(layer, "weight", quantiser)
    put_bias_on_grid(layer, norm, quantiser, lambda: 0.5)
    norm(layer(images)).square().sum().backward()
    torch.testing.assert_close(norm.bias, bias)
    assert norm.parametrizations["bias"].original.grad.abs().max() > 0


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "native"])
@pytest.mark.parametrize("bits", [(2, 2), (4, 4), (8, 8)])
def test_exported_codes_agree_in_engines(bits: tuple[int, int], engine: str) -> None:
    rounded, images = made(*bits), images_of_classes(400, seed=6)[0]
    with torch.no_grad():
        expected = rounded.module(torch.from_numpy(images)).numpy()
    session = engines.get(engine).prepare(rounded.to_codes())
    found = next(iter(session.run({"x": images}).values()))
    assert (found.argmax(1) == expected.argmax(1)).mean() >= 0.999


def test_weights_are_stored_as_odd_codes_and_the_ends_as_8_bits() -> None:
    model = made(4, 4).to_codes()
    codes = {}
    for node in model.graph:
        if node.op_type in {"Conv", "Gemm"}:
            maker = node.inputs[1].producer()
            assert is_quantiser(maker, "DequantizeLinear")
            assert not constant(maker.inputs[2]).any()
            assert len(node.inputs) == 2  # engines would round the bias to whole products
            codes[node.inputs[1].name.split(".")[0]] = constant(maker.inputs[0])
    assert {array.dtype for array in codes.values()} == {np.dtype(np.int8)}
    for name in ("inner", "side", "last"):
        assert set(np.unique(codes[name])) <= set(range(-15, 16, 2))
    assert all(len(np.unique(codes[name])) > 16 for name in ("stem", "head"))
