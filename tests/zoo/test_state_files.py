"""Weights from .safetensors files and from those of torch.save: tensors, never code."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mlcnn.errors import InputError
from mlcnn.zoo import load_weights


class Small(nn.Module):
    """Floats, a counter that does not count, and whole numbers that do."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.register_buffer("index", torch.arange(4) + seed)


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    """What the files below hold."""
    return Small(7).state_dict()


def require_loaded(path: Path, state: dict[str, torch.Tensor]) -> None:
    module = Small()
    load_weights(module, path)
    for name, value in module.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(value, state[name])


def told(path: Path) -> str:
    module = Small()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(InputError) as caught:
        load_weights(module, path)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".ckpt", ".tar"])
def test_a_state_dict(tmp_path: Path, state: dict[str, torch.Tensor], suffix: str) -> None:
    torch.save(state, tmp_path / f"w{suffix}")
    require_loaded(tmp_path / f"w{suffix}", state)


def test_safetensors(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    pytest.importorskip("safetensors.torch").save_file(state, tmp_path / "w.safetensors")
    require_loaded(tmp_path / "w.safetensors", state)


def test_arrays(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    np.savez(tmp_path / "w.npz", **{name: value.numpy() for name, value in state.items()})
    require_loaded(tmp_path / "w.npz", state)


def test_what_training_scripts_write(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    parallel = OrderedDict((f"module.{name}", value) for name, value in state.items())
    torch.save({"epoch": 3, "state_dict": parallel}, tmp_path / "w.pth")
    require_loaded(tmp_path / "w.pth", state)


def test_other_floats_are_cast_and_other_whole_numbers_refused(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "w.pth"
    half = {k: v.bfloat16() if v.is_floating_point() else v for k, v in state.items()}
    torch.save(half, path)
    require_loaded(path, {k: v.float() if v.is_floating_point() else v for k, v in half.items()})
    torch.save({**state, "index": state["index"].float()}, path)
    assert told(path) == f"{path}: index holds float32, required are int64"
    torch.save({**state, "conv.bias": state["conv.bias"].int()}, path)
    assert told(path) == f"{path}: conv.bias holds int32, required are floats"


class Trap:
    """What a hostile pickle does: run a function when it is read."""

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("trapped"),)


@pytest.mark.parametrize("content", [Trap(), Small()])
def test_a_file_that_needs_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: object
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": content}, "w.pth")
    assert told(Path("w.pth")) == (
        "w.pth: holds more than tensors, which only code can read, so it is refused; if you trust "
        "it, convert it in Python: import torch, safetensors.torch; state = torch.load('w.pth', "
        "weights_only=False); state = state.state_dict() if hasattr(state, 'state_dict') else "
        "state.get('state_dict', state); "
        "safetensors.torch.save_file({k: v.contiguous().clone() for k, v in state.items()}, "
        "'w.safetensors'); then give --weights w.safetensors beside the name of the network"
    )
    assert not Path("trapped").exists()


def test_the_way_to_convert_a_module_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: dict[str, torch.Tensor]
) -> None:
    pytest.importorskip("safetensors")
    monkeypatch.chdir(tmp_path)
    torch.save(Small(7), "w.pth")
    recipe = told(Path("w.pth")).partition("in Python: ")[2].partition("; then give")[0]
    exec(recipe, {})  # noqa: S102
    require_loaded(Path("w.safetensors"), state)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.pth", b"", "not a readable file of torch.save (EOFError"),
        ("w.pth", b"hello", "not a readable file of torch.save (KeyError: 101)"),
        ("w.pth", b"PK\x03\x04 truncated", "not a readable file of torch.save (RuntimeError: "),
        ("w.safetensors", b"", "not a readable .safetensors file (SafetensorError: "),
        ("w.safetensors", b"\xff" * 20, "not a readable .safetensors file (SafetensorError: "),
        ("w.h5", b"", "weights are read from .npz, .safetensors and, tensors only, .bin, .ckpt, "),
    ],
)
def test_a_damaged_file(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert told(path).startswith(f"{path}: {message}")


@pytest.mark.parametrize(
    ("content", "kind"), [([torch.zeros(1)], "list"), ({"a": 1}, "dict"), ({}, "dict")]
)
def test_what_is_no_state_dict(tmp_path: Path, content: object, kind: str) -> None:
    torch.save(content, tmp_path / "w.pth")
    assert f"a {kind}, not a dict of tensors by parameter name; if you" in told(tmp_path / "w.pth")


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors", "w.npz"])
def test_no_file_and_a_folder(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert told(path) == f"{path}: no such file"
    if name != "w.npz":
        path.mkdir()
        assert told(path) == f"{path}: a folder"
