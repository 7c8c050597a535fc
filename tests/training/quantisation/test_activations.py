"""Clips that are learnt: PACT's gradients, one clip per grid, the same in codes; DoReFa's at 1."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training.quantisation.networks import images_of_classes, residual

from mlcnn import engines
from mlcnn.graph import constant, is_quantiser
from mlcnn.nn import to_module
from mlcnn.training.quantisation import Grid, InputRange, WeightRange
from mlcnn.training.quantisation.activations import LearntClip
from mlcnn.training.quantisation.fine_tuning import Rounded, rounded_module

torch.set_num_threads(1)

clips = st.floats(0.0625, 20, width=32)
widths = st.integers(1, 8)
seeds = st.integers(0, 2**32 - 1)


def numbers(seed: int, clip: float) -> torch.Tensor:
    """From below 0 to twice the clip, on float64: no rounding stands in the way of the law."""
    generator = torch.Generator().manual_seed(seed)
    return clip * (3 * torch.rand(7, 11, generator=generator, dtype=torch.float64) - 1)


def learnt(clip: float, bits: int) -> LearntClip:
    return LearntClip(Grid.over(0, clip, bits)).double()


@given(clip=clips, bits=widths, seed=seeds)
def test_it_rounds_as_the_grid_that_is_saved_does(clip: float, bits: int, seed: int) -> None:
    module, x = learnt(clip, bits).float(), numbers(seed, clip).float()
    grid = module.grid
    assert grid == Grid(grid.step, 0, bits)
    assert grid.high == pytest.approx(clip, rel=1e-6)
    found = module(x).detach().numpy()
    np.testing.assert_array_equal(found, grid.rounded(x.numpy()))
    np.testing.assert_array_equal(module(torch.from_numpy(found)).detach().numpy(), found)


@given(clip=clips, bits=widths, seed=seeds)
def test_the_gradients_are_those_of_the_cut_without_rounding(
    clip: float, bits: int, seed: int
) -> None:
    """By finite differences of min(max(x, 0), clip), weighted; numbers at its kinks left out."""
    module, x = learnt(clip, bits), numbers(seed, clip).requires_grad_()
    clip = module.clip.item()
    upstream = torch.linspace(-1, 2, x.numel(), dtype=x.dtype).reshape(x.shape)
    (module(x) * upstream).sum().backward()
    given_x, step = x.detach(), 1e-7 * clip
    smooth = (given_x.abs() > 2 * step) & ((given_x - clip).abs() > 2 * step)

    def cut(numbers: torch.Tensor, bound: float) -> torch.Tensor:
        return numbers.clamp(0, bound)

    by_x = (cut(given_x + step, clip) - cut(given_x - step, clip)) / (2 * step)
    torch.testing.assert_close(x.grad[smooth], (by_x * upstream)[smooth], atol=1e-6, rtol=1e-6)
    by_clip = (cut(given_x, clip + step) - cut(given_x, clip - step)) / (2 * step)
    torch.testing.assert_close(module.clip.grad, (by_clip * upstream).sum(), atol=1e-5, rtol=1e-5)


def test_a_number_on_the_clip_moves_it() -> None:
    """dq/dclip = 1 for x >= clip, and dq/dx = 1 for 0 <= x < clip [Choi 2018, Eq. 3]."""
    module = learnt(1, 2)
    x = torch.tensor([0.0, 0.5, 1.0, 1.5], dtype=torch.float64, requires_grad=True)
    module(x).sum().backward()
    assert x.grad.tolist() == [1, 1, 0, 0]
    assert module.clip.grad.item() == 2


def made(
    bits: tuple[int, int],
    input_range: InputRange = InputRange.LEARNED,
    kind: WeightRange = WeightRange.SIGMA,
) -> Rounded:
    return rounded_module(
        residual(), images_of_classes(256)[0], weight_bits=bits[0], input_bits=bits[1],
        kind=kind, input_range=input_range, progress=lambda *_: None,
    )  # fmt: skip


def trained(rounded: Rounded, steps: int = 4) -> Rounded:
    images, labels = images_of_classes(128, seed=3)
    optimizer = torch.optim.SGD(rounded.module.parameters(), lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        logits = rounded.module.train()(torch.from_numpy(images))
        torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels)).backward()
        optimizer.step()
    rounded.module.eval()
    return rounded


def from_ties(rounded: Rounded, images: torch.Tensor) -> np.ndarray:
    """How far from halfway between two codes the nearest number of each image is, in codes."""
    found = list[torch.Tensor]()

    def note(x: torch.Tensor, step: torch.Tensor) -> None:
        codes = x / step
        found.append((codes - codes.floor() - 0.5).abs().flatten(1).amin(1))

    quantisers = [
        m for name, m in rounded.module.named_modules() if name.endswith("QuantizeLinear")
    ]
    hooks = [
        clip.register_forward_pre_hook(lambda clip, given: note(*given, clip.step))
        for clip in rounded.clips.values()
    ]
    hooks += [
        each.register_forward_pre_hook(lambda _, given: note(*given[:2])) for each in quantisers
    ]
    rounded.module(images)
    for hook in hooks:
        hook.remove()
    return torch.stack(found).amin(0).numpy()


@pytest.mark.parametrize("bits", [(8, 8), (4, 4), (2, 2), (1, 2)])
def test_codes_compute_what_was_trained(bits: tuple[int, int]) -> None:
    """Clips that training moved are the codes' steps, in torch and in an engine."""
    rounded = made(bits)
    before = {name: clip.clip.item() for name, clip in rounded.clips.items()}
    trained(rounded)
    moved = {name for name, clip in rounded.clips.items() if clip.clip.item() != before[name]}
    assert moved
    codes, images = rounded.to_codes(), images_of_classes(400, seed=5)[0]
    with torch.no_grad():
        expected = rounded.module(torch.from_numpy(images)).numpy()
        doubles = torch.from_numpy(images).double()
        exact = rounded.module.double()(doubles).numpy()
        ties = from_ties(rounded, doubles)
        found = to_module(codes).double()(doubles).numpy()
    apart = np.abs(found - exact).max(1) > 1e-4 * np.abs(exact).max()
    # A sum may lie on a tie, to the last bit of a folded weight, and nowhere else.
    assert (ties[apart] < 1e-6).all()
    assert apart.mean() <= 1 / 100
    session = engines.get("onnxruntime").prepare(codes)
    ran = next(iter(session.run({"x": images}).values()))
    assert (ran.argmax(1) == expected.argmax(1)).mean() >= 0.999


def test_values_that_share_a_grid_have_one_clip() -> None:
    """What a concatenation joins, with 8 bits; the codes then share a step."""
    rounded = trained(made((8, 8)))
    by_clip = {}
    for name, clip in rounded.clips.items():
        by_clip.setdefault(id(clip), []).append(name)
    assert max(len(names) for names in by_clip.values()) >= 3
    steps = {name: clip.grid.step for name, clip in rounded.clips.items()}
    for node in rounded.to_codes().graph:
        value = node.inputs[0].name if node.inputs else None
        if is_quantiser(node, "QuantizeLinear") and value in steps:
            assert constant(node.inputs[1]) == np.float32(steps[value])


def test_the_ends_keep_their_calibrated_range() -> None:
    rounded = made((4, 4))
    ends = [name for name, grid in rounded.grids.items() if grid.bits == 8]
    assert len(ends) == 2
    assert not set(ends) & set(rounded.clips)
    assert set(rounded.clips) == set(rounded.grids) - set(ends)


def test_dorefa_cuts_off_at_1() -> None:
    """Plain DoReFa: Eq. 9's weights, and activations in steps of 1 / (2^k - 1)."""
    rounded = made((2, 2), InputRange.UNIT, WeightRange.TANH)
    assert not rounded.clips
    narrow = [grid for grid in rounded.grids.values() if grid.bits == 2]
    assert narrow
    assert {grid.step for grid in narrow} == {float(np.float32(1 / 3))}
    quantisers = [each for _, each in rounded.quantisers.values()]
    assert {quantiser.kind for quantiser in quantisers} == {WeightRange.TANH}
    assert len(rounded.to_codes().graph) > 0
