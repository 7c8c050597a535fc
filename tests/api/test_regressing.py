"""A network held against a baseline: counts, outputs, accuracy, time."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

import mlcnn
from mlcnn.api import slowing
from mlcnn.errors import InputError
from mlcnn.training.intervals import difference as change


def network(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray]) -> ir.Model:
    """A network of eight by eight images of three channels; its result is called y."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", 20)]
    return mlcnn.load(helper.make_model(graph, opset_imports=opsets, ir_version=10))


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def wider(channels: int, seed: int = 0) -> ir.Model:
    """Two layers with so many channels between them, and a pool before the second."""
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], name="first"),
        helper.make_node("AveragePool", ["c"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p", "v"], ["y"], name="second"),
    ]
    weights = {"w": random(channels, 3, 3, 3, seed=seed), "b": random(channels, seed=seed)}
    return network(nodes, weights | {"v": random(4, channels, 1, 1)})


@pytest.fixture(scope="module")
def narrow() -> ir.Model:
    return wider(4)


@pytest.fixture(scope="module")
def wide() -> ir.Model:
    return wider(6)


def test_what_is_counted(narrow: ir.Model, wide: ir.Model) -> None:
    """By hand: 27 products a position and channel on 8 x 8, then 4 a channel on 4 x 4."""
    products = [channels * (27 * 64 + 4 * 16) for channels in (4, 6)]
    parameters = [28 * channels + 4 * channels for channels in (4, 6)]
    checked = mlcnn.check(wide, narrow, no_more=["multiplications", "parameters", "bytes"])
    assert not checked.ok
    first, second, third = checked.findings
    assert (first.value, first.allowed) == (products[1], products[0])
    assert (second.value, second.allowed) == (parameters[1], parameters[0])
    assert third.value > third.allowed
    assert first.told == (
        "multiplications 10,752, which are 3,584 more (50.00%) than the baseline's 7,168"
    )
    fewer = mlcnn.check(narrow, wide, no_more=["multiplications", "parameters"])
    assert fewer.ok
    assert fewer.line == (
        "ok: net (after) against net (before): multiplications 7,168 (baseline 10,752); "
        "parameters 128 (baseline 192)"
    )
    assert mlcnn.check(wide, wide, no_more=["bytes"]).ok


def test_outputs(narrow: ir.Model) -> None:
    fused = mlcnn.optimize(narrow).model
    checked = mlcnn.check(fused, narrow, max_error=1e-4)
    assert checked.ok
    assert 0 <= checked.findings[0].value < 1e-5
    (failure,) = mlcnn.check(wider(4, seed=1), narrow, max_error=1e-4).failures
    assert failure.told.startswith("error ")
    assert " at output y, " in failure.told
    assert failure.told.endswith(" times the limit 0.0001")


def test_the_error_is_relative_to_the_largest_output(tmp_path: Path) -> None:
    """On an input of ones, all weights one: 27, and a bias of 0.27 is one hundredth of it."""
    conv = [helper.make_node("Conv", ["x", "w", "b"], ["y"], name="conv")]
    weight = np.ones((2, 3, 3, 3), np.float32)
    pair = [network(conv, {"w": weight, "b": np.full(2, b, np.float32)}) for b in (0.27, 0.0)]
    path = tmp_path / "ones.npz"
    np.savez(path, x=np.ones((2, 3, 8, 8), np.float32))
    checked = mlcnn.check(*pair, max_error=0.0101, inputs=path)
    assert checked.ok
    assert checked.findings[0].value == pytest.approx(0.01, rel=1e-4)
    assert not mlcnn.check(*pair, max_error=0.0099, inputs=path).ok


def labelled(path: Path, right: int, images: int) -> Path:
    """Images whose brightest channel is the class of so many; the others show the class before."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, images)
    pictures = generator.integers(0, 50, (images, 3, 8, 8)).astype(np.uint8)
    shown = np.where(np.arange(images) < right, labels, (labels - 1) % 3)
    pictures[np.arange(images), shown] += 200
    np.savez(path, images=pictures, labels=labels)
    return path


def brightest(*, shift: int) -> ir.Model:
    """The mean of each channel, said to be that of the channel so many further."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("ReduceMean", ["c", "axes"], ["y"], keepdims=0, name="mean"),
    ]
    weight = np.roll(np.eye(3, dtype=np.float32), shift, axis=0)[:, :, None, None]
    return network(nodes, {"w": weight, "axes": np.array([2, 3])})


def test_accuracy_is_paired(tmp_path: Path) -> None:
    """One network is right in 90 of 100 images, the other in the ten that show the class before."""
    data = labelled(tmp_path / "data.npz", 90, 100)
    right, shifted = brightest(shift=0), brightest(shift=1)
    checked = mlcnn.check(shifted, right, max_drop=50.0, data=data)
    (finding,) = checked.failures
    expected = change(10, 90, 100)
    assert finding.value == pytest.approx(-100 * expected.top1)
    assert finding.interval == pytest.approx(
        (-100 * expected.interval[1], -100 * expected.interval[0])
    )
    assert finding.told == (
        "accuracy 10.00%, -80.00 points (-91.76 to -68.24) on 100 images, a drop that exceeds "
        "50 by 30.00"
    )
    same = mlcnn.check(right, right, max_drop=0.0, data=data)
    assert same.ok
    assert same.findings[0].sure
    better = mlcnn.check(right, shifted, max_drop=0.0, data=data)
    assert better.findings[0].told == (
        "accuracy 90.00%, +80.00 points (+68.24 to +91.76) on 100 images, allowed drop 0"
    )
    unsure = mlcnn.check(shifted, right, max_drop=80.0, data=data)
    assert unsure.ok
    assert unsure.findings[0].told.endswith(
        "on 100 images, allowed drop 80, too few images to be sure"
    )


def test_a_network_of_ten_times_the_work_is_slower(narrow: ir.Model) -> None:
    checked = mlcnn.check(
        wider(256), narrow, not_slower=0.02,
        measuring=mlcnn.MeasureOptions(engines=("onnxruntime",), budget_s=0.2),
    )  # fmt: skip
    (failure,) = checked.failures
    assert failure.limit == "time"
    assert failure.value > 1.5
    assert failure.interval is not None
    assert failure.interval[0] > 1.02
    assert "onnxruntime, batch 1: " in failure.told


@pytest.mark.parametrize(
    ("ratios", "ok", "told"),
    [
        ([1.0] * 8, True, "1.000 times the time (1.000 to 1.000 in 8 trials; limit 1.02)"),
        (
            [1.1] * 8, False,
            "1.100 times the time (1.100 to 1.100 in 8 trials), which exceeds 1.02 by 0.080",
        ),
        (
            [0.5, 2.0] * 16, True,
            "1.250 times the time (0.500 to 2.000 in 32 trials; limit 1.02), too noisy to tell",
        ),
    ],
)  # fmt: skip
def test_verdicts_on_time(
    narrow: ir.Model, monkeypatch: pytest.MonkeyPatch, ratios: list[float], ok: bool, told: str
) -> None:
    monkeypatch.setattr(slowing._Trials, "ratio", lambda _self, number: ratios[number])
    checked = mlcnn.check(narrow, narrow, not_slower=0.02)
    assert checked.ok is ok
    assert checked.findings[0].told == f"onnxruntime, batch 1: {told}"


def test_both_are_made_ready_anew_for_each_trial(
    narrow: ir.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    prepared = slowing._Trials._ready

    def counting(self: slowing._Trials, model: ir.Model) -> Callable[[], object]:
        made.append(id(model))
        return prepared(self, model)

    monkeypatch.setattr(slowing._Trials, "_ready", counting)
    wide = wider(5)
    measuring = mlcnn.MeasureOptions(engines=("onnxruntime",), budget_s=0.01)
    found = list(slowing.slowdowns(wide, narrow, measuring, 1e9, lambda *_: None))
    assert len(found[0][1].ratios) == 8
    assert made == [id(narrow), id(wide), id(wide), id(narrow)] * 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {},
            (
                "there is nothing to check: give a limit, or several: --no-more multiplications "
                "(or parameters, or bytes), --max-error 1e-4, --max-drop 0.5 with --data, "
                "--not-slower 2%"
            ),
        ),
        ({"max_error": -1.0}, "--max-error -1: a number that is 0 or more is required"),
        ({"max_error": float("nan")}, "--max-error nan: a number that is 0 or more is required"),
        ({"not_slower": -0.1}, "--not-slower -0.1: a number that is 0 or more is required"),
        (
            {"no_more": ["multiplication"]},
            (
                "--no-more multiplication: multiplications, parameters, bytes can be counted; did "
                "you mean 'multiplications'?"
            ),
        ),
        (
            {"max_drop": 0.5},
            (
                "--max-drop 0.5: accuracy is measured on labelled images: give --data, as a folder "
                "with a folder of images for each class"
            ),
        ),
        (
            {"no_more": ["bytes"], "data": "photos"},
            "--data photos: it belongs to --max-drop, which was not given",
        ),
        (
            {"no_more": ["bytes"], "inputs": "in.npz"},
            "--input in.npz: it belongs to --max-error, which was not given",
        ),
    ],
)
def test_wrong_limits(narrow: ir.Model, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        mlcnn.check(narrow, narrow, **options)
    assert str(caught.value) == message
