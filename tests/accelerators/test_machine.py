"""One layer on any machine: whole where the machine knows it, else its parts."""

from dataclasses import dataclass, field, replace

import pytest

from mlcnn.accelerators import (
    Energy,
    Infeasible,
    LayerCost,
    LayerTask,
    Machine,
    Traffic,
    evaluate_layer,
    load_accelerator,
    precision_of,
)
from mlcnn.errors import InfeasibleError
from mlcnn.workload import ConvLayer, Layer, Pool, Weights

NEST = ConvLayer("conv", N=1, K=4, C=8, H=6, W=6, R=3, S=3)
PARTS = (replace(NEST, name="conv.0", C=4), replace(NEST, name="conv.1", C=2))


@dataclass
class Recorder:
    """A machine that notes what it is asked; a product takes a cycle."""

    refusals: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)
    name: str = "recorder"
    clock_mhz: float = 1.0

    def takes(self, layer):
        self.asked.append(layer.name)
        return self.refusals.get(layer.name)

    def cost(self, task, technology):
        macs = task.nest.macs
        moved, spent = Traffic(dram_weight=task.nest.weights), Energy(mac=macs)
        return LayerCost(task.layer.name, "noted", macs, "it", 1.0, macs, 0, moved, spent)

    def area(self, technology):
        return 1.0


def _refusal(reason, *, unknown):
    return Infeasible(reason, 3, 1, "things", ("things",), unknown)


def test_a_layer_that_is_taken_is_run_whole(technology):
    machine = Recorder()
    cost = evaluate_layer(LayerTask(Layer(NEST, parts=PARTS)), machine, technology)
    assert (cost.name, cost.cycles) == ("conv", NEST.macs)
    assert machine.asked == ["conv"]


def test_one_that_the_machine_does_not_know_is_run_by_its_parts(technology):
    machine = Recorder({"conv": _refusal("it is round", unknown=True)})
    layer = Layer(NEST, form="own", parts=PARTS, weights=Weights("round"))
    cost = evaluate_layer(LayerTask(layer), machine, technology)
    assert machine.asked == ["conv", "conv.0", "conv.1"]
    assert cost.name == "conv"
    assert cost.cycles == cost.multiplications == sum(part.macs for part in PARTS)
    assert cost.traffic.dram == sum(part.weights for part in PARTS)
    assert list(cost.mapping["parts"]) == ["conv.0", "conv.1"]


def test_one_that_is_too_large_is_refused_and_its_parts_are_not_asked(technology):
    machine = Recorder({"conv": _refusal("it is too large", unknown=False)})
    with pytest.raises(InfeasibleError, match=r"^it is too large$"):
        evaluate_layer(LayerTask(Layer(NEST, parts=PARTS)), machine, technology)
    assert machine.asked == ["conv"]


@pytest.mark.parametrize("parts", [(), (NEST,)])
def test_a_layer_without_parts_of_its_own_is_refused(parts, technology):
    machine = Recorder({"conv": _refusal("it is round", unknown=True)})
    with pytest.raises(InfeasibleError, match=r"^it is round$"):
        evaluate_layer(LayerTask(Layer(NEST, parts=parts)), machine, technology)


def test_a_part_that_does_not_fit_says_so_beside_the_layer(technology):
    machine = Recorder(
        {
            "conv": _refusal("conv is round", unknown=True),
            "conv.1": _refusal("conv.1 is too large", unknown=False),
        }
    )
    with pytest.raises(InfeasibleError) as caught:
        evaluate_layer(LayerTask(Layer(NEST, parts=PARTS)), machine, technology)
    assert str(caught.value) == (
        "conv is round; nor does it take the parts of it: conv.1 is too large"
    )


def test_parts_keep_what_is_known_of_their_input(technology):
    """Scaled inputs are scaled for the parts too: a slower array shows it."""
    array = replace(load_accelerator("mlcnn-fp32"), input_scalers=1)
    layer = Layer(NEST, form="own", parts=PARTS, weights=Weights("round"))
    usual, scaled = (
        evaluate_layer(LayerTask(layer, scaled=flag), array, technology) for flag in (False, True)
    )
    assert scaled.cycles > usual.cycles


@pytest.mark.parametrize(
    ("demand", "bound", "gap"), [(8.0, 3.0, 5.0), (3.0, 8.0, 0.0), (4, 4, 0.0)]
)
def test_what_is_missing(demand, bound, gap):
    assert Infeasible("why", demand, bound, "bytes").gap == gap
    assert str(Infeasible("why", demand, bound, "bytes")) == "why"


def test_a_machine_is_whatever_answers(dense):
    assert isinstance(dense, Machine)
    assert isinstance(Recorder(), Machine)
    assert not isinstance(NEST, Machine)
    assert precision_of(dense).bits == 32
    assert precision_of(Recorder()) is None


def test_an_array_runs_the_pool_of_a_layer_whole(mlcnn, technology):
    """The parts of a fused form are what an engine runs; the array has box sums of its own."""
    pooled = replace(NEST, pool=Pool((2, 2), (2, 2)))
    layer = Layer(pooled, form="box", parts=PARTS)
    cost = evaluate_layer(LayerTask(layer), mlcnn, technology)
    assert cost == mlcnn.cost(LayerTask(Layer(pooled)), technology)
    assert cost.execution == "fused"
