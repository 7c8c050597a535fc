"""Templates of arrays: bounds, prices, forms and files against the accelerators themselves."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from mlcnn.accelerators import LayerTask, load_accelerator
from mlcnn.accelerators.array import costs_of
from mlcnn.accelerators.comparison import compare
from mlcnn.codesign.exploration import (
    ArrayLayers,
    Candidates,
    Evaluation,
    Here,
    Limit,
    Quantity,
    Question,
    Strategy,
    Unfinished,
    Work,
    design_text,
    load_template,
    only_latency,
)
from mlcnn.errors import InfeasibleError, InputError, UnsupportedError
from mlcnn.journal import Journal
from mlcnn.workload import Arithmetic, ConvLayer, Layer, Pool

HALVE = Pool((2, 2), (2, 2))
NESTS = (
    ConvLayer("a", 1, 16, 8, 14, 14, 3, 3, pool=HALVE),
    ConvLayer("b", 1, 16, 8, 14, 14, 3, 3, pool=HALVE),
    ConvLayer("c", 1, 32, 16, 6, 6, 1, 1),
    ConvLayer("d", 1, 32, 32, 8, 8, 3, 3, pool=Pool((4, 4), (1, 1))),
)
TASKS = tuple(LayerTask(Layer(nest)) for nest in NESTS)
FEW = ("slices=8..16", "entries=32..64", "input_kb=8,32", "weight_kb=16..32")


def layers(template, tasks=TASKS):
    found = load_template(template)
    return ArrayLayers.of(tasks, found.make(found.default), found.technology, template)


def price(network, machine):
    return network.price(machine, seconds=lambda: 1.0)


def explored(template, objectives=(Quantity.EDP,), limits=(), ranges=FEW, **options):
    space, network = load_template(template).space(ranges=ranges), layers(template)
    network = replace(network, fastest=only_latency(objectives, limits))
    candidates = Candidates.of(space, network, limits)
    question = Question(space, objectives, tuple(limits), **options)
    with Journal(None, {}) as journal:
        return Work(question, candidates, journal, Here(network), lambda _: None).explored("net")


@pytest.mark.parametrize(("name", "machine"), [("mlcnn", "mlcnn"), ("dense", "dcnn")])
def test_the_default_is_the_accelerator_itself(name, machine):
    template = load_template(name)
    for precision in ("fp32", "int8"):
        base = load_accelerator(f"{machine}-{precision}")
        values = dict(template.default)
        if precision != "fp32":
            sizes = (
                base.slices, base.accumulator_entries, base.input_bytes / 1024,
                base.weight_bytes / 1024,
            )  # fmt: skip
            values |= {"precision": precision}
            values |= dict(zip(("slices", "entries", "input_kb", "weight_kb"), sizes, strict=True))
        assert replace(template.make(values), name=base.name) == base
        assert template.area_um2(base) == base.area(template.technology)


@pytest.mark.parametrize("name", ["mlcnn", "dense"])
def test_nothing_is_below_the_bounds(name):
    space, network = load_template(name).space(), layers(name)
    generator = np.random.default_rng(0)
    designs = list(space)
    some = [designs[n] for n in generator.choice(len(designs), 25, replace=False)]
    machines = [space.architecture(design) for design in some]
    bounds = network.bounds(machines)
    for number, machine in enumerate(machines):
        found = price(network, machine)
        assert bounds.energy_pj[number] <= found.energy_pj
        assert bounds.latency_cycles[number] <= found.latency_cycles
        quick = price(replace(network, fastest=True), machine)  # 1 % is for fewer bytes
        assert quick.latency_cycles <= 1.01 * bounds.latency_cycles[number] * (1 + 1e-9)
        assert bounds.latency_cycles[number] <= quick.latency_cycles
        assert bounds.energy_pj[number] <= quick.energy_pj
        assert found.edp <= quick.edp
        assert Evaluation.from_json(found.to_json()) == found


@pytest.mark.parametrize("name", ["mlcnn", "dense"])
def test_the_forms_are_the_best_of_all(name):
    template, network = load_template(name), layers(name)
    machine = template.make(template.default)
    found = price(network, machine)
    every = [costs_of(task, machine, template.technology) for task in TASKS]
    least = min(
        sum(one.energy.total for one in chosen) * sum(one.cycles for one in chosen)
        for chosen in itertools.product(*every)
    )
    assert found.edp == pytest.approx(least, rel=1e-12)
    assert found.edp_bound <= found.edp
    fused = "fused" if name == "mlcnn" else "plain"
    assert found.forms == {"a": fused, "b": fused, "c": "plain", "d": fused}
    assert set(found.precisions.values()) == {"fp32"}


@pytest.mark.parametrize("objective", [Quantity.EDP, Quantity.LATENCY, Quantity.ENERGY])
@pytest.mark.parametrize("name", ["mlcnn", "dense"])
def test_a_proof_finds_the_best_of_all_designs(name, objective):
    found = explored(name, (objective,), strategy=Strategy.PROOF)
    space, network = load_template(name).space(ranges=FEW), layers(name)
    network = replace(network, fastest=objective is Quantity.LATENCY)
    best = min(objective.of(price(network, space.architecture(one))) for one in space)
    assert found.ending.proven
    assert objective.of(found.front[0].found) == best
    assert found.scored < len(space) == 48


def test_what_is_too_large_is_not_bounded(monkeypatch):
    space, network = load_template("mlcnn").space(ranges=FEW), layers("mlcnn")
    areas = {one: space.template.area_um2(space.architecture(one)) for one in space}
    middle = sorted(areas.values())[20]
    bounded: list[object] = []
    bounds = ArrayLayers.bounds

    def counted(self, machines):
        bounded.extend(machines)
        return bounds(self, machines)

    monkeypatch.setattr(ArrayLayers, "bounds", counted)
    found = Candidates.of(space, network, [Limit(Quantity.AREA, middle)])
    assert set(found.designs) == {one for one, area in areas.items() if area <= middle}
    assert len(bounded) == len(found)


@pytest.mark.parametrize("objective", [Quantity.LATENCY, Quantity.EDP])
@pytest.mark.parametrize("name", ["mlcnn", "dense"])
def test_a_file_prices_at_the_same_numbers(name, objective, tmp_path):
    found = explored(name, (objective, Quantity.AREA))
    template = load_template(name)
    assert len(found.front) > 1
    for number, one in enumerate(found.front):
        path = tmp_path / f"{number}.yaml"
        path.write_text(design_text(found, one))
        machine = load_accelerator(path)
        rows = compare(TASKS, machine, machine, template.technology, batch=1)
        assert rows.cycles == one.found.latency_cycles
        assert rows.energy.total == pytest.approx(one.found.energy_pj, rel=1e-12)
        assert machine.area(template.technology) == one.found.area_um2
        forms = {row.name: row.cost.execution for row in rows.layers}
        assert forms == one.found.forms
        made = template.make(one.hardware)  # all that builds it, not only what was searched
        assert replace(machine, name=made.name, mapping_pj_per_cycle=None) == made
        known, again = template.read(path)
        assert known == (name, one.hardware)
        assert again == machine


def test_no_time():
    network = layers("mlcnn")
    with pytest.raises(Unfinished):
        network.price(load_accelerator("mlcnn-fp32"), seconds=lambda: 0.0)


def test_layers_that_no_size_can_run():
    compared = replace(TASKS[0], layer=replace(TASKS[0].layer, arithmetic=Arithmetic.COMPARE))
    with pytest.raises(UnsupportedError) as error:
        layers("dense", [compared])
    assert str(error.value) == (
        "template dense cannot run layer a on any size: it has inputs that are compared with each "
        "other, and an array multiplies dense weights; mlcnn evaluate runs it on a machine that "
        "takes it"
    )


def test_a_layer_that_fits_on_no_design():
    space = load_template("dense").space(ranges=("precision=fp32", "slices=8", "entries=32"))
    wide = LayerTask(Layer(ConvLayer("wide", 1, 4, 4, 96, 96, 96, 96)))
    network = layers("dense", [wide])
    with pytest.raises(InfeasibleError) as error:
        Candidates.of(space, network, [])
    # Eight words of 4 bytes at each of 96 x 96 inputs of one output, twice.
    assert str(error.value) == (
        "none of 36 designs of template dense can run the network, the largest neither: "
        "accelerator dense-fp32-8-32-256-256 cannot run wide (96x96, 4 to 4 channels, 96x96, "
        "plain): its smallest tile takes 589824 bytes of the memory of inputs and there are "
        "262144; make it 589824 or more (input_buffer bytes)"
    )


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        (
            ["precision=int7"],
            (
                "--range precision=int7: unknown precision 'int7'; did you mean 'int8'?; known: "
                "fp32, "
                "fp16, int8"
            ),
        ),
        (
            ["precision=fp32", "precision=int8"],
            "--range precision=int8: unknown precision 'int8'; known: fp32",
        ),
        (["slices=64..8"], "--range slices=64..8: an empty range; give the lower end first"),
        (
            ["lanes=8"],
            (
                "--range lanes=8: a parameter of template mlcnn and its values are required, as "
                "precision=8..64; did you mean 'slices'?; its parameters: precision, slices, "
                "entries, "
                "input_kb, weight_kb"
            ),
        ),
    ],
)
def test_ranges_that_leave_nothing(ranges, message):
    with pytest.raises(InputError) as error:
        load_template("mlcnn").space(ranges=ranges)
    assert str(error.value) == message


FILE = """accelerators: {fp32: mlcnn-fp32, int8: mlcnn-int8}
spaces:
  few:
    slices: {from: 8, to: 16, times: 2}
default: {precision: fp32, slices: 16}
sizes: {slices: slices}
"""


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(FILE)
    space = load_template(path).space()
    found = [space.architecture(one) for one in space]
    assert [(one.precision, one.slices) for one in found] == [
        ("fp32", 8), ("fp32", 16), ("int8", 8), ("int8", 16),
    ]  # fmt: skip
    assert [one.input_adders for one in found] == [32, 32, 128, 128]  # as they have it


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "from: 8, to: 16",
            "from: 16, to: 8",
            "template {path}:4: from 16 to 8 is an empty range; from must not be above to",
        ),
        (
            "precision: fp32",
            "precision: int9",
            (
                "template {path}:5: precision is 'int9'; did you mean 'int8'?; the file has "
                "accelerators for fp32, int8"
            ),
        ),
        (
            "int8: mlcnn-int8",
            "fp16: mlcnn-int8",
            (
                "template {path}:1: accelerator mlcnn-int8 has the precision int8, not fp16: "
                "name each "
                "by its own"
            ),
        ),
        (
            "int8: mlcnn-int8",
            "int8: dcnn-int8",
            (
                "template {path}:1: accelerator dcnn-int8 is dense at 1000 MHz and mlcnn-fp32 is "
                "mlcnn "
                "at 1000 MHz: all of one template must have the same kind and clock"
            ),
        ),
        (
            "fp32: mlcnn-fp32, int8: mlcnn-int8",
            "int8: dcnn-int8-packed",
            (
                "template {path}:1: accelerator dcnn-int8-packed has narrow: packed, and designs "
                "are "
                "bounded without it; give one with narrow: none"
            ),
        ),
        (
            "{slices: slices}",
            "{slice: slices}",
            "template {path}:6: unknown key 'sizes.slice'; did you mean 'slices'?",
        ),
        (
            "{slices: slices}",
            "{slices: slices - 20}",
            (
                "template mine with precision=fp32, slices=16: slices, slices - 20, is -4; it "
                "must be "
                "1 or more"
            ),
        ),
    ],
)
def test_files_that_are_wrong(tmp_path, old, new, message):
    path = tmp_path / "mine.yaml"
    path.write_text(FILE.replace(old, new))
    with pytest.raises(InputError) as error:
        load_template(path)
    assert str(error.value) == message.format(path=path)
