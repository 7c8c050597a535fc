"""Layers in two forms: against every choice of them, and on the machine of ``evaluate``."""

import itertools

import pytest

from mlcnn.accelerators import LayerTask, load_accelerator, load_technology
from mlcnn.accelerators.comparison import compare
from mlcnn.codesign.conventions import EXACT
from mlcnn.codesign.exploration import (
    Candidates,
    Here,
    LoopNests,
    Quantity,
    Question,
    Strategy,
    Work,
    design_text,
    evaluate_network,
    load_template,
)
from mlcnn.codesign.layer_searches import LayerGroup
from mlcnn.journal import Journal
from mlcnn.workload import ConvLayer, Layer, NestForm, Pool, loop_nest

LAYERS = (
    ConvLayer("a", 1, 4, 4, 6, 6, 3, 3, pool=Pool((2, 2), (2, 2))),
    ConvLayer("b", 1, 4, 4, 6, 6, 3, 3, pool=Pool((2, 2), (2, 2))),
    ConvLayer("c", 1, 16, 8, 4, 4, 3, 3, pool=Pool((2, 2), (2, 2))),
    ConvLayer("d", 1, 8, 4, 2, 2, 1, 1),
)
FEW = ("pe=8..16", "scratchpad_kb=8", "accumulator_kb=4")


def nests(layer):
    other = None if layer.pool is None else loop_nest(layer, NestForm.EXPANDED)
    return loop_nest(layer), other


NETWORK = LoopNests.of([nests(one) for one in LAYERS], EXACT)


def endless():
    return float("inf")


def test_layers_that_are_alike_in_both_forms_are_one():
    assert [one.names for one in NETWORK.groups] == [("a", "b"), ("c",), ("d",)]
    assert [one is None for one in NETWORK.expanded] == [False, False, True]


@pytest.mark.parametrize(("pe", "scratchpad"), [(4, 1), (8, 64)])
def test_the_forms_are_the_best_of_all(pe, scratchpad):
    hardware = {"pe": pe, "scratchpad_kb": scratchpad, "accumulator_kb": 1}
    machine = load_template("gemmini").make(hardware)
    found = NETWORK.price(machine, seconds=endless)
    every: dict[tuple[NestForm, ...], float] = {}
    for forms in itertools.product((NestForm.PLAIN, NestForm.EXPANDED), repeat=2):
        groups = [
            LayerGroup(loop_nest(LAYERS[index], form), names)
            for index, form, names in ((0, forms[0], ("a", "b")), (2, forms[1], ("c",)))
        ]
        every[forms] = evaluate_network([*groups, NETWORK.groups[2]], machine).edp
    least = min(every.values())
    assert found.edp == pytest.approx(least, rel=1e-12)
    assert found.edp_bound <= least
    told = NestForm(found.forms["a"]), NestForm(found.forms["c"])
    assert every[told] == pytest.approx(least, rel=1e-12)
    assert set(found.forms) == {"a", "b", "c"}


def test_bounds_are_those_of_the_better_form():
    machine = load_template("gemmini").make(load_template("gemmini").default)
    both = NETWORK.bounds([machine])
    for forms in ((0, 0), (0, 1), (1, 0), (1, 1)):
        nest = [nests(LAYERS[index])[form] for index, form in zip((0, 2), forms, strict=True)]
        groups = (LayerGroup(nest[0], ("a", "b")), LayerGroup(nest[1], ("c",)), NETWORK.groups[2])
        alone = LoopNests(groups).bounds([machine])
        assert both.energy_pj[0] <= alone.energy_pj[0]
        assert both.latency_cycles[0] <= alone.latency_cycles[0]


def test_a_file_prices_at_the_same_numbers(tmp_path):
    space = load_template("gemmini").space(ranges=FEW)
    candidates = Candidates.of(space, NETWORK, [])
    question = Question(space, (Quantity.EDP, Quantity.AREA), strategy=Strategy.PROOF)
    with Journal(None, {}) as journal:
        work = Work(question, candidates, journal, Here(NETWORK), lambda _: None)
        found = work.explored("net")
    tables = load_technology()
    tasks = [LayerTask(Layer(one)) for one in LAYERS]
    for number, one in enumerate(found.front):
        path = tmp_path / f"{number}.yaml"
        path.write_text(design_text(found, one))
        machine = load_accelerator(path)
        rows = compare(tasks, machine, machine, tables, batch=1)
        assert rows.cycles == one.found.latency_cycles
        assert rows.energy.total == pytest.approx(one.found.energy_pj, rel=1e-12)
        forms = {row.name: row.cost.execution for row in rows.layers if row.name != "d"}
        assert forms == one.found.forms
