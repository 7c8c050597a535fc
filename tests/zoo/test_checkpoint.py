"""Weights from .npz files: what fits is loaded exactly, what does not is refused whole."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from mlcnn.errors import InputError
from mlcnn.zoo import build, load_weights

Arrays = dict[str, np.ndarray]


@pytest.fixture
def arrays() -> Arrays:
    """Weights of a LeNet-5, as a file holds them."""
    return {name: value.numpy() for name, value in build("lenet5", seed=5).state_dict().items()}


def save(path: Path, arrays: Arrays) -> Path:
    np.savez(path, allow_pickle=True, **arrays)
    return path


def refusal(path: Path) -> str:
    module = build("lenet5")
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(InputError) as caught:
        load_weights(module, path)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    return str(caught.value)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8"])
def test_round_trip(tmp_path: Path, arrays: Arrays, dtype: str) -> None:
    path = save(tmp_path / "weights.npz", {k: v.astype(dtype) for k, v in arrays.items()})
    module = build("lenet5")
    load_weights(module, path)
    for name, value in module.state_dict().items():
        assert np.array_equal(value.numpy(), arrays[name])


def test_counters_of_batch_norm_are_optional(tmp_path: Path) -> None:
    state = {name: value.numpy() for name, value in build("resnet20", seed=5).state_dict().items()}
    bare = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    assert len(bare) < len(state)
    for index, given in enumerate((state, bare)):
        module = build("resnet20")
        load_weights(module, save(tmp_path / f"{index}.npz", given))
        assert np.array_equal(module.state_dict()["linear.weight"].numpy(), state["linear.weight"])


def test_missing_and_unexpected_names(tmp_path: Path, arrays: Arrays) -> None:
    arrays["module.fc3.weight"] = arrays.pop("fc3.weight")
    path = save(tmp_path / "weights.npz", arrays)
    assert refusal(path) == (
        f"{path}: not the weights of this network: missing fc3.weight; unexpected module.fc3.weight"
    )


def test_many_wrong_names_are_shortened(tmp_path: Path, arrays: Arrays) -> None:
    path = save(tmp_path / "weights.npz", {f"net.{k}": v for k, v in arrays.items()})
    assert "missing conv1.weight, conv1.bias, conv2.weight, conv2.bias and 6 more" in refusal(path)


def test_wrong_shape(tmp_path: Path, arrays: Arrays) -> None:
    arrays["conv1.weight"] = arrays["conv1.weight"][:, :, 1:, :]
    path = save(tmp_path / "weights.npz", arrays)
    assert refusal(path) == (
        f"{path}: conv1.weight has shape (6, 3, 4, 5), required is (6, 3, 5, 5)"
    )


def test_integers_are_not_weights(tmp_path: Path, arrays: Arrays) -> None:
    arrays["fc3.bias"] = arrays["fc3.bias"].astype(np.int64)
    path = save(tmp_path / "weights.npz", arrays)
    assert refusal(path) == f"{path}: fc3.bias holds int64, required are floats"


def test_an_array_that_claims_to_be_huge_is_not_unpacked(tmp_path: Path, arrays: Arrays) -> None:
    path = tmp_path / "weights.npz"
    with zipfile.ZipFile(save(tmp_path / "whole.npz", arrays)) as whole:
        members = {name: whole.read(name) for name in whole.namelist()}
    header = members["conv1.bias.npy"]
    members["conv1.bias.npy"] = header.replace(b"(6,), ", b"(9999999999999,), ")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert refusal(path) == (f"{path}: conv1.bias has shape (9999999999999,), required is (6,)")


def test_pickled_arrays_are_refused(tmp_path: Path, arrays: Arrays) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tmp_path / "ran",)

    trap = np.empty(10, dtype=object)
    trap[:] = [Trap() for _ in range(10)]
    arrays["fc3.bias"] = trap
    path = save(tmp_path / "weights.npz", arrays)
    assert refusal(path) == f"{path}: fc3.bias holds object, required are floats"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["weights.h5", "weights.pkl", "weights"])
def test_other_kinds_of_files_are_refused_unread(tmp_path: Path, name: str) -> None:
    message = refusal(tmp_path / name)  # does not exist: it is not opened
    assert message.startswith(f"{tmp_path / name}: weights are read from .npz, .safetensors")


def test_missing_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no.npz") == f"{tmp_path / 'no.npz'}: no such file"


@pytest.mark.parametrize("content", ["empty", "text", "array", "truncated", "damaged", "other zip"])
def test_damaged_files(tmp_path: Path, arrays: Arrays, content: str) -> None:
    path = tmp_path / "weights.npz"
    whole = save(tmp_path / "whole.npz", arrays).read_bytes()
    match content:
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("weights")
        case "array":
            with path.open("wb") as file:
                np.save(file, arrays["fc3.bias"])
        case "truncated":
            path.write_bytes(whole[: len(whole) // 2])
        case "damaged":
            path.write_bytes(whole[:2000] + bytes(4000) + whole[6000:])
        case _:
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("readme.txt", "nothing")
    message = refusal(path)
    assert str(path) in message
    assert "\n" not in message


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "weights.npz").mkdir()
    assert "not a readable .npz file" in refusal(tmp_path / "weights.npz")
