"""Winograd convolutions of engine native: what float64 computes, on every geometry, to 1e-5."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import onnx_ir as ir
import pytest
import torch
from engines.processors import MARCHES
from engines.test_native import network
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from mlcnn import engines, zoo
from mlcnn.engines.engine import LayerAlgorithm
from mlcnn.engines.native import Native
from mlcnn.engines.native.geometry import Geometry
from mlcnn.engines.native.library import load
from mlcnn.engines.native.winograd import Winograd
from mlcnn.errors import InputError
from mlcnn.graph import evaluate

_TRANSFORMS = Geometry.transforms


@contextmanager
def taking(kind: Winograd) -> Iterator[None]:
    """``winograd`` takes this transform wherever it computes the layer."""
    with pytest.MonkeyPatch.context() as patch:
        fitting = lambda geometry: tuple(k for k in _TRANSFORMS(geometry) if k is kind)  # noqa: E731
        patch.setattr(Geometry, "transforms", fitting)
        yield


@st.composite
def layers(draw, stride: int) -> tuple[ir.Model, np.ndarray]:
    """3x3 convolutions: partial blocks, borders wider than needed, concatenations, residuals."""
    channels, filters = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    pads = draw(st.tuples(*[st.integers(0, 3)] * 4))
    around = zip(pads[:2], pads[2:], strict=True)
    size = [draw(st.integers(max(1, 3 - before - after), 20)) for before, after in around]
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (filters, channels, 3, 3)
    weights = {
        "w": (generator.standard_normal(shape) / 3 / np.sqrt(channels)).astype(np.float32),
        "v": generator.standard_normal((channels, channels, 1, 1), np.float32),
        "b": generator.standard_normal(filters, np.float32),
    }
    attributes = {"strides": [stride, stride], "pads": pads}
    source, nodes = "x", []
    # A concatenation whose parts end within a block; an input of few channels may stay dense.
    if channels <= 4 or draw(st.booleans()):
        nodes += [
            helper.make_node("Conv", ["x", "v"], ["left"]),
            helper.make_node("Concat", ["left", "x"], ["both"], axis=1),
        ]
        weights["w"] = np.concatenate([weights["w"], weights["w"][::-1]], axis=1) / 2
        source = "both"
    nodes.append(helper.make_node("Conv", [source, "w", "b"], ["t"], **attributes))
    if draw(st.booleans()):
        residual = helper.make_node("Conv", [source, "w", "b"], ["r"], **attributes)
        nodes = [*nodes[:-1], residual, nodes[-1], helper.make_node("Add", ["t", "r"], ["s"])]
    else:
        nodes.append(helper.make_node("Identity", ["t"], ["s"]))
    nodes.append(helper.make_node(draw(st.sampled_from(["Relu", "Identity"])), ["s"], ["y"]))
    images = draw(st.integers(1, 9))
    image = generator.standard_normal((images, channels, *size), np.float32)
    return network(nodes, weights, channels), image


@pytest.mark.parametrize("kind", Winograd)
@pytest.mark.parametrize("march", MARCHES)
@given(data=st.data())
def test_any_geometry(march: str, kind: Winograd, data) -> None:
    model, image = data.draw(layers(kind.transform.stride))
    compare(model, image, kind, march)


def compare(model: ir.Model, image: np.ndarray, kind: Winograd, march: str = "native") -> None:
    """At most 1e-5 of the largest result from float64, or of the terms (about 1) if they cancel."""
    expected = evaluate(model, {"x": torch.from_numpy(image)})["y"].numpy()
    one = expected.shape[2:] == (1, 1)  # no transform computes that, and it would be refused
    with taking(kind):
        found = Native(march, "direct" if one else "winograd").prepare(model).run({"x": image})["y"]
    atol = 1e-5 * max(1, np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


def plain(channels: int, filters: int, stride: int = 1) -> ir.Model:
    generator = np.random.default_rng(0)
    weight = generator.standard_normal((filters, channels, 3, 3)) / np.sqrt(9 * channels)
    node = helper.make_node("Conv", ["x", "w"], ["y"], strides=[stride] * 2, pads=[1] * 4)
    return network([node], {"w": weight.astype(np.float32)}, channels, size=(48, 48))


@pytest.mark.parametrize("kind", Winograd)
@pytest.mark.parametrize("positive", [False, True])
def test_error_with_512_channels(kind: Winograd, positive: bool) -> None:
    image = np.random.default_rng(1).standard_normal((1, 512, 48, 48)).astype(np.float32)
    compare(plain(512, 16, kind.transform.stride), np.abs(image) if positive else image, kind)


@pytest.mark.parametrize("kind", Winograd)
def test_images_over_the_borders_of_bunches(kind: Winograd) -> None:
    """So many channels that a bunch holds few tiles, and the tiles of an image are in several."""
    image = np.random.default_rng(2).standard_normal((2, 300, 48, 48)).astype(np.float32)
    compare(plain(300, 272, kind.transform.stride), image, kind)


@pytest.mark.parametrize("kind", Winograd)
@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_tile(kind: Winograd, odd: float) -> None:
    """It spreads over the results of the tiles that read it, and no further."""
    transform = kind.transform
    model = plain(20, 20, transform.stride)
    image = np.random.default_rng(3).standard_normal((1, 20, 48, 48)).astype(np.float32)
    spoiled = image.copy()
    spoiled[0, 7, 9, 9] = odd
    with taking(kind):
        session = Native(algorithm="winograd").prepare(model)
        before, after = (session.run({"x": given})["y"] for given in (image, spoiled))
    reach = 2 * transform.outputs * transform.stride
    rows = [r for r in range(before.shape[2]) if abs(r * transform.stride - 9) > reach]
    assert rows
    np.testing.assert_array_equal(before[:, :, rows], after[:, :, rows])
    assert not np.isfinite(after[0, :, 9 // transform.stride, 9 // transform.stride]).all()


@pytest.mark.parametrize("algorithm", ["direct", "winograd", "auto"])
def test_threads_change_no_bit(algorithm: str) -> None:
    model = zoo.load("resnet20")
    inputs = engines.random_inputs(model, 3)
    results = [
        Native(algorithm=algorithm).prepare(model, threads=threads).run(inputs)
        for threads in (1, 2, 3)
    ]
    for found in results[1:]:
        for name, array in found.items():
            np.testing.assert_array_equal(array, results[0][name])


def test_a_layer_with_one_position_is_no_winograd() -> None:
    """It is laid out as one row of all images."""
    geometry = Geometry(8, (16,), 16, 1, 1, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1))
    assert geometry.transforms() == ()


@pytest.mark.skipif(shutil.which("objdump") is None, reason="no objdump")
def test_inner_loops_load_each_weight_once() -> None:
    """No multiply-add of a tile reads a vector from memory; broadcasts of inputs may.

    The compiler folds the load of the weights into each multiply-add unless it is told not to.
    """
    library = load()
    if library.block != 16:
        pytest.skip("no AVX-512")
    done = subprocess.run(
        [str(shutil.which("objdump")), "-d", "--no-show-raw-insn", str(library.path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    bodies = re.split(r"\n(?=[0-9a-f]+ <)", done.stdout)
    tiles = [body for body in bodies if re.match(r"[0-9a-f]+ <(tile|few)_\d+_\d+", body)]
    assert tiles
    products = [line for body in tiles for line in body.splitlines() if "vfmadd" in line]
    assert products
    folded = [line for line in products if "(" in line and "{1to16}" not in line]
    assert not folded, folded[:3]


# -- the choice


def choices(model: ir.Model, batch: int, algorithm: str) -> list[LayerAlgorithm]:
    inputs = engines.random_inputs(model, batch)
    session = Native(algorithm=algorithm).prepare(model)
    session.run(inputs)
    return list(session.algorithms)


def test_the_model_takes_winograd_where_it_pays() -> None:
    found = {row.layer: row for row in choices(zoo.load("vgg16"), 8, "auto")}
    assert found["features.3"].algorithm == "Winograd F(4x4, 3x3)"  # 64 channels, 32x32
    assert found["features.0"].algorithm == "direct"  # 3 channels
    assert found["classifier"].algorithm == "direct"
    for row in found.values():
        assert row.bound in {"multiply-adds", "weights from memory", "transforms"}
        assert not row.measured
        assert row.ms > 0


def test_measured_choices_are_kept_and_damage_is_measured_again(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    load.cache_clear()
    model = plain(64, 64)
    try:
        first = choices(model, 1, "measured")
        (path,) = tmp_path.glob("mlcnn/*.choices.json")
        assert choices(model, 1, "measured") == first
        path.write_text("{ damaged", encoding="utf-8")
        again = choices(model, 1, "measured")
        assert [row.layer for row in again] == [row.layer for row in first]
        assert all(row.measured for row in again)
        assert choices(model, 1, "measured") == again
    finally:
        load.cache_clear()


def test_a_saved_choice_is_repeated(tmp_path) -> None:
    model = zoo.load("resnet20")
    rows = choices(model, 2, "auto")
    path = tmp_path / "choice.json"
    saved = {"algorithms": [row.to_json() for row in rows]}
    path.write_text(json.dumps(saved), encoding="utf-8")
    again = choices(model, 2, str(path))
    assert [row.algorithm for row in again] == [row.algorithm for row in rows]
    with pytest.raises(
        InputError, match=r"another batch's: layer 'conv1' has 2 images there, 3 here"
    ):
        choices(model, 3, str(path))


@pytest.mark.parametrize("text", ["", "[]", '{"results": []}'])
def test_a_file_without_a_choice(tmp_path, text: str) -> None:
    path = tmp_path / "choice.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"choice\.json"):
        choices(zoo.load("lenet5"), 1, str(path))


def test_an_unknown_algorithm() -> None:
    with pytest.raises(InputError, match="did you mean 'winograd'"):
        Native(algorithm="wingrad").prepare(zoo.load("lenet5"))
