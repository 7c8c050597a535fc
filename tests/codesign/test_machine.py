"""Architectures as machines: beside the others, by the same road."""

import math
from dataclasses import replace

import pytest

from mlcnn.accelerators import (
    LayerTask,
    Machine,
    Precision,
    compare,
    evaluate_layer,
    load_accelerator,
    load_technology,
    precision_of,
)
from mlcnn.codesign import (
    Architecture,
    FanOut,
    Level,
    LoopNestMachine,
    Operand,
    Search,
    load_architecture,
    machine,
)
from mlcnn.codesign.finding import find
from mlcnn.codesign.gemmini import GemminiSize, gemmini
from mlcnn.errors import InfeasibleError, InputError
from mlcnn.workload import Arithmetic, ConvLayer, Layer, Pool, Weights

_TECHNOLOGY = load_technology("horowitz-45nm+cacti-45nm-lop+hbm2")
_LAYER = ConvLayer("conv", 1, 4, 2, 4, 4, 1, 1)
_FUSED = ConvLayer("fused", 1, 4, 2, 6, 6, 3, 3, pool=Pool((2, 2), (2, 2)))


def _task(nest, **fields):
    return LayerTask(Layer(nest, parts=(nest,), **fields))


def _machine(architecture=None):
    return LoopNestMachine(architecture or load_architecture("gemmini"), Search(budget_s=0.5))


def _flat():
    """One level and four units: every count is known by hand."""
    level = Level("memory", tuple(Operand), 8, fan_out=FanOut(4, ("K",)), shared_bandwidth=1e6)
    return Architecture("flat", (level,), 0.5)


def test_it_is_a_machine_by_name():
    found = load_accelerator("gemmini")
    assert isinstance(found, Machine)
    assert isinstance(found, LoopNestMachine)
    assert found.architecture == load_architecture("gemmini")
    assert (found.name, found.clock_mhz, precision_of(found)) == ("gemmini", 1000, Precision.INT8)
    assert found.takes(Layer(_LAYER, parts=(_LAYER,))) is None


def test_a_layers_cost_by_hand():
    cost = evaluate_layer(_task(_LAYER), _machine(_flat()), _TECHNOLOGY)
    # 128 products on 4 units that share an input.
    assert (cost.cycles, cost.utilisation, cost.bound) == (32, 1, "arithmetic")
    assert (cost.multiplications, cost.additions) == (128, 64)
    assert cost.energy.mac == 64
    assert cost.energy.static == 0
    # Weights come anew for each product, inputs once for four of them; sums are read and written.
    assert (cost.traffic.dram_weight, cost.traffic.dram_input) == (128, 32)
    assert cost.traffic.dram_output == 128 + 64
    assert cost.traffic.buffer_weight == 0
    assert cost.mapping["mapping"].startswith("memory[WIO]")
    assert cost.mapping["gap"] >= 0


def test_parts_are_the_mappings_own():
    cost = evaluate_layer(_task(_LAYER), _machine(), _TECHNOLOGY)
    found = _machine()._found(machine.loop_nest(_LAYER))
    assert cost.energy.total == pytest.approx(found.energy_pj, rel=1e-12)
    assert cost.energy.mac == 128 * 0.5608
    assert cost.energy.dram == pytest.approx(100 * (64 + 64 + 64))


def test_a_pool_is_fused_where_that_is_better():
    cost = evaluate_layer(_task(_FUSED), _machine(_flat()), _TECHNOLOGY)
    # 4 x 4 x 9 products for each pair of channels against 2 x 2 x 16.
    assert (cost.execution, cost.fused) == ("expanded", True)
    assert cost.multiplications == 4 * 2 * 4 * 16
    assert cost.additions == cost.multiplications - 4 * 4
    partial = replace(_FUSED, H=7, W=7, pool=Pool((2, 2), (2, 2), ceil_mode=True))
    cost = evaluate_layer(_task(partial), _machine(_flat()), _TECHNOLOGY)
    assert (cost.execution, cost.fused) == ("plain", False)
    assert cost.multiplications == partial.macs
    assert cost.additions == partial.operations.additions


def test_a_layer_is_looked_for_once(monkeypatch):
    asked = []

    def counted(nest, *rest):
        asked.append(nest.name)
        return find(nest, *rest)

    monkeypatch.setattr(machine, "find", counted)
    one = _machine(_flat())
    first, second = (evaluate_layer(_task(replace(_LAYER, name=name)), one, _TECHNOLOGY)
                     for name in ("a", "b"))  # fmt: skip
    assert len(asked) == 1
    assert (first.name, second.name) == ("a", "b")
    assert first.energy == second.energy


def test_layers_that_are_no_products_are_refused():
    circulant = Layer(_LAYER, weights=Weights("block-circulant", (("block", 2),)))
    with pytest.raises(InfeasibleError) as told:
        _machine().cost(LayerTask(circulant), _TECHNOLOGY)
    assert str(told.value) == (
        "accelerator gemmini cannot run conv as what it is, a layer with block-circulant(block=2) "
        "weights: it runs loop nests of multiply-accumulates with dense weights; use a machine "
        "that takes it"
    )
    compared = Layer(_LAYER, arithmetic=Arithmetic.COMPARE)
    refused = _machine().takes(compared)
    assert refused is not None
    assert not refused.unknown


def test_what_cannot_be_held_is_told():
    small = Architecture("small", (Level("memory", tuple(Operand), 8, 50),), 0.5)
    refused = _machine(small).takes(Layer(_LAYER, parts=(_LAYER,)))
    assert str(refused) == (
        "accelerator small cannot run conv: conv on small: no mapping fits, since the outermost "
        "level holds every operand whole: level memory has 50 words, and weight 8 + input 32 + "
        "output 64 = 104 are needed; give memory a capacity of 104"
    )


def test_an_area_that_is_not_known_is_no_number():
    assert math.isnan(_machine(_flat()).area(_TECHNOLOGY))
    known = replace(_flat(), area=12.5)
    assert _machine(known).area(_TECHNOLOGY) == 12.5


def test_the_area_of_a_gemmini_is_its_law():
    # By the table: 256 units, 32 kB of accumulators, 128 kB of scratchpad.
    mm2 = 256 * 4.34223226e-4 + 32768 * 5.547277e-6 + 131072 * 2.61332274e-6
    assert load_accelerator("gemmini").area(_TECHNOLOGY) == pytest.approx(mm2 * 1e6)
    larger = gemmini(GemminiSize(32, 512, 131072)).area_um2
    more = 3 * 256 * 4.34223226e-4 + 32768 * 5.547277e-6
    assert larger == pytest.approx((mm2 + more) * 1e6)


def test_a_result_says_how_it_was_mapped():
    one = _machine(_flat())
    found = compare([_task(_LAYER)], one, load_accelerator("dcnn-int8"), _TECHNOLOGY, batch=1)
    (note,) = found.notes
    assert note == (
        "flat: energy by the constants of its own file, not by these tables, and no leakage; each "
        "layer by the best mapping found in 0.5 s at most (edp, perfect factors, counted as exact)"
    )
    document = found.to_json()
    assert document["notes"] == [note]
    assert math.isnan(document["area_um2"])
    assert document["layers"][0]["mapping"].startswith("memory[WIO]")


_FILE = """\
type: loop-nest
name: mine
mac_energy_pj: 1
levels:
  dram: {keeps: [weight, input, output], word_bits: 16, energy: {pj: 100}}
"""


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_file_of_the_type_is_read(file):
    path = file(_FILE + "clock_mhz: 500\nmapping_budget_s: 2.5\narea_um2: 1e6\n")
    found = load_accelerator(path)
    assert isinstance(found, LoopNestMachine)
    assert (found.name, found.clock_mhz, found.search.budget_s) == ("mine", 500, 2.5)
    assert found.area(_TECHNOLOGY) == 1e6
    assert precision_of(found) is None
    assert load_architecture(path) == found.architecture
    assert load_accelerator(file(_FILE)).clock_mhz == 1000


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("clock_mhz: 0\n", ":6: clock_mhz is 0: input should be greater than 0"),
        ("clok_mhz: 1\n", ":6: unknown key 'clok_mhz'; did you mean 'clock_mhz'?"),
        (
            "area_um2: gemini-40nm\n",
            (
                ":6: area_um2 is 'gemini-40nm', and there is no law of this name; did you mean "
                "'gemmini-40nm'?; give a number, or one of gemmini-40nm"
            ),
        ),
        (
            "area_um2: gemmini-40nm\n",
            (
                ":6: the law of area gemmini-40nm is of machines with the levels accumulator, "
                "scratchpad, and there is no accumulator, scratchpad; give a number, or leave the "
                "key away"
            ),
        ),
    ],
)
def test_wrong_files_are_told(file, line, message):
    path = file(_FILE + line)
    with pytest.raises(InputError) as told:
        load_accelerator(path)
    assert str(told.value) == f"accelerator {path}{message}"
