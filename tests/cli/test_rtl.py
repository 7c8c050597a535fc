"""``mlcnn rtl simulate``: what it prints, and what a user can get wrong."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rtl.machine import Machine
from rtl.networks import quantised_lenet5, quantised_residual, tiny
from training.quantisation.networks import images_of_classes, residual

from mlcnn.api import rtl as api
from mlcnn.errors import UnsupportedError
from mlcnn.graph import save
from mlcnn.training import load_sample

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks, and labelled images."""
    path = tmp_path_factory.mktemp("networks")
    save(quantised_lenet5(), path / "lenet5-int8.onnx")
    save(quantised_residual(), path / "residual-int8.onnx")
    save(residual(), path / "floats.onnx")
    images, labels = images_of_classes(60, seed=1)
    save(tiny(weights=np.ones((6, 1, 3, 3)), group=2), path / "grouped-int8.onnx")
    save(tiny(weights=np.ones((600, 2, 1, 1))), path / "wide-int8.onnx")
    np.savez(path / "small.npz", images=images[:, :2, :6, :6], labels=labels)
    np.savez(path / "data.npz", images=images, labels=labels)
    sample = load_sample()
    np.savez(path / "cifar.npz", images=sample.images[:80], labels=sample.labels[:80])
    return path


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """What runs in place of the hardware."""
    made = Machine()

    def power_on(_: int) -> AbstractContextManager[Machine]:
        return nullcontext(made)

    monkeypatch.setattr(api, "Simulator", lambda _: SimpleNamespace(power_on=power_on))
    monkeypatch.setattr(api, "require_tools", lambda: ("c++",))
    return made


CIFAR = ("--mean", "0.4914,0.4822,0.4465", "--std", "0.2470,0.2435,0.2616")


def test_json_has_bits_and_cycles_of_every_layer(
    mlcnn: Call, folder: Path, machine: Machine
) -> None:
    network = folder / "lenet5-int8.onnx"
    data = folder / "cifar.npz"
    result = mlcnn("rtl", "simulate", network, "--data", data, *CIFAR, "--images", 4, "--json")
    assert result.code == 0, result.err
    document = result.json
    layers = document["layers"]
    assert [layer["name"] for layer in layers] == ["conv1", "conv2", "fc1", "fc2", "fc3"]
    assert [layer["fused"] for layer in layers] == [True, True, False, False, False]
    assert all(layer["bit_exact"] for layer in layers)
    assert all(layer["cycles"] == layer["model_cycles"] > 0 for layer in layers)
    assert (document["images"], document["ok"]) == (4, True)
    accuracy = document["accuracy"]
    assert set(accuracy) == {"hardware", "integer", "float"}
    assert accuracy["hardware"] == accuracy["integer"]
    assert len(machine.programs) == 8


def test_dense_machine_runs_the_same_codes_in_plain_order(
    mlcnn: Call, folder: Path, machine: Machine
) -> None:
    arguments = ("rtl", "simulate", folder / "lenet5-int8.onnx", "--data", folder / "cifar.npz")
    fused = mlcnn(*arguments, "--images", 2, "--json").json
    plain = mlcnn(*arguments, "--images", 2, "--on", "dcnn-int8", "--json").json
    assert [layer["fused"] for layer in plain["layers"]] == 5 * [False]
    assert plain["accuracy"] == fused["accuracy"]
    assert plain["layers"][0]["cycles"] > fused["layers"][0]["cycles"]
    assert machine.programs[0] == ("conv1", "conv2")


def test_table_names_layers_of_the_host(mlcnn: Call, folder: Path, machine: Machine) -> None:
    network = folder / "residual-int8.onnx"
    data = folder / "data.npz"
    result = mlcnn("rtl", "simulate", network, "--data", data, "--images", 2, "--stalls", 20)
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0] == (
        "residual-int8 on mlcnn-int8, 2 images, 16 slices, 2 ways, 20 % of the cycles stalled; "
        "cycles are those of one image"
    )
    assert lines[1].split() == ["layer", "order", "codes", "cycles", "model", "apart", "set", "by"]
    assert [line.split()[:3] for line in lines[2:7]] == [
        [name, "plain", "identical"] for name in ("stem", "inner", "side", "last", "head")
    ]
    assert "max_pool2d: MaxPool on the host, in whole numbers" in lines
    assert "cat: Concat on the host, in whole numbers" in lines
    assert len(machine.programs) == 10


def test_a_code_that_differs_is_told_and_fails(mlcnn: Call, folder: Path, machine: Machine) -> None:
    machine.wrong = "inner", (1, 2, 3)
    network, data = folder / "residual-int8.onnx", folder / "data.npz"
    result = mlcnn("rtl", "simulate", network, "--data", data, "--images", 1)
    assert result.code == 1
    told = [line for line in result.out.splitlines() if line.startswith("inner: image 0")]
    assert len(told) == 1
    assert "channel 1, row 2, column 3: the hardware has" in told[0]


def test_zoo_network_is_quantised_and_kept(
    mlcnn: Call, machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = mlcnn("rtl", "simulate", "lenet5", "--images", 2, "--waves", "1:conv2", "--json")
    assert first.code == 0, first.err
    kept = sorted(path.name for path in (tmp_path / "cache" / "mlcnn").iterdir())
    assert [name.rpartition("-")[2] for name in kept] == ["float.onnx", "int8.onnx"]
    (note,) = first.json["notes"]
    assert note == (
        "lenet5 is quantised for this, fused where it can be, on 256 other images of cifar10 test, "
        "first 500; for one of your own: mlcnn quantize --fuse --means exact"
    )
    assert first.json["waves"] == "lenet5-conv2-1.vcd"
    assert machine.waves == [(1, Path("lenet5-conv2-1.vcd"))]
    again = mlcnn("rtl", "simulate", "lenet5", "--images", 2, "--json")
    assert again.json["layers"] == first.json["layers"]


NETWORK = "residual-int8.onnx"
WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "images": ((NETWORK, "--images", "0"), "--images 0: at least one image is required"),
    "stalls": (
        (NETWORK, "--stalls", "100"),
        (
            "--stalls 100: percent of the cycles in which the memory takes nothing; 0 to 99 are "
            "possible"
        ),
    ),
    "negative stalls": (
        (NETWORK, "--stalls", "-1"),
        (
            "--stalls -1: percent of the cycles in which the memory takes nothing; 0 to 99 are "
            "possible"
        ),
    ),
    "slices": (
        (NETWORK, "--slices", "12"),
        (
            "slices 12: a beat fills 8 slices with weights, and their number is a power of two: "
            "give 8, 16, 32 or 64"
        ),
    ),
    "ways": (
        (NETWORK, "--ways", "3"),
        "ways 3: a power of two is required, 1 to 8, as slices are shared among them evenly",
    ),
    "machine": (
        (NETWORK, "--on", "winograd-f2-fp32"),
        (
            "--on winograd-f2-fp32: there is hardware of arrays for INT8 with box adders and "
            "without, and of no other machine: give mlcnn-int8 or dcnn-int8"
        ),
    ),
    "precision": (
        (NETWORK, "--on", "mlcnn-fp32"),
        (
            "--on mlcnn-fp32: there is hardware of arrays for INT8 with box adders and without, "
            "and of no other machine: give mlcnn-int8 or dcnn-int8"
        ),
    ),
    "unquantised": (
        ("floats.onnx",),
        (
            "floats: the network is not quantised, and the hardware computes with codes of 8 bits; "
            "quantise it and give the file: mlcnn quantize floats --data IMAGES --fuse --means "
            "exact --no-sensitivity -o FILE.onnx"
        ),
    ),
    "no images": (
        (NETWORK,),
        "residual-int8: no images to run; give labelled images with --data",
    ),
    "few images": (
        (NETWORK, "--data", "data.npz", "--images", "50"),
        (
            "--images 50: {folder}/data.npz has 60 images, and 32 beside those that run are needed "
            "to find ranges: 28 can run at most"
        ),
    ),
    "depth-wise": (
        ("grouped-int8.onnx", "--data", "small.npz"),
        (
            "conv: a depth-wise convolution, which the hardware does not run: of its 128 "
            "multipliers 3 would work (2.3%); give a network without groups"
        ),
    ),
    "too many filters": (
        ("wide-int8.onnx", "--data", "small.npz"),
        (
            "layer conv: 600 output channels takes 600 places for bias and scale, and there are "
            "512: raise filters of the build"
        ),
    ),
    "waves": (
        (NETWORK, "--waves", "conv2"),
        ("--waves conv2: the number of an image and the name of a layer are required, as 3:conv2"),
    ),
    "waves of no image": (
        (NETWORK, "--waves", "10:stem"),
        ("--waves 10:stem: images have the numbers 0 to 9; give one of these, or more images"),
    ),
    "waves of no layer": (
        (NETWORK, "--data", "data.npz", "--waves", "0:sten"),
        "--waves 0:sten: the hardware runs no layer 'sten'; did you mean 'stem'?",
    ),
    "waves of what the host runs": (
        (NETWORK, "--data", "data.npz", "--waves", "0:xyz"),
        (
            "--waves 0:xyz: the hardware runs no layer 'xyz'; there are stem, inner, side, last, "
            "head"
        ),
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_told_in_one_line(
    mlcnn: Call, folder: Path, machine: Machine, case: str
) -> None:
    arguments, message = WRONG[case]
    files = [folder / each if each.endswith((".onnx", ".npz")) else each for each in arguments]
    result = mlcnn("rtl", "simulate", *files)
    assert result.code == 2
    assert result.error == message.format(folder=folder)
    assert machine.programs == []


def test_what_is_missing_to_compile_is_told_before_the_network_is_read(
    mlcnn: Call, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing() -> tuple[str, ...]:
        raise UnsupportedError("simulating the hardware needs a C++ compiler: install g++")

    monkeypatch.setattr(api, "require_tools", nothing)
    result = mlcnn("rtl", "simulate", "nowhere.onnx")
    assert (result.code, result.error) == (
        2, "simulating the hardware needs a C++ compiler: install g++",
    )  # fmt: skip
