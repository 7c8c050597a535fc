"""The relaxed network: against the scorer, its gradients, and the truth where it is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from codesign.exploration.made_up import GROUPS
from codesign.exploration.relaxed.made_small import begun, relaxation, target

from mlcnn.codesign import EXACT_BOX, Batch, Mapping, score
from mlcnn.codesign.exploration import Quantity, evaluate_network, load_template
from mlcnn.codesign.exploration.relaxed.search import Pace
from mlcnn.codesign.layer_searches import LayerGroup
from mlcnn.workload import ConvLayer, loop_nest

_PACE = Pace(80, 0.5, 0.01, apart=40)


def logits_of(problem, mappings):
    """Logits whose factors are those of mappings, one for each layer."""
    layers = problem.layers
    x = torch.zeros(1, *layers.free.shape, dtype=torch.float64)
    for number, (group, mapping) in enumerate(zip(GROUPS, mappings, strict=True)):
        batch = Batch.of([mapping], group.nest)
        logs = np.log(np.stack((batch.temporal, batch.spatial), 1)[..., 0])
        x[0, number] = torch.as_tensor(logs)
    # log(size) * softmax(logits) is x: shares are exactly 0 where logits are -inf
    return (x / layers.sizes.clamp_min(1e-300)[:, None, None]).log()


def test_at_whole_factors_a_network_is_the_sum_of_the_scorers():
    problem = relaxation()
    texts = [
        "dram[WIO] P7 - scratchpad[WI] K8 C4 R3 S3 K8X - accumulator[O] Q14 P2 C8X - register[W]",
        "dram[WIO] K8 - scratchpad[WI] C8 K16X - accumulator[O] P8 Q8 C8X - register[W]",
    ]
    mappings = [Mapping.parse(text) for text in texts]
    values = {"pe": 16.0, "scratchpad_kb": 16.0, "accumulator_kb": 8.0}
    machine = load_template("gemmini").make(values)
    # Words are not rounded up to blocks in what is relaxed.
    plain = replace(machine, levels=tuple(replace(one, block_words=1) for one in machine.levels))
    sizes = torch.tensor(np.log([list(values.values())]))
    logits = logits_of(problem, mappings)
    least = [np.inf] * len(GROUPS)
    costs = {}
    for option in range(problem.layers.options):
        options = torch.full((1, len(GROUPS)), option)
        found = problem.costs(sizes, logits, problem.arranged(options))
        keeps_all = option < 6  # the first mask keeps everything, with six classes of orders
        for layer in range(len(GROUPS)):
            energy = found.energy_pj[0, layer].item()
            if keeps_all and energy < least[layer]:
                least[layer], costs[layer] = energy, found
    expected = [score(group.nest, plain, Batch.of([mapping], group.nest), EXACT_BOX)
                for group, mapping in zip(GROUPS, mappings, strict=True)]  # fmt: skip
    total = sum(len(one.names) * e.energy_pj[0] for one, e in zip(GROUPS, expected, strict=True))
    relaxed = sum(len(group.names) * least[n] for n, group in enumerate(GROUPS))
    assert relaxed == pytest.approx(total, rel=1e-9)
    for layer, one in enumerate(expected):
        cycles = costs[layer].latency_cycles[0, layer].item()
        assert one.latency_cycles[0] - 1 < cycles <= one.latency_cycles[0] * (1 + 1e-9)


def test_the_gradients_of_the_lagrangian_hold():
    groups = (LayerGroup(loop_nest(ConvLayer("tiny", 1, 4, 6, 6, 6, 3, 3)), ("a", "b")),)
    problem = relaxation(groups)
    most = {"area": 1e4, "power": 1e-3}
    starts, wanted = begun(problem, 2, seed=3), target(2, **most)
    prices = torch.full_like(starts.prices, 0.3)
    starts = replace(starts, prices=prices, bound_prices=torch.ones_like(starts.bound_prices))
    arrangement = problem.arranged(starts.options)

    def lagrangian(sizes, logits):
        moved = replace(starts, sizes=sizes, logits=logits)
        return problem.lagrangian(moved, wanted, arrangement, 4.0)

    sizes, logits = starts.sizes.requires_grad_(), starts.logits.requires_grad_()
    assert torch.autograd.gradcheck(lagrangian, (sizes, logits))


def test_factors_multiply_to_their_dimensions_and_none_is_below_1():
    problem = relaxation()
    x = problem.layers.factors(begun(problem, 5).logits * 20)
    assert (x >= 0).all()
    assert torch.allclose(x.sum((2, 3)), problem.layers.sizes.expand(5, -1, -1))
    assert (x[:, ~problem.layers.free] == 0).all()


@pytest.mark.parametrize("values", [(8.0, 8.0, 4.0), (16.0, 4.0, 2.0), (4.0, 16.0, 8.0)])
def test_at_given_sizes_it_is_near_the_exact_mapper(values):
    problem = relaxation()
    names = [one.name for one in problem.space.parameters]
    exact = evaluate_network(
        GROUPS, problem.space.template.make(dict(zip(names, values, strict=True)))
    )
    starts = begun(problem, problem.layers.options)
    sizes = torch.tensor(np.log([values])).repeat(len(starts.sizes), 1)
    starts = replace(starts, sizes=sizes)
    found = problem.moved(starts, target(len(sizes)), _PACE, torch.zeros_like(sizes))
    assert torch.equal(found.sizes, sizes)
    assert np.exp(found.worth.min().item()) == pytest.approx(exact.edp, rel=0.15)


def test_bounds_and_memories_are_kept():
    problem = relaxation()
    free = begun(problem, 16)
    most = {"area": 0.03e6}
    found = problem.moved(free, target(16, **most), _PACE, torch.ones_like(free.sizes))
    best = found.at(found.worth.argmin()[None])
    area = problem.hardware(best.sizes).area_um2().item()
    assert area == pytest.approx(most["area"], rel=0.02)  # more area is better: it is used up
    excess = problem.costs(best.sizes, best.logits, problem.arranged(best.options)).excess
    assert excess.max() < 0.05
    assert (best.sizes >= problem.low).all()
    assert (best.sizes <= problem.high).all()


def test_less_of_a_bound_is_never_better():
    problem = relaxation()
    worth = []
    for power in (1e-2, 1e-1):
        starts = begun(problem, 8)
        wanted = target(8, Quantity.LATENCY, power=power)
        free = torch.ones_like(starts.sizes)
        worth.append(problem.moved(starts, wanted, _PACE, free).worth.min().item())
    assert worth[0] >= worth[1] - 0.02


def test_a_seed_is_a_result():
    problem = relaxation()
    twice = [
        problem.moved(begun(problem, 6), target(6), Pace(20, 0.5, 0.01), torch.ones(6, 3))
        for _ in range(2)
    ]
    assert torch.equal(twice[0].logits, twice[1].logits)
    assert torch.equal(twice[0].worth, twice[1].worth)
