"""What benchmarks write: pages from the figures kept, rows one by one, targets, useful products."""

import importlib
import json
import os
import pkgutil
import re
from argparse import Namespace
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch
from exact_sums import needs_vnni
from hypothesis import given
from hypothesis import strategies as st

import benchmarks
from benchmarks import choice, recovery, structured, structured_accuracy, training_layers
from benchmarks.choice import _nothing_known, time_layers
from benchmarks.engines import useful_products
from benchmarks.interleaved import prepare
from benchmarks.quantised import _agreement, time_files, write_files
from benchmarks.results import KEPT, Rows, read_rows
from benchmarks.speed import found
from benchmarks.structured import DENSE, LayerCase, layer_rows
from benchmarks.tables import PAGES, rewritten
from benchmarks.targets import TARGETS, Figure, Found
from mlcnn import zoo
from mlcnn.engines.native.library import load
from mlcnn.engines.processor import processor
from mlcnn.graph import load_file
from mlcnn.reproduce.study.records import packed
from mlcnn.workload import ConvLayer

_REGIONS = re.compile(r"<!-- measured: (\w+) -->\n(.*?)<!-- end -->", re.DOTALL)

OUTSIDE = frozenset({"__main__", "binary_layers_larq", "mapping_accelforge"})
"""What runs when it is imported, and what runs in another environment."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_are_what_the_figures_kept_say(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert rewritten(text) == text, "run `python -m benchmarks.tables`"
    regions = _REGIONS.findall(text)
    assert regions
    for name, inside in regions:
        assert "| --- |" in inside, name


def test_every_table_names_its_processor_compiler_and_peak(tmp_path: Path) -> None:
    (source, *_) = KEPT.glob("*/engines.json")
    document = json.loads(source.read_text(encoding="utf-8"))
    for folder, name in (("one", "First CPU"), ("two", "Second CPU")):
        for told in document["conditions"]:
            told["processor"] |= {"name": name, "instructions": "NEON"}
        path = tmp_path / folder / "engines.json"
        path.parent.mkdir()
        path.write_text(json.dumps(document), encoding="utf-8")
    made = rewritten("a\n<!-- measured: engines -->\nold\n<!-- end -->\nb\n", tmp_path)
    assert "old" not in made
    assert made.startswith("a\n")
    assert made.endswith("<!-- end -->\nb\n")
    for name in ("First CPU", "Second CPU"):
        (line,) = [line for line in made.splitlines() if line.startswith(name)]
        assert "NEON" in line
        assert "GF/s" in line
        assert document["conditions"][0]["compiler"] in line


def test_structured_weights_are_held_against_dense_and_narrower_ones() -> None:
    """Row by row: in blocks against the dense one, and against the one of as many numbers."""
    told = {"seed": 0, "images": 100, "parameters": 1000, "recipe": {"epochs": 4}}
    accuracies = {
        ("small_vgg", 1): 80,
        ("small_vgg", 4): 70,
        (structured_accuracy.CASES[4].name, 1): 65,
        ("lenet5", 4): 90,
    }
    rows = [
        {**told, "network": network, "block": block, "top1": right / 100,
         "right": packed(np.arange(100) < right)}
        for (network, block), right in accuracies.items()
    ]  # fmt: skip
    del rows[3]["right"]
    dense, blocks, narrow, unknown = structured_accuracy.summary(rows)
    assert dense[4:6] == ["", ""]
    assert blocks[4].startswith("-10.00 (-")
    assert blocks[5].startswith("5.00 (")
    assert narrow[4].startswith("-15.00 (-")
    assert narrow[5] == ""
    assert unknown[3].startswith("90.00 (")
    assert unknown[4:6] == ["", ""]


def test_recovery_tells_each_step_and_leaves_what_there_is_none_of() -> None:
    """A network without norms has no statistics to re-estimate."""
    steps = {"original": 0.9, "rewritten": 0.1, "fine-tuned": 0.88}
    accuracy = [
        {"variant": name, "top1": top1,
         "difference": {"top1": top1 - 0.9, "interval": [top1 - 0.91, top1 - 0.89]}}
        for name, top1 in steps.items()
    ]  # fmt: skip
    row = {"network": "n", "accuracy": accuracy, "scratch": None, "speed": {"native": 1.3}}
    (line,) = recovery.summary([row])
    told = dict(zip(recovery.COLUMNS, line, strict=True))
    assert [told[name] for name in steps] == ["90.00", "10.00", "88.00"]
    assert told["statistics re-estimated"] == ""
    assert told["to the original, points (95 %)"] == "-2.00 (-3.00 to -1.00)"
    assert told["from scratch in the new order"] == ""
    assert (told["native"], told["openvino"]) == ("1.30", "")


def test_an_unknown_table_is_refused() -> None:
    with pytest.raises(KeyError, match="speeds"):
        rewritten("<!-- measured: speeds -->\n<!-- end -->")


def test_a_figure_is_the_median_and_held_against_its_target() -> None:
    ratios = [1.6, 1.4, 1.5]
    figure = Found(Figure.FP32, "vgg16", 1, ratios)
    assert figure.cells() == ["1.50", "1.40 to 1.60", "1.55", "missed"]
    loss = Found(Figure.CHOICE_MEASURED, "alexnet", 8, [1.01])
    assert loss.cells() == ["1.01", "", "1.02", "reached"]
    assert Found(Figure.FP32, "alexnet", 8, ratios).target is None
    assert Found("something else", "vgg16", 1, ratios).target is None


def test_each_target_is_there_once() -> None:
    keys = [(target.figure, target.network, target.batch) for target in TARGETS]
    assert len(set(keys)) == len(keys)


# -- rows


def rows(path: Path, *, resume: bool = False, processor_time: bool = False) -> Rows:
    options = Namespace(out=path, resume=resume, processor_time=processor_time)
    return Rows(options, ("network", "batch"))


def test_a_row_replaces_the_one_with_its_key(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.json"
    for batch, ratio in ((1, 1.0), (8, 2.0), (1, 3.0)):
        rows(path).put({"network": "a", "batch": batch, "processes": 2, "ratio": ratio})
    kept = read_rows(path)
    assert [(row["batch"], row["ratio"]) for row in kept] == [(1, 3.0), (8, 2.0)]
    told = kept[0]["conditions"]
    assert {"machine", "processor", "versions", "compiler", "date", "clock"} <= told.keys()
    assert len(json.loads(path.read_text(encoding="utf-8"))["conditions"]) == 1


def test_a_resumed_run_leaves_what_was_measured_as_well_as_asked(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    rows(path).put({"network": "a", "batch": 1, "processes": 3})
    assert rows(path, resume=True).done(3, network="a", batch=1)
    assert not rows(path, resume=True).done(5, network="a", batch=1)
    assert not rows(path, resume=True).done(3, network="a", batch=8)
    assert not rows(path, resume=True, processor_time=True).done(3, network="a", batch=1)
    assert not rows(path).done(3, network="a", batch=1)


# -- useful products


@st.composite
def nests(draw) -> ConvLayer:
    small = st.integers(1, 4)
    pads = draw(st.tuples(*[st.integers(0, 3)] * 4))
    return ConvLayer(
        "layer", draw(small), 2 * draw(small), 2 * draw(small), draw(st.integers(7, 12)),
        draw(st.integers(7, 12)), draw(st.integers(1, 3)), draw(st.integers(1, 3)),
        G=draw(st.sampled_from([1, 2])), strides=draw(st.tuples(small, small)),
        dilations=draw(st.tuples(st.integers(1, 3), st.integers(1, 3))), pads=pads,
    )  # fmt: skip


@given(nests())
def test_useful_products_meet_the_image(layer: ConvLayer) -> None:
    """Every tap of every result, looked up in a padded image of ones."""
    top, left, bottom, right = layer.pads
    image = np.pad(np.ones((layer.H, layer.W), int), ((top, bottom), (left, right)))
    met = 0
    for row, column in np.ndindex(layer.P, layer.Q):
        down, across = row * layer.strides[0], column * layer.strides[1]
        high, wide = layer.dilations
        met += image[down::high, across::wide][: layer.R, : layer.S].sum()
    assert useful_products(layer) == met * layer.N * layer.K * layer.C // layer.G


def test_fused_native_is_held_against_the_better_other_engine() -> None:
    def row(engine: str, ratios: list[float], fused: list[float]) -> dict:
        times = [{"fused": ms} for ms in fused]
        return {
            "network": "vgg16", "batch": 1, "engine": engine, "ratio": ratios[0],
            "ratios": ratios, "by_process_ms": times,
        }  # fmt: skip

    others = [row("openvino", [1.4, 1.3], [3.0, 4.0]), row("torch", [1.2, 1.1], [9.0, 9.0])]
    figures = {f.figure: f for f in found([*others, row("native", [1.2, 1.3], [2.0, 2.0])])}
    assert figures[Figure.FUSED_AHEAD].ratios == [1.5, 2.0]
    assert figures[Figure.FUSED_OTHER].cells() == ["1.35", "1.30 to 1.40", "1.30", "reached"]
    assert figures[Figure.FUSED_NATIVE].cells() == ["1.25", "1.20 to 1.30", "1.18", "reached"]
    assert Figure.FUSED_AHEAD not in {f.figure for f in found(others)}


# -- engines


@pytest.mark.skipif(
    "AVX-512" not in processor()["instructions"], reason="nothing computes in bfloat16 here"
)
def test_openvino_in_another_precision_is_no_baseline(monkeypatch) -> None:
    """It computes in bfloat16 where the processor can, unless told not to."""
    model = zoo.load("lenet5")
    assert prepare("openvino", model).precision == "f32"
    compile_model = ov.Core.compile_model

    def in_bfloat16(core, network, device, config):
        return compile_model(core, network, device, config | {"INFERENCE_PRECISION_HINT": "bf16"})

    monkeypatch.setattr(ov.Core, "compile_model", in_bfloat16)
    with pytest.raises(RuntimeError, match="openvino computes in bf16, not in f32"):
        prepare("openvino", model)


@needs_vnni
def test_engines_are_compared_on_quantised_files(tmp_path: Path) -> None:
    files = write_files("layer-16x4", str(tmp_path))
    assert list(files) == ["float32", "int8", "reordered", "fused"]
    timed = time_files(files, 2, 0.05, processor_time=True)
    names = timed["samples"].keys()
    assert {"native fused", "native, rounded means fused", "openvino int8"} <= names
    assert set(timed["agreement"]) == {name for name in names if "float32" not in name}
    for told in timed["agreement"].values():
        assert 0 <= told["mean"] <= told["largest"]


def test_outputs_of_another_network_are_refused(tmp_path: Path) -> None:
    files = write_files("layer-16x4", str(tmp_path))
    model = load_file(Path(files["int8"]))
    (name,) = (value.name for value in model.graph.outputs)
    results = {"onnxruntime": {name: np.zeros(4)}, "native": {name: np.ones(4)}}
    with pytest.raises(RuntimeError, match="native, int8: outputs differ by"):
        _agreement("int8", model, results)


# -- choice


def test_choices_are_timed_anew_and_the_cache_stays() -> None:
    path, variable = load().path, os.environ.get("XDG_CACHE_HOME")
    with _nothing_known():
        assert load().path.parent != path.parent
        assert not list(load().path.parent.glob("*.json"))
    assert (load().path, os.environ.get("XDG_CACHE_HOME")) == (path, variable)


def test_every_layer_is_timed_in_the_algorithms_that_were_chosen() -> None:
    timed = time_layers("resnet20", 1, rounds=1)
    assert timed["peak_gflops"] > 0
    for layer in timed["layers"]:
        assert {layer["auto"], layer["measured"], "direct"} <= layer["ms"].keys()


def test_a_loss_is_of_the_sum_and_of_the_worst_layer_that_counts() -> None:
    def layer(name: str, direct: float, other: float, chosen: str) -> dict:
        return {
            "layer": name, "ms": {"direct": direct, "other": other},
            "auto": chosen, "measured": "direct",
        }  # fmt: skip

    layers = [
        layer("large", 10.0, 8.0, "other"),
        layer("middle", 3.0, 2.0, "direct"),
        layer("tiny", 0.09, 0.01, "direct"),
    ]
    part = {"layers": layers, "peak_gflops": 1.0, "bandwidth_gbs": 1.0}
    row = choice.row_of("vgg16", 1, [part])
    assert row["losses"]["auto"] == [pytest.approx(11.09 / 10.01)]
    assert row["losses"]["measured"] == [pytest.approx(13.09 / 10.01)]
    assert row["worst"]["auto"] == {"layer": "middle", "loss": 1.5}


def test_the_best_form_of_a_layer_in_blocks_is_told() -> None:
    case = LayerCase("layer", 8, 8, 0, 1, {("onnxruntime", 8): 2.0, ("native", 8): None}, True)
    part = {
        DENSE: [6.0, 6.0, 9.0], "onnxruntime 8 spectral": [3.0, 3.0, 3.0],
        "onnxruntime 8 spectral-pairs": [2.0, 3.0, 2.0],
    }  # fmt: skip
    (row,) = layer_rows(case, [part, part])  # native did not run
    assert (row["form"], row["ratio"], row["ratios"]) == ("spectral-pairs", 3.0, [3.0, 3.0])
    assert (row["case"], row["target"]) == ("layer, from memory", 2.0)
    assert row["by_form"] == {"spectral": 2.0, "spectral-pairs": 3.0}
    assert row["ms"] == {DENSE: 6.0, "onnxruntime 8 spectral-pairs": 2.0}


def test_layers_in_blocks_are_timed_beside_the_dense_one() -> None:
    (part,) = structured.time_layers(["512 x 512"], 0.01, processor_time=True)
    forms = ("spectral", "spectral-pairs", "spectral-batch")
    assert set(part) == {DENSE, *(f"onnxruntime {k} {form}" for k in (8, 64) for form in forms)}
    assert all(min(values) > 0 for values in part.values())


@pytest.mark.parametrize("name", ["16@32", "128x128"])
def test_a_training_step_takes_the_same_on_both_roads(name: str) -> None:
    """Roads compute the dense layer; the row holds each against it."""
    layer = next(layer for layer in training_layers.LAYERS if layer.name == name)
    inputs = torch.randn(layer.shape(2), generator=torch.Generator().manual_seed(0))
    dense, *others = (run(inputs, weight) for run, weight in layer.roads(4).values())
    for other in others:
        torch.testing.assert_close(other, dense, rtol=1e-4, atol=1e-5)
    part = {
        "key": {"layer": name, "blocks": 4, "batch": 2, "precision": "fp32"}, "takes": "bins",
        "ms": {"dense": [2.0, 4.0, 2.0], "gathered": [2.0, 6.0, 4.0], "bins": [1.0, 1.0, 1.0]},
    }  # fmt: skip
    row = training_layers.row_of([part, part])
    assert row["ratios"] == {"gathered": [1.5, 1.5], "bins": [0.5, 0.5]}
    assert row["ms"] == {"dense": 2.0, "gathered": 4.0, "bins": 1.0}


def test_training_steps_of_a_layer_are_timed() -> None:
    found = training_layers.time_layer(
        name="128x128", batch=2, precision="bf16", budget_s=0.01, processor_time=True
    )
    assert [part["key"]["blocks"] for part in found] == [8, 16]
    assert all(min(values) > 0 for part in found for values in part["ms"].values())


# -- all of them


@pytest.mark.parametrize(
    "name", [m.name for m in pkgutil.iter_modules(benchmarks.__path__) if m.name not in OUTSIDE]
)
def test_what_a_benchmark_imports_is_there(name: str) -> None:
    assert importlib.import_module(f"benchmarks.{name}").__doc__
