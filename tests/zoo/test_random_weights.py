"""Random weights hide nothing: every layer answers to its input, at a sensible scale."""

import pytest
import torch
from torch import nn

from mlcnn.zoo import build, describe, names


def same(first: nn.Module, second: nn.Module) -> bool:
    other = second.state_dict()
    return all(torch.equal(value, other[key]) for key, value in first.state_dict().items())


def test_the_seed_decides() -> None:
    assert same(build("resnet20", seed=3), build("resnet20", seed=3))
    assert not same(build("resnet20", seed=3), build("resnet20", seed=4))


def test_the_number_of_threads_does_not() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        single = build("resnet20", seed=1)
        torch.set_num_threads(2)
        assert same(single, build("resnet20", seed=1))
    finally:
        torch.set_num_threads(before)


def test_the_global_random_state_plays_no_part() -> None:
    torch.manual_seed(11)
    state = torch.get_rng_state()
    first = build("googlenet")
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(12)
    assert same(first, build("googlenet"))


@pytest.mark.parametrize("name", ["lenet5", "densenet_cifar"])
def test_eval_mode_and_float32(name: str) -> None:
    module = build(name)
    assert not any(layer.training for layer in module.modules())
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_batch_norms_are_not_degenerate() -> None:
    norms = [m for m in build("resnet18").modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 20
    for norm in norms:
        assert norm.running_var is not None
        assert norm.running_mean is not None
        assert norm.running_var.min() >= 0.5
        assert norm.running_var.max() <= 2.0
        for values in (norm.running_var, norm.running_mean, norm.weight, norm.bias):
            assert values.unique().numel() > values.numel() // 2
        assert norm.num_batches_tracked == 0


HEAVY = {"vgg16-224", "resnet50-224"}
FORMS = [
    pytest.param(name, marks=pytest.mark.long if name in HEAVY else ())
    for name in (*names(), "lenet5-avg", "vgg19-avg", "googlenet-all-conv")
]


@pytest.mark.parametrize("name", FORMS)
def test_no_layer_vanishes_explodes_or_ignores_its_input(name: str) -> None:
    module = build(name, seed=7)
    scales: dict[str, tuple[float, float]] = {}

    def record(key: str, output: torch.Tensor) -> None:
        spread = output.std(0).mean() / output.std()
        scales[key] = (float(output.square().mean().sqrt()), float(spread))

    for key, layer in module.named_modules():
        if not any(layer.children()):
            layer.register_forward_hook(lambda _m, _i, output, key=key: record(key, output))
    # Another seed than the weights', and a shift: not the images that scaled the layers.
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(2, *describe(name).input_shape, generator=generator)
    with torch.no_grad():
        module(images + 0.25)
    assert len(scales) > 10
    outside = {key: scale for key, scale in scales.items() if not 0.1 < scale[0] < 5}
    assert not outside, "root mean square of these layers' outputs"
    constant = {key: scale for key, scale in scales.items() if scale[1] < 0.03}
    assert not constant, "spread over images of these layers' outputs"
