"""Layers take a structure where one of its forms is faster than they are; others stay."""

from collections.abc import Callable, Mapping

import onnx_ir as ir
import pytest
from passes.builder import Net

from mlcnn import engines
from mlcnn.engines import Timing
from mlcnn.errors import InputError
from mlcnn.graph import to_proto
from mlcnn.passes import KEEP, Choice, pipeline
from mlcnn.workload import ConvLayer, read

CHANNELS = 64
BLOCKS = "block-circulant{block=8},choose"
STAYS = (
    "stays as it is, since it would not gain: the fastest form, spectral, runs at 0.50x the speed "
    "of the dense layer (0.50 to 0.50) in onnxruntime at batch 1"
)


@pytest.fixture
def network() -> ir.Model:
    """A narrow and a wide layer between two ends."""
    net = Net("n", 3, 8, 8)
    first = net.op("Relu", net.conv(net.x, 16, channels=3, name="first"))
    narrow = net.op("Relu", net.conv(first, 16, channels=16, name="narrow"))
    middle = net.op("Relu", net.conv(narrow, CHANNELS, channels=16, name="middle"))
    wide = net.op("Relu", net.conv(middle, CHANNELS, channels=CHANNELS, name="wide"))
    return net.model(net.conv(wide, 5, channels=CHANNELS, name="last"))


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """A machine on which blocks help layers of as many channels in as out that are wide."""
    rounds: list[tuple[str, ...]] = []
    sizes: list[ConvLayer] = []
    runner = engines.MeasuredChooser._runner

    def noted(self: engines.MeasuredChooser, layer: ConvLayer, site: ir.Model) -> Callable:
        sizes.append(layer)
        return runner(self, layer, site)

    def interleave(callables: Mapping[str, Callable], **_options: object) -> dict[str, Timing]:
        rounds.append(tuple(callables))
        spectral = 0.5 if sizes[-1].C == CHANNELS else 2.0
        times = {KEEP: 1.0}
        return {name: Timing((times.get(name, spectral),) * 9) for name in callables}

    monkeypatch.setattr(engines.MeasuredChooser, "_runner", noted)
    monkeypatch.setattr("mlcnn.engines.choose.interleave", interleave)
    return rounds


def run(model: ir.Model, passes: str) -> pipeline.PipelineResult:
    parsed = pipeline.configure(pipeline.parse(passes), chooser=engines.MeasuredChooser())
    return pipeline.run(model, parsed, verify=True)


def structures(model: ir.Model) -> dict[str, str]:
    return {layer.nest.name: str(layer.weights) for layer in read(model).layers}


@pytest.mark.usefixtures("timed")
def test_what_would_not_gain_stays_dense(network: ir.Model) -> None:
    result = run(network, BLOCKS)
    assert [(c.pass_name, c.nodes, c.form) for c in result.changes] == [
        ("block-circulant", ("wide",), None), ("choose", ("wide",), "spectral"),
    ]  # fmt: skip
    reasons = {item.node: item.reason for item in result.skipped}
    assert reasons["narrow"] == reasons["middle"] == STAYS
    assert result.changes[1].reason == (
        "measured 2.00x the speed of the dense layer (2.00 to 2.00) in onnxruntime at batch 1"
    )
    found = structures(result.model)
    assert found.pop("wide") == "block-circulant(block=8)"
    assert set(found.values()) == {"dense"}


def test_a_layer_is_measured_once_for_both_passes(
    network: ir.Model, timed: list[tuple[str, ...]]
) -> None:
    """Two measurements might contradict each other: blocks, and no form that is any faster."""
    run(network, BLOCKS)
    # Two layers in one round, which is enough to see that they lose, and one in two.
    assert timed == [(KEEP, "spectral")] * 4


@pytest.mark.usefixtures("timed")
def test_it_replays_without_measuring(network: ir.Model) -> None:
    result = run(network, BLOCKS)
    assert result.text == (
        "block-circulant{layers=all,exclude=narrow+middle},choose{forms=wide=spectral}"
    )
    again = pipeline.run(network, pipeline.parse(result.text))
    assert to_proto(again.model) == to_proto(result.model)


@pytest.mark.usefixtures("timed")
def test_what_was_settled_leaves_forms_open(network: ir.Model) -> None:
    result = run(network, BLOCKS)
    assert result.settled == "block-circulant{layers=all,exclude=narrow+middle},choose"
    assert run(network, result.settled).text == result.text


@pytest.mark.usefixtures("timed")
@pytest.mark.parametrize("order", ["given", "searched"])
def test_a_searched_order_replays(network: ir.Model, order: str) -> None:
    """The order is searched over those layers that take part."""
    result = run(network, f"block-circulant{{block=8,order={order}}},choose")
    again = pipeline.run(network, pipeline.parse(result.text))
    assert to_proto(again.model) == to_proto(result.model)


@pytest.mark.parametrize("passes", [
    "block-circulant{block=8}",
    "block-circulant{block=8,layers=all},choose",
    "block-circulant{block=8},choose{form=spectral}",
    "block-circulant{block=8},choose{forms=wide=spectral}",
])  # fmt: skip
def test_all_layers_take_it(network: ir.Model, timed: list, passes: str) -> None:
    """Where no form is picked behind it, where the user has picked one, and where asked."""
    result = run(network, passes)
    taken = [c.nodes[0] for c in result.changes if c.pass_name == "block-circulant"]
    assert taken == ["narrow", "middle", "wide"]
    assert "layers=faster" not in result.text


@pytest.mark.usefixtures("timed")
def test_faster_without_a_form_behind_it(network: ir.Model) -> None:
    """As `finetune` asks for it, which picks the forms after the training."""
    result = run(network, "block-circulant{block=8,layers=faster}")
    assert [change.nodes for change in result.changes] == [("wide",)]


@pytest.mark.usefixtures("timed")
def test_excluded_layers_are_not_measured_and_stay_so(network: ir.Model, timed: list) -> None:
    parsed = pipeline.configure(
        pipeline.parse(BLOCKS), chooser=engines.MeasuredChooser(), exclude=("wide", "middle")
    )
    result = pipeline.run(network, parsed)
    assert result.changes == ()
    assert len(timed) == 1
    reasons = {item.node: item.reason for item in result.skipped}
    assert reasons["wide"] == "excluded by --exclude wide"
    assert reasons["narrow"] == STAYS
    assert result.text == (
        "block-circulant{layers=all,exclude=wide+middle+narrow},choose{exclude=wide+middle}"
    )


@pytest.mark.usefixtures("timed")
def test_exclusions_of_the_user_add_to_those_written_down(network: ir.Model) -> None:
    text = run(network, BLOCKS).settled
    (first, _) = pipeline.configure(pipeline.parse(text), exclude=("wide",))
    assert first.exclude == ("narrow", "middle", "wide")


def test_the_dense_layer_is_what_a_chooser_is_given(network: ir.Model) -> None:
    """Not the operator with its weights gathered, which some engines do at every run."""
    kept: list[set[str]] = []

    class Noting:
        def choose(self, layer: ConvLayer | None, candidates: Mapping[str, Callable]) -> Choice:
            del layer
            kept.append({node.op_type for node in candidates[KEEP]().graph})
            return Choice(KEEP, "the test wants it")

    parsed = pipeline.configure(pipeline.parse(BLOCKS), chooser=Noting())
    result = pipeline.run(network, parsed)
    assert kept == [{"Conv", "Relu"}] * 3
    assert result.changes == ()
    assert set(structures(result.model).values()) == {"dense"}


def test_an_estimate_decides_where_nothing_is_measured(network: ir.Model) -> None:
    result = pipeline.run(network, pipeline.parse(BLOCKS))
    taken = {c.nodes[0]: c.form for c in result.changes if c.pass_name == "choose"}
    left = [s.node for s in result.skipped if s.reason.startswith("stays as it is")]
    assert set(taken) | set(left) == {"narrow", "middle", "wide"}
    assert set(taken.values()) <= {"spectral"}
    assert not set(taken) & set(left)


def test_unknown_layers_are_refused() -> None:
    with pytest.raises(InputError, match=r"bad value 'fast' for layers: one of auto, all, faster"):
        pipeline.parse("block-circulant{layers=fast}")
