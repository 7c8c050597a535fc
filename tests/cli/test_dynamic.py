"""Networks that leave work out, through the command line: real images, and bad input."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from mlcnn import graph
from mlcnn.engines import get
from mlcnn.passes.early_exit import EarlyExit
from mlcnn.passes.exit_heads import Head, exit_points, with_heads
from mlcnn.passes.focus import Focus
from mlcnn.passes.focus_forms import with_forms

CLASSES, SIZE, IMAGES = 3, 8, 40
QUICK = ("--engine", "onnxruntime", "--seconds", "0.05")


class Net(nn.Module):
    """Three convolutions, and scores or a map of them."""

    def __init__(self, *, detects: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 8, 3, padding=1)
        self.third = nn.Conv2d(8, 8, 3, padding=1)
        self.line, self.detects = nn.Linear(8, CLASSES), detects

    def forward(self, x):
        x = torch.relu(self.second(torch.relu(self.first(x))))
        x = torch.relu(self.third(x))
        return x if self.detects else self.line(x.mean((2, 3)))


class Dense(nn.Module):
    """Two dense layers: no height, no width."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(SIZE * SIZE, 16), nn.Linear(16, CLASSES)

    def forward(self, x):
        return self.second(torch.relu(self.first(x.flatten(1))))


def _exported(module, batch=2):
    return graph.from_module(module.eval(), (torch.zeros(batch, 1, SIZE, SIZE),))


def _sure(headed, images):
    """The probability of each image's likeliest class by the head."""
    (name,) = (value.name for value in headed.graph.inputs)
    session = get("onnxruntime").prepare(headed)
    scores = session.run({name: images.astype(np.float32) / 255})["exit1"].astype(np.float64)
    shares = np.exp(scores - scores.max(1, keepdims=True))
    return shares.max(1) / shares.sum(1)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A network, what is made of it, and images, by name."""
    folder, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    torch.manual_seed(1)
    plain, detecting = _exported(Net()), _exported(Net(detects=True))
    at = dict(exit_points(plain))["first"]
    head = Head(at, rng.normal(0, 0.3, (CLASSES, 16)), np.zeros(CLASSES))
    broken = Net()
    with torch.no_grad():
        broken.line.weight.fill_(torch.nan)
    images = rng.integers(0, 255, (2000, 1, SIZE, SIZE)).astype(np.uint8)
    headed = with_heads(plain, [head])
    sure = _sure(headed, images[:IMAGES])
    networks = {
        "plain": plain,
        "exits": EarlyExit(f"exit1={np.median(sure)}").apply(headed).model,
        "focused": with_forms(Focus(at, "contrast", 1.2).apply(plain).model, "gather"),
        "whole": with_forms(Focus(at, "contrast", 1e6).apply(plain).model, "gather"),
        "masked": Focus(dict(exit_points(detecting))["first"], "input").apply(detecting).model,
        "detecting": detecting,
        "dense": _exported(Dense()),
        "broken": _exported(broken),
        "broken-exits": EarlyExit("exit1=1").apply(with_heads(_exported(broken), [head])).model,
    }
    for name, network in networks.items():
        graph.save(network, folder / f"{name}.onnx")
    fixed = onnx.load(folder / "plain.onnx")
    for value in (*fixed.graph.input, *fixed.graph.output, *fixed.graph.value_info):
        value.type.tensor_type.shape.dim[0].dim_value = 4
    onnx.save(fixed, folder / "fixed.onnx")
    labels = rng.integers(0, CLASSES, 2000)
    np.savez(folder / "images.npz", images=images[:IMAGES], labels=labels[:IMAGES])
    np.savez(folder / "many.npz", images=images, labels=labels)
    np.savez(folder / "few.npz", images=images[:300], labels=labels[:300])
    np.savez(folder / "one.npz", images=images[:1], labels=labels[:1])
    np.savez(folder / "without.npz", images=images, labels=np.where(labels == 1, 2, labels))
    np.savez(folder / "unlabelled.npz", images=images)
    return folder


@pytest.mark.parametrize("batch", [1, 8])
def test_bench_times_real_images_beside_the_worst_and_the_best_case(mlcnn, files, batch):
    network, images = files / "exits.onnx", files / "images.npz"
    found = mlcnn("bench", network, "--data", images, *QUICK, "--batch", batch, "--json").json
    assert [row["variant"] for row in found["results"]] == [
        "original, worst case", "original, best case",
    ]  # fmt: skip
    assert found["depends"]
    (key,) = found["per_image"]["costs"]
    assert key == "latency_ms onnxruntime" + ("" if batch == 1 else ", 8 images")
    cost = found["per_image"]["costs"][key]
    assert 0 < cost["mean"] <= cost["worst"]
    assert cost["p95"] <= cost["worst"]


def test_without_images_the_extremes_are_told_and_what_is_missing(mlcnn, files):
    network = files / "exits.onnx"
    for command, told in (
        (("bench", network, *QUICK), "--data times real images"),
        (("count", network), "the total is the most"),
        (("evaluate", network), "the figures are the most; an image takes"),
        (("run", network, "--no-measure", "-o", "out"), "the figures are the most"),
    ):
        result = mlcnn(*command)
        assert result.code == 0, result.err
        words = " ".join(result.out.split())
        assert told in words
        assert "--data" in words


def test_evaluate_gives_what_images_take_on_the_machine(mlcnn, files):
    network, images = files / "exits.onnx", files / "images.npz"
    found = mlcnn("evaluate", network, "--batch", "1", "--data", images, "--json").json
    cost = found["per_image"]["costs"]["energy_pj"]
    worst, least = (found["extremes"][case]["energy_pj"] for case in ("worst", "least"))
    assert least < cost["mean"] < cost["worst"] == worst
    assert sum(found["per_image"]["parts"]["energy_pj"].values()) == pytest.approx(cost["mean"])
    # The layers are those of the worst case; what decides comes on top, and little of it.
    assert found["network"]["energy_pj"] < worst < 1.01 * found["network"]["energy_pj"]
    together = mlcnn("evaluate", network, "--batch", "8", "--data", images, "--json").json
    shared = together["per_image"]["costs"]["energy_pj"]["mean"]
    assert shared < cost["mean"]  # weights are fetched once for those of a batch that go on


def test_evaluate_says_that_machines_leave_no_positions_out(mlcnn, files):
    network, images = files / "focused.onnx", files / "images.npz"
    found = mlcnn("evaluate", network, "--data", images, "--json").json
    cost = found["per_image"]["costs"]["energy_pj"]
    assert cost["sd"] == 0
    assert "computes a layer whole" in found["per_image"]["notes"][0]


def test_run_tells_what_images_take(mlcnn, files):
    network, images = files / "exits.onnx", files / "images.npz"
    found = mlcnn("run", network, "--data", images, "--no-measure", "-o", "out", "--json").json
    costs = found["per_image"]["costs"]
    assert costs.keys() == {
        "multiplications", "energy_pj mlcnn-fp32", "energy_pj mlcnn-fp16", "energy_pj mlcnn-int8",
    }  # fmt: skip
    counted = mlcnn("count", network, "--data", images, "--json").json
    assert counted["per_image"]["costs"]["multiplications"] == costs["multiplications"]
    assert any("multiplications, 40 images of" in w for w in found["warnings"])


def test_where_a_mask_keeps_nothing_everything_is_computed_and_counted(mlcnn, files):
    images = files / "images.npz"
    found = mlcnn("count", files / "whole.onnx", "--data", images, "--json").json
    cost = found["per_image"]["costs"]["multiplications"]
    assert cost["mean"] == cost["worst"] == found["total"]["macs"]["result"]
    plain = mlcnn("count", files / "plain.onnx", "--json").json["total"]["macs"]["result"]
    assert plain < cost["mean"] <= 1.03 * plain  # to smooth scores is a layer more


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("exits", "one", "--batch", "4"),
            "--batch 4: there are 1 images; give more, or a smaller",
        ),
        (("plain", "images"), "in plain every image costs the same"),
        (("broken-exits", "images"), "is not finite for an image"),
        (("masked", "images"), "inputs x, mask"),
        (("exits", "unlabelled"), "has no array 'labels'; required are 'images' and 'labels'"),
    ],
)
def test_what_images_cannot_be_timed_on(mlcnn, files, arguments, message):
    network, data, *more = arguments
    result = mlcnn("bench", files / f"{network}.onnx", "--data", files / f"{data}.npz", *QUICK,
                   *more)  # fmt: skip
    assert result.code == 2
    errors = [line for line in result.err.splitlines() if "error:" in line]
    assert len(errors) == 1
    assert message in errors[0]


@pytest.mark.parametrize("command", ["count", "evaluate"])
def test_scores_that_are_no_numbers_cost_nothing_that_can_be_told(mlcnn, files, command):
    result = mlcnn(command, files / "broken-exits.onnx", "--data", files / "images.npz")
    assert result.code == 2
    assert "is not finite for an image, and no threshold says anything of that" in result.err


def test_a_machine_takes_no_larger_batch_than_there_are_images(mlcnn, files):
    result = mlcnn("evaluate", files / "exits.onnx", "--data", files / "one.npz")
    assert result.code == 2
    assert "a batch of 16 images and 1 images: give more images, or --batch" in result.error


def test_images_are_those_of_one_network(mlcnn, files):
    network = files / "exits.onnx"
    result = mlcnn("evaluate", network, "--against", files / "plain.onnx", "--data", files)
    assert result.code == 2
    assert "--data: what images take is found of one network; leave --against away" in result.error


def test_an_engine_without_branches_says_so(mlcnn, files):
    network = files / "exits.onnx"
    result = mlcnn("bench", network, "--engine", "torch", "--batch", "8", "--seconds", "0.05")
    assert result.code == 2
    assert "operator 'If'" in result.error
    assert "ONNX Runtime" in result.error


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("plain", "nowhere.npz", ()), "no such file or folder"),
        (("plain", "one.npz", ()), "its 1 images are too few"),
        (("plain", "one.npz", ()), "a budget of 1 points takes about 1,153 to choose on, at 95 %"),
        (("plain", "few.npz", ("--max-drop", "2")), "about 577 for a budget of 2 points at 95 %"),
        (("plain", "without.npz", ()), "no image of class 1 among those that choose"),
        (("plain", "unlabelled.npz", ()), "required are 'images' and 'labels', the class of each"),
        (("dense", "many.npz", ()), "--method exit needs layers with height and width"),
        (("dense", "many.npz", ("--method", "focus")), "--method focus needs layers with height"),
        (("detecting", "many.npz", ()), "its first output is batchx8x8x8, and accuracy is judged"),
        (("detecting", "many.npz", ("--method", "focus")), "a mask of your own"),
        (("broken", "many.npz", ()), "is not finite for an image"),
        (("broken", "many.npz", ("--method", "focus")), "is not finite for an image"),
        (("exits", "many.npz", ()), "depends on the image already"),
        (("focused", "many.npz", ("--method", "focus")), "depends on the image already"),
        (("fixed", "many.npz", ()), "fixed to batches of 4 images"),
        (("plain", "many.npz", ("--max-drop", "-1")), "--max-drop -1"),
    ],
)
def test_skip_refuses_in_a_line_and_leaves_nothing(mlcnn, files, given, message):
    network, data, more = given
    result = mlcnn("skip", files / f"{network}.onnx", "--data", files / data, "--no-measure",
                   "--choose-on", "validation", "-o", "x.onnx", *more)  # fmt: skip
    assert result.code == 2
    errors = [line for line in result.err.splitlines() if "error:" in line]
    assert len(errors) == 1
    assert message in errors[0]
    assert not Path("x.onnx").exists()
    assert not Path("x").exists()


@pytest.mark.parametrize("command", ["quantize", "compress", "finetune", "train"])
@pytest.mark.parametrize("network", ["exits", "focused"])
def test_what_trains_or_calibrates_takes_no_dynamic_network(mlcnn, files, network, command):
    """ONNX Runtime's calibration of one ends the process."""
    output = "x.onnx" if command in {"quantize", "compress"} else "x"
    result = mlcnn(command, files / f"{network}.onnx", "--data", files / "many.npz", "--scale",
                   "0.004", "-o", output, *(("--max-drop", "1") if command == "compress" else ()),
                   )  # fmt: skip
    assert result.code == 2
    assert "depends on the image already; give the network that it was made from" in result.error
    assert not Path("x").exists()
    assert not Path("x.onnx").exists()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones((1, 1, 4, 4), bool), "mask has shape 1x1x4x4, the network takes batchx1x8x8"),
        (np.ones((1, 1, 8, 8), np.float32), "mask holds float32, the network takes bool"),
        (None, "the network's inputs are x, mask"),
    ],
)
def test_a_mask_of_the_wrong_shape_or_type(mlcnn, files, mask, message):
    arrays = {"x": np.zeros((1, 1, SIZE, SIZE), np.float32)}
    np.savez("given.npz", **arrays, **({} if mask is None else {"mask": mask}))
    result = mlcnn("optimize", files / "masked.onnx", "--input", "given.npz", "-o", "x.onnx")
    assert result.code == 2
    assert message in result.error
    assert not Path("x.onnx").exists()
