"""A convolution in front of a moved pool is the one that comes closest to what was there."""

import numpy as np
import pytest
import torch
from torch import fx, nn
from training.toy import NORMAL, toy_images

from mlcnn.training.fitting import FittedSite, fit, fitted_sites

IMAGES = toy_images(60)
SITE = FittedSite("conv", "pool", "pool")


def network(order: str, **layers: nn.Module) -> fx.GraphModule:
    """Named layers, one after another."""
    torch.manual_seed(0)
    root, graph = nn.Module(), fx.Graph()
    value = graph.placeholder("x")
    for name in order.split():
        if name not in dict(root.named_children()):
            root.add_module(name, layers[name])
        value = graph.call_module(name, (value,))
    graph.output(value)
    return fx.GraphModule(root, graph).eval()


def pair(pool: nn.Module, **options) -> tuple[fx.GraphModule, fx.GraphModule]:
    """The original and, with the same weights, the rewritten network."""
    conv = nn.Conv2d(1, 4, **{"kernel_size": 3, **options})
    original = network("conv act pool", conv=conv, act=nn.ReLU(), pool=pool)
    other = nn.Conv2d(1, 4, **{"kernel_size": 3, **options})
    other.load_state_dict(conv.state_dict())
    average = nn.AvgPool2d(2, 2)
    return original, network("conv pool act", conv=other, act=nn.ReLU(), pool=average)


def inputs() -> torch.Tensor:
    return torch.from_numpy(NORMAL.apply(IMAGES.images))


def distance(rewritten: nn.Module, original: nn.Module) -> float:
    with torch.no_grad():
        return float((rewritten(inputs()) - original(inputs())).square().mean())


@pytest.mark.parametrize(
    "options",
    [{}, {"bias": False}, {"stride": 2, "padding": 2}, {"dilation": 2, "padding": (2, 1)}],
)
def test_what_a_mean_can_give_is_found_again(options):
    """A target that weights exist for: relu(mean z) with other weights, mostly positive."""
    _, rewritten = pair(nn.AvgPool2d(2, 2), **options)
    _, wanted = pair(nn.AvgPool2d(2, 2), **options)
    with torch.no_grad():
        wanted.conv.weight.add_(0.3 * torch.randn_like(wanted.conv.weight))
        if wanted.conv.bias is not None:
            wanted.conv.bias.add_(2)
    assert distance(rewritten, wanted) > 1e-3
    before = distance(rewritten, wanted)
    fit(rewritten, wanted, FittedSite("conv", "pool", "act"), IMAGES, normal=NORMAL)
    assert distance(rewritten, wanted) < 1e-3 * before


def test_a_fit_is_at_least_as_near_as_plain_least_squares():
    original, rewritten = pair(nn.MaxPool2d(2, 2))
    with torch.no_grad():
        original.conv.bias.sub_(0.3)  # some targets are zero, and only those are one-sided
        target = original(inputs())
        windows = nn.functional.unfold(inputs(), 3).reshape(60, 9, 4, 4)
        means = nn.functional.avg_pool2d(windows, 2).permute(0, 2, 3, 1).reshape(-1, 9).numpy()
    assert 0 < float((target == 0).float().mean()) < 1
    columns = np.column_stack([means, np.ones(len(means))])
    wanted = target.permute(0, 2, 3, 1).reshape(-1, 4).numpy()
    plain = np.maximum(columns @ np.linalg.lstsq(columns, wanted, rcond=None)[0], 0)
    untouched = distance(rewritten, original)
    fit(rewritten, original, SITE, IMAGES, normal=NORMAL)
    assert distance(rewritten, original) < float(np.square(plain - wanted).mean()) < untouched


def test_only_the_site_changes():
    original, rewritten = pair(nn.MaxPool2d(2, 2))
    before = {k: v.clone() for k, v in original.state_dict().items()}
    fit(rewritten, original, SITE, IMAGES, normal=NORMAL)
    assert all(torch.equal(v, before[k]) for k, v in original.state_dict().items())
    assert not torch.equal(rewritten.conv.weight, before["conv.weight"])
    assert not rewritten.conv._forward_hooks
    assert not original.pool._forward_hooks


def test_where_a_fit_is_possible():
    original, rewritten = pair(nn.MaxPool2d(2, 2))
    assert fitted_sites(rewritten, original) == (SITE,)
    assert fitted_sites(original, original) == ()
    layers = {"conv": nn.Conv2d(1, 4, 3), "act": nn.ReLU(), "pool": nn.AvgPool2d(2, 2)}
    normed = network("conv pool norm act", norm=nn.BatchNorm2d(4), **layers)
    assert fitted_sites(normed, original) == ()
    smooth = network("conv pool act", **{**layers, "act": nn.Sigmoid()})
    assert fitted_sites(smooth, original) == ()
    twice = network("conv conv pool act", **{**layers, "conv": nn.Conv2d(1, 1, 3)})
    assert fitted_sites(twice, original) == ()
    grouped = network("conv pool act", **{**layers, "conv": nn.Conv2d(4, 4, 3, groups=4)})
    assert fitted_sites(grouped, original) == ()
