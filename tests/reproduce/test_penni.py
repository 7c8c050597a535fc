"""PENNI: published savings beside counts, by hand and on real masks; and runs from a folder."""

import json

import numpy as np
import onnx_ir as ir
import pytest

import mlcnn
from mlcnn import counting, graph, workload
from mlcnn.cli import main
from mlcnn.passes import pipeline
from mlcnn.reproduce import Reproduction, reproduce
from mlcnn.reproduce.penni import sizes
from mlcnn.reproduce.structure import conv_layers


@pytest.fixture(scope="module")
def result() -> Reproduction:
    return reproduce("penni")


def test_the_published_rows(result: Reproduction) -> None:
    assert [row.published for row in result.rows] == [97, 92, 97, 92]
    assert [row.ok for row in result.rows] == [True, False, False, True]
    assert result.ok
    assert all("[PENNI]" in row.source for row in result.rows)
    assert "nothing is trained here" in result.conditions


def test_resnet18_by_hand(result: Reproduction) -> None:
    """17 convolutions of 3x3: 10,987,200 weights; shortcuts, classifier and norms 186,762."""
    dense, rest, coefficients = 10_987_200, 186_762, 10_987_200 / 9 * 5
    kept = 0.054 * coefficients + 17 * 45
    assert result.rows[0].computed == pytest.approx(100 - 100 * kept / dense, abs=0.02)
    whole = 100 - 100 * (kept + rest) / (dense + rest)
    assert result.rows[2].computed == pytest.approx(whole, abs=0.02)


@pytest.mark.parametrize(
    ("setting", "parameters", "products"),
    # The project's own accounting of the authors' profiler, worked out without this code.
    [
        (("vgg16", 5, "0.3"), 16.7, 19.3), (("vgg16", 5, "0.05"), 2.8, 5.4),
        (("vgg16", 2, "0.3"), 6.7, 7.7), (("resnet56", 5, "0.3"), 17.0, 35.1),
        (("resnet56", 5, "1"), 55.9, 74.0), (("resnet56", 2, "0.3"), 6.8, 14.0),
    ],
)  # fmt: skip
def test_counts(
    result: Reproduction, setting: tuple[str, int, str], parameters: float, products: float
) -> None:
    (row,) = [row for row in result.beside[0].rows if row[:3] == setting]
    # Random masks of a small network are within a percent of their density.
    assert row[3] == pytest.approx(parameters, abs=0.2)
    assert row[4] == pytest.approx(products, abs=0.2)


def test_the_density_that_is_asked_for_gives_the_saving(result: Reproduction) -> None:
    large = [nest for nest in conv_layers("resnet18") if nest.kernel_area > 1]
    dense = sizes(large)
    for row, kind in zip(result.beside[1].rows[:2], ("parameters", "multiplications"), strict=True):
        left = sizes(large, 5, float(str(row[2])))
        share = 100 * getattr(left, kind) / getattr(dense, kind)
        assert 100 - share == pytest.approx(row[1], abs=0.1)


def test_real_masks_give_the_same() -> None:
    """The network itself in five basis kernels, coefficients set to zero at random."""
    model = pipeline.run(mlcnn.load("resnet20"), pipeline.parse("share-kernels{basis=5}")).model
    model = graph.clone(model)
    generator, stored = np.random.default_rng(0), 0
    for layer in workload.read(model).layers:
        if layer.weights.kind != "shared-kernels":
            continue
        value = model.graph.initializers[layer.mask.weight.name]
        array = value.const_value.numpy().copy()
        array[generator.random(array.shape) >= 0.1] = 0
        value.const_value = ir.Tensor(array, name=value.name)
        stored += np.count_nonzero(array) + 5 * 9
    shared = [one for one in workload.read(model).layers if one.weights.kind == "shared-kernels"]
    products = sum(counting.nonzero_multiplications(one) for one in shared)
    large = [nest for nest in conv_layers("resnet20") if nest.kernel_area > 1]
    expected = sizes(large, 5, 0.1)
    assert len(shared) == len(large) == 19
    # Generator and order are the same, and so is every mask.
    assert (stored, products) == (expected.parameters, expected.multiplications)


def test_what_is_not_run_is_said(result: Reproduction) -> None:
    trained, recipes = result.beside[2:]
    assert trained.title == "published, and not run here"
    assert [row[2] for row in trained.rows] == [
        "0 points", "44 %", "53 %", "93.49 %", "93.12 %", "not known",
    ]  # fmt: skip
    assert {row[0] for row in recipes.rows} == {"resnet18", "resnet56", "vgg16"}


RUN = {
    "name": "resnet18", "method": "shared-kernels",
    "accuracy": {"before": 0.95, "after": 0.94, "images": 10_000},
    "cost": {"parameters": {"before": 200, "after": 6},
             "multiplications": {"before": 100, "after": {"mean": 8, "sd": 1}}},
    "latency_ms": {"native": {"before": 2.0, "after": 1.0}},
}  # fmt: skip


def test_runs_are_read(tmp_path, capsys) -> None:
    folder = tmp_path / "resnet18-shared"
    folder.mkdir()
    (folder / "result.json").write_text(json.dumps(RUN))
    found = reproduce("penni", runs=tmp_path).beside[-1]
    assert found.rows == (
        ("resnet18", "shared-kernels", 97.0, 92.0, None, None, None, "native 50.0", 95.0, 94.0,
         10_000),
    )  # fmt: skip
    (folder / "result.json").write_text("{}")
    assert main(["reproduce", "penni", "--runs", str(tmp_path)]) == 2
    assert (
        "no result of `mlcnn compress` (KeyError: 'accuracy'); remove it" in capsys.readouterr().err
    )
    assert main(["reproduce", "penni", "--runs", str(tmp_path / "none")]) == 2
    assert "no result.json of `mlcnn compress` in it" in capsys.readouterr().err
