"""The scorer with gradients beside the one in numpy and the walk; its bounds and its gradients."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from codesign.random_machines import random_case
from codesign.random_mappings import random_mapping, random_mask, random_nest

from mlcnn.codesign import (
    EXACT_BOX,
    Batch,
    LevelLoops,
    Mapping,
    Operand,
    count,
    load_architecture,
    score,
    tile_words,
    walk,
)
from mlcnn.codesign.matrix import (
    Hardware,
    MatrixForm,
    OrderClass,
    log_factors,
    matrix_counts,
    matrix_score,
)
from mlcnn.codesign.walker import Walked
from mlcnn.workload import ConvLayer, loop_nest

_ALL = tuple(Operand)
_NOTHING = Walked()
_NAMES = ("reads", "fills", "updates")
_NEST = loop_nest(ConvLayer("c", 2, 8, 6, 13, 13, 3, 3, strides=(2, 1), dilations=(1, 2)))


def _form(nest, mapping, batch):
    return MatrixForm.of(nest, batch.keep, OrderClass.of(mapping))


def _check_bits(seeds):
    saved = 0
    for seed in seeds:
        machine, nest, mapping, batch = random_case(seed)
        expected = score(nest, machine, batch, EXACT_BOX)
        form, x = _form(nest, mapping, batch), log_factors(batch)
        found = matrix_score(form, x, Hardware.of(machine), whole=True)
        for name in _NAMES:
            words = getattr(found.counts, name)[0].numpy()
            assert np.array_equal(words, getattr(expected.counts, name)[..., 0]), (seed, name)
        tiles = tile_words(nest, batch, EXACT_BOX)[..., 0] * batch.keep
        assert np.array_equal(found.counts.tiles[0].numpy(), tiles), seed
        assert found.energy_pj.item() == expected.energy_pj[0], seed
        assert found.latency_cycles.item() == expected.latency_cycles[0], seed
        saved += any(link.each is not None and link.each.times for link in form.links)
    assert saved > len(seeds) / 4  # halos were there to save


def test_whole_factors_give_the_bits_of_numpy():
    _check_bits(range(150))


@pytest.mark.long
def test_whole_factors_give_the_bits_of_numpy_thousands_of_times():
    _check_bits(range(1000, 5000))


def test_without_rounding_it_is_numpys_to_the_last_digits():
    for seed in range(60):
        machine, nest, mapping, batch = random_case(seed)
        plain = tuple(replace(level, block_words=1) for level in machine.levels)
        machine = replace(machine, levels=plain)
        expected = score(nest, machine, batch, EXACT_BOX)
        found = matrix_score(_form(nest, mapping, batch), log_factors(batch), Hardware.of(machine))
        for name in _NAMES:
            words, exact = getattr(found.counts, name)[0].numpy(), getattr(expected.counts, name)
            scale = np.maximum(exact[..., 0], 1)
            assert (np.abs(words - exact[..., 0]) / scale).max() < 1e-12, seed
        assert found.energy_pj.item() == pytest.approx(expected.energy_pj[0], rel=1e-12)
        cycles = expected.latency_cycles[0]
        assert cycles - 1 < found.latency_cycles.item() < cycles * (1 + 1e-12)


@pytest.mark.parametrize("whole", [False, True])
def test_single_precision_is_near(whole):
    for seed in range(60):
        machine, nest, mapping, batch = random_case(seed)
        form, hardware = _form(nest, mapping, batch), Hardware.of(machine)
        expected = matrix_score(form, log_factors(batch), hardware, whole=whole)
        hardware = Hardware.of(machine, dtype=torch.float32)
        x = log_factors(batch, dtype=torch.float32)
        found = matrix_score(form, x, hardware, whole=whole)
        for name in ("energy_pj", "latency_cycles", "edp"):
            assert getattr(found, name).dtype == torch.float32
            assert getattr(found, name).item() == pytest.approx(
                getattr(expected, name).item(), rel=1e-4
            ), seed


def test_single_precision_is_near_on_a_real_layer():
    nest = loop_nest(ConvLayer("layer1", 1, 64, 64, 58, 58, 3, 3))
    texts = [
        "[WIO] K4 P56 - [WI] K16X - [O] C4 R3 S3 C16X - [W] Q56",
        "[WIO] P4 R3 S3 K2 - [WI] K8X Q2 - [O] C4 K4 Q28 C16X - [W] P14",
        "[WIO] S3 P2 C64 - [WI] Q2 K8X - [O] K8 Q28 R3 - [W] P28",
    ]
    machine = load_architecture("gemmini")
    for text in texts:
        mapping = Mapping.parse(text)
        batch = Batch.of([mapping], nest)
        expected = score(nest, machine, batch, EXACT_BOX)
        hardware = Hardware.of(machine, dtype=torch.float32)
        form, x = _form(nest, mapping, batch), log_factors(batch, dtype=torch.float32)
        found = matrix_score(form, x, hardware, whole=True)
        assert found.energy_pj.item() == pytest.approx(expected.energy_pj[0], rel=1e-4)
        assert found.latency_cycles.item() == pytest.approx(expected.latency_cycles[0], rel=1e-4)


def test_a_walk_takes_in_as_many_words():
    checked = 0
    for seed in range(600):
        generator = np.random.default_rng(seed)
        nest = random_nest(generator)
        if any(term.step > 1 for axis in nest.input.axes for term in axis):
            continue
        masks = random_mask(generator, 3)
        drawn = random_mapping(generator, nest, masks)
        # One instance each, so that no gap is between them: the box is what is touched.
        levels = tuple(
            LevelLoops(tuple((dim, one.factor(dim)) for dim, _ in one.temporal), (), one.keep)
            for one in drawn.levels
        )
        mapping = Mapping(levels)
        batch = Batch.of([mapping], nest)
        found = matrix_counts(_form(nest, mapping, batch), log_factors(batch), whole=True)
        walked = walk(nest, mapping)
        for name in _NAMES:
            words = [[getattr(walked.get((level, operand), _NOTHING), name) for operand in Operand]
                     for level in range(3)]  # fmt: skip
            assert getattr(found, name)[0].tolist() == words, (seed, name)
        checked += float(found.fills.sum()) > 0
    assert checked > 20


def test_halos_are_saved_as_by_hand():
    # Rows of 3 taps at stride 1 over 8 positions: 3 for the first of six tiles, 1 for each other.
    nest = loop_nest(ConvLayer("row", 1, 1, 1, 8, 1, 3, 1))
    mapping = Mapping.parse("[WIO] P6 - [I] R3")
    batch = Batch.of([mapping], nest)
    found = matrix_counts(_form(nest, mapping, batch), log_factors(batch), whole=True)
    assert found.fills[0, 1].tolist() == [0, 8, 0]
    assert found.reads[0, 0].tolist() == [18, 8, 18 - 6]
    assert found.reads[0, 1].tolist() == [0, 18, 0]


def _covering(mapping, nest, generator, many):
    """Classes with more loops than a mapping has."""
    for _ in range(many):
        levels = []
        for level in OrderClass.of(mapping).loops:
            loops = list(level)
            for dim in nest.dims:
                if dim not in loops and generator.random() < 0.5:
                    loops.insert(int(generator.integers(len(loops) + 1)), dim)
            levels.append(tuple(loops))
        yield OrderClass(tuple(levels))


def test_a_class_of_more_loops_bounds_from_above():
    above = 0
    for seed in range(60):
        machine, nest, mapping, batch = random_case(seed)
        x, hardware = log_factors(batch), Hardware.of(machine)
        exact = matrix_score(_form(nest, mapping, batch), x, hardware, whole=True)
        for orders in _covering(mapping, nest, np.random.default_rng(seed), 6):
            assert orders.covers(OrderClass.of(mapping))
            form = MatrixForm.of(nest, batch.keep, orders)
            found = matrix_score(form, x, hardware, whole=True)
            for name in _NAMES:
                words, least = getattr(found.counts, name), getattr(exact.counts, name)
                assert (words >= least).all(), (seed, name)
            assert found.edp >= exact.edp
            above += bool(found.energy_pj > exact.energy_pj)
    assert above > 60


def test_the_least_over_the_classes_that_cover_a_mapping_is_its_count():
    nest = loop_nest(ConvLayer("c", 1, 4, 3, 5, 1, 2, 1))
    machine = load_architecture("gemmini")
    mapping = Mapping.parse("[WIO] C3 P2 - [WI] - [O] P2 K4 R2 - [W]")
    batch = Batch.of([mapping], nest)
    x, hardware = log_factors(batch), Hardware.of(machine)
    there = OrderClass.of(mapping)
    dims = [dim for dim in nest.dims if nest.size(dim) > 1]
    orders = [
        order for many in range(len(dims) + 1) for order in itertools.permutations(dims, many)
    ]
    classes = [
        OrderClass((first, second, third, ()))
        for first, second, third in itertools.product(orders, ((), ("K",), ("P", "C")), orders)
    ]
    covering = [one for one in classes if one.covers(there)]
    energies = [
        matrix_score(MatrixForm.of(nest, batch.keep, one), x, hardware, whole=True).energy_pj.item()
        for one in covering
    ]
    assert len(covering) > 100
    assert min(energies) == score(nest, machine, batch, EXACT_BOX).energy_pj[0]
    assert max(energies) > min(energies)


@pytest.mark.parametrize("operand", Operand)
def test_a_stationary_operand_is_fetched_once_for_each_tile(operand):
    nest = loop_nest(ConvLayer("c", 1, 3, 2, 5, 4, 2, 2, strides=(2, 1)))
    orders = OrderClass.stationary(nest, [operand] * 2)
    x = torch.zeros(1, 2, 2, len(nest.dims), dtype=torch.float64)
    x[0, 0, 0] = torch.tensor(nest.sizes, dtype=torch.float64).log()
    found = matrix_counts(MatrixForm.of(nest, np.ones((2, 3), bool), orders), x, whole=True)
    # 24 weights and 18 outputs; of the input each of the 2 x 2 x 3 x 2 x 2 pairs of output and tap
    # in both channels, none of them again for another of the 3 filters.
    words = {"weight": 24, "input": 48, "output": 18}[operand]
    assert found.fills[0, 1, list(Operand).index(operand)] == words


def _smooth(seed):
    """A form and factors inside its domain, where no maximum changes."""
    machine, nest, mapping, batch = random_case(seed, 256)
    generator = torch.Generator().manual_seed(seed)
    form = _form(nest, mapping, batch)
    shape = (1, *form.shape)
    x = 0.2 + 0.5 * torch.rand(shape, generator=generator, dtype=torch.float64)
    return machine, form, x.requires_grad_()


def test_gradients_of_energy_latency_and_their_product():
    for seed in (0, 5):
        machine, form, x = _smooth(seed)
        hardware = Hardware.of(machine)

        start = matrix_score(form, x.detach(), hardware)
        scales = start.energy_pj.max(), start.latency_cycles.max()

        def scored(x, form=form, hardware=hardware, scales=scales):
            found = matrix_score(form, x, hardware)
            return found.energy_pj / scales[0], found.latency_cycles / scales[1]

        assert torch.autograd.gradcheck(scored, x)
        assert torch.autograd.gradcheck(lambda x, f=scored: f(x)[0] * f(x)[1], x)


def test_gradients_of_sizes():
    machine = load_architecture("gemmini")
    mapping = Mapping.parse("[WIO] P6 K2 - [WI] K4X - [O] Q9 R3 S3 C6X - [W] N2")
    batch = Batch.of([mapping], _NEST)
    form, x = _form(_NEST, mapping, batch), log_factors(batch)
    start = Hardware.of(machine)  # at 0.7 of its bandwidths: at its own the accumulators tie
    inputs = tuple(
        one.clone().requires_grad_() for one in (start.shared[1:3], start.bandwidth[:3, 2] * 0.7)
    )

    def scored(shared, bandwidth):
        bounds = start.bandwidth.clone()
        bounds[:3, 2] = bandwidth
        changed = torch.cat((start.shared[:1], shared, start.shared[3:]))
        hardware = replace(start, shared=changed, bandwidth=bounds)
        found = matrix_score(form, x, hardware)
        return found.energy_pj / 1e6, found.latency_cycles / 1e3

    assert torch.autograd.gradcheck(scored, inputs)
    (energy, _), (shared, _) = scored(*inputs), inputs
    (slope,) = torch.autograd.grad(energy.sum(), shared)
    counts = count(_NEST, batch, EXACT_BOX)
    touched = (counts.reads + counts.fills + counts.updates)[1].sum()
    # One byte more: 0.02513 pJ for each 1024 on every word that the scratchpad moves.
    assert slope[0].item() * 1e6 == pytest.approx(touched * 0.02513 / 1024, rel=1e-12)


def test_rounding_leaves_gradients_as_they_are():
    for seed in range(6):
        machine, form, x = _smooth(seed)
        slopes, energies = [], []
        for whole in (False, True):
            found = matrix_score(form, x, Hardware.of(machine), whole=whole)
            slopes.append(torch.autograd.grad(found.energy_pj.sum(), x)[0])
            energies.append(found.energy_pj.item())
        # What is rounded up is multiplied by instances, whose slope it changes as much as itself.
        change = energies[1] / energies[0] - 1
        assert 0 < change < 0.1
        assert torch.allclose(*slopes, rtol=2 * change, atol=0)


def test_a_loop_of_one_iteration_has_a_gradient():
    mapping = Mapping.parse("[WIO] P6 K8 - [WI] - [O] Q9 R3 S3 C6 - [W] N2")
    batch = Batch.of([mapping], _NEST)
    x = log_factors(batch).requires_grad_()
    found = matrix_score(_form(_NEST, mapping, batch), x, Hardware.of(load_architecture("gemmini")))
    (slope,) = torch.autograd.grad(found.energy_pj.sum(), x)
    assert (slope.abs() > 0).all()


def test_no_count_is_negative_while_factors_are_at_least_one():
    generator = torch.Generator().manual_seed(0)
    for seed in range(40):
        _, nest, mapping, batch = random_case(seed)
        for orders in _covering(mapping, nest, np.random.default_rng(seed), 2):
            form = MatrixForm.of(nest, batch.keep, orders)
            x = torch.rand((50, *form.shape), generator=generator, dtype=torch.float64)
            x = torch.where(x < 0.3, 0.0, x)
            found = matrix_counts(form, x)
            for name in (*_NAMES, "tiles"):
                words = getattr(found, name)
                assert (words >= -1e-9 * words.max()).all(), (seed, name)


def test_batches_are_scored_as_one_by_one():
    texts = ["[WIO] P6 K2 - [WI] K4X - [O] Q9 R3 S3 C6X - [W] N2",
             "[WIO] P3 K4 - [WI] K2X - [O] Q3 R3 S3 C2X - [W] N2"]  # fmt: skip
    machine = load_architecture("gemmini")
    nest = loop_nest(ConvLayer("c", 2, 8, 6, 13, 13, 3, 3))
    mappings = [Mapping.parse(text) for text in texts]
    form = _form(nest, mappings[0], Batch.of(mappings, nest))
    together = matrix_score(form, log_factors(Batch.of(mappings, nest)), Hardware.of(machine))
    side = torch.tensor([4.0, 8.0], dtype=torch.float64)
    sizes = replace(Hardware.of(machine), shared=torch.stack((side, side, side, side), 1))
    own = matrix_score(form, log_factors(Batch.of(mappings, nest)), sizes)
    for number, one in enumerate(mappings):
        alone = log_factors(Batch.of([one], nest))
        assert matrix_score(form, alone, Hardware.of(machine)).energy_pj[0] == pytest.approx(
            together.energy_pj[number].item(), rel=1e-14
        )
        small = replace(Hardware.of(machine), shared=sizes.shared[number])
        assert matrix_score(form, alone, small).energy_pj[0] == pytest.approx(
            own.energy_pj[number].item(), rel=1e-14
        )
