"""Every verb takes every kind of source, and tells what it cannot take."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import mlcnn
from mlcnn.errors import InputError

QUICK = mlcnn.MeasureOptions(engines=("onnxruntime",), budget_s=0.05)
# A convolution of 4 filters over 3 channels, 3x3, at 8x8 outputs, of which 4x4 are left.
BEFORE, AFTER = 4 * 3 * 9 * 64, 4 * 3 * 9 * 16


@pytest.fixture(scope="module")
def optimized(linear: ir.Model) -> mlcnn.Optimized:
    """The small network, fused in the form ``box``."""
    return mlcnn.optimize(linear, form="box")


def test_what_was_optimized_is_counted(optimized: mlcnn.Optimized) -> None:
    for batch in (1, 3):
        (row,) = mlcnn.count(optimized, batch=batch).layers
        assert row.multiplications.original == batch * BEFORE
        assert row.multiplications.fused == batch * AFTER


def test_what_was_optimized_is_measured_as_it_is(optimized: mlcnn.Optimized) -> None:
    found = mlcnn.bench(optimized, measuring=QUICK)
    assert [row.variant for row in found.results] == ["original", "result"]


def test_what_was_optimized_is_evaluated(optimized: mlcnn.Optimized) -> None:
    (row,) = mlcnn.evaluate(optimized, batch=1).layers
    assert row.fused
    assert (row.cost.multiplications, row.against.multiplications) == (AFTER, BEFORE)


def test_what_was_optimized_is_loaded_and_run(optimized: mlcnn.Optimized, tmp_path: Path) -> None:
    loaded = mlcnn.load(optimized)
    image = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    name = loaded.graph.inputs[0].name
    session = mlcnn.engines.get("onnxruntime").prepare(loaded)
    original = mlcnn.engines.get("onnxruntime").prepare(optimized.original)
    pairs = zip(
        session.run({name: image}).values(), original.run({name: image}).values(), strict=True
    )
    for found, expected in pairs:
        np.testing.assert_allclose(found, expected, atol=1e-5)
    result = mlcnn.run(optimized, measuring=QUICK, directory=tmp_path / "out")
    assert result.optimized is optimized
    assert result.report.is_file()
    assert [c.form for c in mlcnn.optimize(optimized).fused] in ([], ["box"])


@pytest.mark.parametrize("verb", ["count", "bench", "evaluate", "run"])
def test_a_second_rewrite_is_refused(
    optimized: mlcnn.Optimized, verb: str, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"rewritten already; give it to mlcnn\.optimize"):
        getattr(mlcnn, verb)(optimized, mlcnn.RewriteOptions(form="box"))


@pytest.mark.parametrize("verb", ["load", "optimize", "count", "bench", "evaluate", "run"])
@pytest.mark.parametrize("given", [3, None, b"lenet5", io.StringIO(), np.zeros(3), mlcnn.count])
def test_what_holds_no_network_is_one_message(
    verb: str, given: object, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as failure:
        getattr(mlcnn, verb)(given)
    assert str(failure.value) == (
        f"a {type(given).__name__} is no network: give a zoo name, the path of an .onnx or .pt2 "
        "file, a name of a source as timm:resnet50, package.module:callable, a torch module, an "
        "ONNX model, or what mlcnn.optimize returned"
    )


@pytest.mark.parametrize("name", ["accelerators", "errors", "graph", "zoo"])
def test_a_package_is_an_attribute_after_the_import(name: str) -> None:
    # In a process of its own: here others have imported it.
    script = f"import mlcnn; print(mlcnn.{name}.__name__)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stdout == f"mlcnn.{name}\n", done.stderr


def test_every_package_is_named() -> None:
    folder = Path(mlcnn.__file__).parent
    for path in folder.iterdir():
        if path.suffix in {"", ".py"} and not path.name.startswith("_") and path.name != "cli":
            assert path.stem in dir(mlcnn)
            assert getattr(mlcnn, path.stem).__name__ == f"mlcnn.{path.stem}"


def test_importing_the_package_imports_nothing_else() -> None:
    script = (
        "import json, sys, mlcnn; print(json.dumps(sorted(m for m in sys.modules if 'mlcnn' in m)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert [m for m in json.loads(done.stdout) if not m.startswith("_")] == ["mlcnn"]
