"""Weights that hide errors: compared at the output nothing shows, at the site everything does."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
import torch
from passes.builder import Net
from passes.spoiling import Wrong, attributes, weights
from passes.story import inputs_of

from mlcnn.errors import PassError
from mlcnn.graph import evaluate
from mlcnn.passes import FoldBatchNorm, Fuse, Reorder, pipeline
from mlcnn.passes.verification import TOLERANCE, check_site, verify

Fill = Callable[[tuple[int, ...]], np.ndarray]


def network(fill: Fill = np.ones, classifier: Fill | None = None) -> ir.Model:
    """conv -> batch norm -> ReLU -> pool -> dense layer; all convolution weights by ``fill``."""
    net = Net()
    net.initializer("conv.weight", fill((2, 2, 3, 3)).astype(np.float32))
    net.initializer("conv.bias", np.zeros(2, np.float32))
    relu = net.op("Relu", net.norm(net.conv(net.x)), name="relu")
    flat = net.op("Flatten", net.pool(relu), axis=1, name="flatten")
    if classifier is not None:
        net.initializer("fc.weight", classifier((5, 32)).astype(np.float32))
    weight = net.weight("fc.weight", 5, 32)
    return net.model(net.op("Gemm", flat, weight, net.weight("fc.bias", 5), transB=1, name="fc"))


def untrained() -> ir.Model:
    """Random convolution, but a batch norm as it is before training: mean 0, variance 1."""
    net = Net()
    for part, value in {"weight": 1, "bias": 0, "mean": 0, "var": 1}.items():
        net.initializer(f"norm.{part}", np.full(2, value, np.float32))
    return net.model(net.norm(net.conv(net.x)))


def at_output(before: ir.Model, after: ir.Model) -> float:
    """Largest difference of the outputs in float64, relative to the largest value."""
    inputs = {name: torch.from_numpy(array) for name, array in inputs_of(before).items()}
    (expected,) = evaluate(before, inputs).values()
    (actual,) = evaluate(after, inputs).values()
    return float((actual - expected).abs().max() / expected.abs().max())


def at_site(model: ir.Model, wrong: Wrong) -> tuple[float, float]:
    """Error at the output of the network, and at the site with random weights."""
    result = wrong.apply(model)
    (change,) = result.changes
    check = check_site(wrong, model, result.model, change)
    assert not check.vacuous
    with pytest.raises(PassError, match=r"^wrong is not exact at "):
        verify(pipeline.run(model, [wrong]))
    return at_output(model, result.model), check.error


def pooled(weight: np.ndarray) -> ir.Model:
    net = Net("n", weight.shape[1], 8, 8)
    net.initializer("conv.weight", weight.astype(np.float32))
    return net.model(net.pool(net.conv(net.x, weight.shape[0], channels=weight.shape[1])))


def _constant(shape: tuple[int, ...]) -> np.ndarray:
    return np.full(shape, 0.1)


def _symmetric(shape: tuple[int, ...]) -> np.ndarray:
    """A blur, the same in both directions and all channels, another strength for each filter."""
    blur = np.outer([1, 2, 1], [1, 2, 1]) / 16
    return np.arange(1, shape[0] + 1).reshape(-1, 1, 1, 1) * np.broadcast_to(blur, shape)


def _pruned(shape: tuple[int, ...]) -> np.ndarray:
    """Only the taps in the middle are left."""
    weight = np.zeros(shape)
    weight[:, :, 1, 1] = np.random.default_rng(0).standard_normal(shape[:2])
    return weight


@pytest.mark.parametrize("fill", [np.zeros, _constant, _symmetric, _pruned])
@pytest.mark.parametrize("wrong", [
    Wrong(after=weights("conv.weight", lambda w: w.swapaxes(2, 3))),
    Wrong(after=weights("conv.weight", lambda w: w[:, :, ::-1])),
    Wrong(Fuse(form="expanded"), after=weights("conv.weight", lambda w: w.swapaxes(2, 3))),
], ids=["transposed", "flipped", "expanded transposed"])  # fmt: skip
def test_wrong_orientation_of_the_weight(fill: Fill, wrong: Wrong) -> None:
    hidden, seen = at_site(pooled(fill((2, 2, 3, 3))), wrong)
    assert hidden <= TOLERANCE
    assert seen > 1e-3


@pytest.mark.parametrize("fill", [np.zeros, _constant, _symmetric])
def test_weights_of_other_channels(fill: Fill) -> None:
    wrong = Wrong(after=weights("conv.weight", lambda w: np.roll(w, 1, axis=1)))
    hidden, seen = at_site(pooled(fill((2, 2, 3, 3))), wrong)
    assert hidden <= TOLERANCE
    assert seen > 1e-3


def test_border_taps_that_pruning_hides() -> None:
    def border_cut(weight: np.ndarray) -> np.ndarray:
        return weight * np.pad(np.ones((1, 1)), 1)

    wrong = Wrong(after=weights("conv.weight", border_cut))
    hidden, seen = at_site(pooled(_pruned((2, 2, 3, 3))), wrong)
    assert hidden <= TOLERANCE
    assert seen > 1e-3


@pytest.mark.parametrize("part", ["weight", "bias", "mean"])
def test_fold_of_an_untrained_batch_norm(part: str) -> None:
    """Scale 1, shift 0 and mean 0: forgetting them changes nothing."""
    neutral = {"weight": np.ones_like, "bias": np.zeros_like, "mean": np.zeros_like}[part]
    wrong = Wrong(FoldBatchNorm(), before=weights(f"norm.{part}", neutral))
    hidden, seen = at_site(untrained(), wrong)
    assert hidden <= 1e-6  # the folded weights are stored in float32
    assert seen > 1e-3


@pytest.mark.parametrize("wrong", [
    Wrong(Reorder()),
    Wrong(Reorder(), after=attributes("AveragePool", kernel_shape=(1, 1))),
    Wrong(FoldBatchNorm(), before=weights("norm.mean", np.zeros_like)),
], ids=["activation moved", "pool dropped", "mean forgotten"])  # fmt: skip
def test_classifier_that_starts_at_zero(wrong: Wrong) -> None:
    """Whatever stands before a dense layer of zeros, the network's output is its bias."""
    generator = np.random.default_rng(0)
    hidden, seen = at_site(network(generator.standard_normal, classifier=np.zeros), wrong)
    assert hidden == 0
    assert seen > 1e-3


def test_convolution_that_starts_at_zero_hides_an_approximate_rewrite() -> None:
    hidden, seen = at_site(network(np.zeros), Wrong(Reorder()))
    assert hidden == 0
    assert seen > 1e-3


def test_right_rewrites_pass_on_degenerate_weights() -> None:
    for fill in (np.zeros, _constant, _symmetric, _pruned):
        verification = verify(pipeline.run(pooled(fill((2, 2, 3, 3))), pipeline.parse("exact")))
        assert verification.max_error <= TOLERANCE
        assert not verification.vacuous


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_no_error_of_the_pass(bad: float) -> None:
    """One such weight in one filter: the rewrite is right, the network is not."""
    model = pooled(_symmetric((2, 2, 3, 3)))
    weights("conv.weight", lambda w: np.where(np.arange(w.size) == 5, bad, w.ravel()).reshape(
        w.shape))(model)  # fmt: skip
    for form in ("box", "expanded"):
        verification = verify(pipeline.run(model, [Fuse(form=form)]))
        assert verification.max_error <= TOLERANCE
        assert verification.max_deployed_error <= 1e-5


@pytest.mark.parametrize("variance", [0.0, 1.0])
def test_batch_norm_without_variance(variance: float) -> None:
    """A channel that was dead in training: its statistics are zero, and stay valid here."""
    model = untrained()
    weights("norm.var", lambda v: np.full_like(v, variance))(model)
    verification = verify(pipeline.run(model, [FoldBatchNorm()]))
    assert verification.max_error <= TOLERANCE
    assert not verification.vacuous


def test_check_that_can_see_nothing_says_so() -> None:
    """A single weight that is zero is kept: the output is zero whatever the input."""
    net = Net("n", 1, 8, 8)
    net.initializer("conv.weight", np.zeros((1, 1, 1, 1), np.float32))
    model = net.model(net.pool(net.conv(net.x, 1, 1, channels=1, bias=False)))
    verification = verify(pipeline.run(model, [Fuse(form="box")]))
    assert verification.max_error == 0
    assert verification.vacuous


def test_check_of_nothing_says_so() -> None:
    net = Net()
    verification = verify(pipeline.run(net.model(net.pool(net.x)), pipeline.parse("exact")))
    assert verification.sites == ()
    assert verification.max_error == 0
    assert verification.vacuous
