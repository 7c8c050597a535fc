"""A machine from outside the package goes through everything that shows a result."""

import io
import json
import re
from dataclasses import replace

import pytest
from rich.console import Console

import mlcnn
from mlcnn.accelerators import LayerTask, compare, evaluate_layer, load_accelerator
from mlcnn.cli import main
from mlcnn.errors import InfeasibleError
from mlcnn.report import evaluation_tables, render, terminal
from mlcnn.workload import Arithmetic, ConvLayer, Layer, Weights

# LeNet-5 at one image: (positions, weights of one filter, filters) of each layer as the network
# has them, and the crossbars of 128 x 64 that they fill, by hand.
LENET = {
    "conv1": (28 * 28, 75, 6, 1),
    "conv2": (10 * 10, 150, 16, 2),
    "fc1": (1, 400, 120, 8),
    "fc2": (1, 120, 84, 2),
    "fc3": (1, 84, 10, 1),
}


def _by_hand(images):
    return {name: images * positions for name, (positions, *_) in LENET.items()}


@pytest.fixture
def found(crossbars):
    return mlcnn.evaluate("lenet5", on=crossbars, against="dcnn-fp32", batch=4)


def _text(renderable, width=200):
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    return console.file.getvalue()


def test_every_layer_costs_what_the_machine_says(found):
    assert {row.name: row.cost.cycles for row in found.layers} == _by_hand(4)
    dense = mlcnn.evaluate("lenet5", on="dcnn-fp32", against="dcnn-fp32", batch=4)
    for row, other in zip(found.layers, dense.layers, strict=True):
        assert row.against == other.cost
        # 250 MHz against 1 GHz.
        assert row.speedup == row.against.cycles / row.cost.cycles / 4


def test_the_document_holds_its_mapping_and_no_tiling(found):
    document = json.loads(json.dumps(found.to_json()))
    assert document["accelerator"] == "bars"
    assert document["area_um2"] == 4000
    assert [row["execution"] for row in document["layers"]] == ["in memory"] * 5
    assert [row["crossbars"] for row in document["layers"]] == [row[3] for row in LENET.values()]
    assert not any("tiling" in row for row in document["layers"])
    assert document["network"]["cycles"] == sum(_by_hand(4).values())
    assert document["network"]["latency_s"] == sum(_by_hand(4).values()) / 250e6
    # It names no precision: there is no machine of the same one.
    assert document["equal_precision"] is None


def test_an_array_against_it_shows_its_own_tiling(crossbars):
    found = mlcnn.evaluate("lenet5", on="mlcnn-int8", against=crossbars, batch=4)
    document = found.to_json()
    assert all("tiling" in row and "crossbars" not in row for row in document["layers"])
    # The dense array of the precision asked about stands in.
    assert document["equal_precision"]["against"] == "dcnn-int8"
    assert {row.name: row.against.cycles for row in found.layers} == _by_hand(4)


def test_the_terminal_shows_it(found):
    text = _text(evaluation_tables(found, "lenet5"))
    assert "lenet5 on bars against dcnn-fp32, 4 images" in text
    assert "in memory + pool" in text  # the machine does not pool on its own: what is behind does
    assert text.count("converters") == 5
    assert re.search(r"bars +0\.004\d* +250", text)


@pytest.fixture
def summary(crossbars, tmp_path):
    options = mlcnn.EvaluateOptions(on=(str(crossbars), "mlcnn-fp32"), batch=4)
    return mlcnn.run(
        "lenet5", directory=tmp_path / "run", measuring=None, evaluating=options
    ).summary


def test_the_report_shows_it_beside_an_array(summary):
    assert [one.accelerator.name for one in summary.evaluations] == ["bars", "mlcnn-fp32"]
    page = render(summary)
    plain = re.sub(r"<[^>]+>", " ", page)
    assert "in memory + pool" in plain
    assert "converters" in plain
    assert "bars" in _text(terminal(summary))


def test_one_that_is_too_small_is_a_note_and_no_failure(crossbars, tmp_path):
    crossbars.write_text(crossbars.read_text().replace("crossbars: 40", "crossbars: 4"))
    options = mlcnn.EvaluateOptions(on=(str(crossbars), "mlcnn-fp32"), batch=4)
    result = mlcnn.run("lenet5", directory=tmp_path / "run", measuring=None, evaluating=options)
    (only,) = result.summary.evaluations
    assert only.accelerator.name == "mlcnn-fp32"
    assert any(
        "not evaluated on bars: bars cannot run fc1: its weights fill 8 crossbars and there are 4"
        in note
        for note in result.summary.warnings
    )


def test_the_command_line_takes_it_and_says_what_does_not_fit(crossbars, capsys):
    assert main(["evaluate", "lenet5", "--on", str(crossbars), "--batch", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accelerator"] == "bars"
    crossbars.write_text(crossbars.read_text().replace("crossbars: 40", "crossbars: 4"))
    assert main(["evaluate", "lenet5", "--on", str(crossbars)]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "its weights fill 8 crossbars and there are 4; raise crossbars" in told


def _named(name, tmp_path):
    path = tmp_path / f"{name}.yaml"
    path.write_text(f"type: {name}\nname: {name}\n")
    return load_accelerator(path)


@pytest.fixture
def pair(dense, technology):
    return dense, technology


NEST = ConvLayer("conv", N=2, K=16, C=32, H=10, W=10, R=3, S=3)


@pytest.mark.usefixtures("crossbars")
def test_layers_of_other_methods_find_their_machine(tmp_path, pair):
    """The machine that knows them runs them whole; an array runs what stands for them."""
    part = replace(NEST, name="conv.0", C=8)
    dense, technology = pair
    weights = Weights("circulant", (("block", 8.0),))
    rewritten = Layer(NEST, form="own", parts=(part,), weights=weights)
    machine = _named("transforms", tmp_path)
    assert machine.takes(Layer(NEST)) is not None
    found = compare([LayerTask(rewritten)], machine, dense, technology, batch=2)
    (row,) = found.layers
    # 2 images, 8 x 8 outputs, 16 filters, 288 products each, in blocks of 8.
    assert (row.cost.cycles, row.cost.execution) == (73728, "transformed")
    alone = dense.cost(LayerTask(Layer(part)), technology)
    assert (row.against.name, row.against.cycles) == ("conv", alone.cycles)
    assert row.to_json()["execution"] == "transformed"
    assert "transformed" in _text(evaluation_tables(found, "net"))


@pytest.mark.usefixtures("crossbars")
def test_a_layer_that_compares_never_runs_as_its_parts(tmp_path, pair):
    """Without its comparisons it would be another layer."""
    dense, technology = pair
    layer = Layer(NEST, parts=(replace(NEST, C=8),), arithmetic=Arithmetic.COMPARE)
    machine = _named("comparators", tmp_path)
    cost = evaluate_layer(LayerTask(layer), machine, technology)
    # Pairs by 64.
    assert (cost.cycles, cost.execution) == (9216, "compared")
    with pytest.raises(InfeasibleError, match="inputs that are compared with each other"):
        evaluate_layer(LayerTask(layer), dense, technology)
