"""The embedded LeNet-5: what it reaches, and that its training can be repeated."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from mlcnn import zoo
from mlcnn.errors import InputError
from mlcnn.nn import to_module
from mlcnn.training import Normal, accuracy, load_sample, train
from mlcnn.training import formats as formats_module
from mlcnn.training import lenet5 as lenet5_module
from mlcnn.training.lenet5 import RECIPE, best_seed, fresh_module, main, networks


@pytest.fixture(scope="module")
def both():
    return networks()


def test_the_sample():
    sample = load_sample()
    assert sample.images.shape == (500, 3, 32, 32)
    # Test images 0 to 9 of CIFAR-10: cat, ship, ship, airplane, frog, frog, automobile, ...
    assert sample.labels[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    with pytest.raises(InputError, match="no sample of 'mnist'"):
        load_sample("mnist")


@pytest.mark.parametrize(("name", "expected"), [("lenet5", 78.8), ("lenet5-reordered", 70.4)])
def test_embedded_weights_classify_the_sample(both, name, expected):
    """As a forward pass written in NumPy does, but for an image or two on the border."""
    entry = zoo.describe("lenet5")
    path = entry.weights if name == "lenet5" else entry.reordered_weights
    assert path is not None
    module = to_module(both[name])
    zoo.load_weights(module, path)
    sample = load_sample()
    images = sample.normalised(entry.normalisation.mean, entry.normalisation.std)

    def predict(batch: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return module(torch.from_numpy(batch)).numpy()

    assert 100 * accuracy(predict, images, sample.labels) == pytest.approx(expected, abs=0.5)


def test_the_reordered_network_pools_before_it_activates(both):
    order = {name: [node.op_type for node in model.graph][:3] for name, model in both.items()}
    assert order["lenet5"] == ["Conv", "Relu", "MaxPool"]
    assert order["lenet5-reordered"] == ["Conv", "AveragePool", "Relu"]


def test_both_start_from_the_same_weights(both):
    states = [fresh_module(model, 3).state_dict() for model in both.values()]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    other = fresh_module(both["lenet5"], 4).state_dict()
    assert not torch.equal(states[0]["conv1.weight"], other["conv1.weight"])


def test_dense_layers_start_as_torch_does_and_convolutions_four_times_as_wide(both):
    state = fresh_module(both["lenet5-reordered"], 3).state_dict()
    for name, inputs, gain in (("conv1", 75, 4), ("conv2", 150, 4), ("fc1", 400, 1)):
        # torch: uniform up to 1/sqrt(inputs); of 450 and more values one comes near the end.
        widest = float(state[f"{name}.weight"].abs().max()) * inputs**0.5
        assert 0.95 * gain < widest <= gain


@pytest.mark.parametrize(("correct", "seed"), [([3, 9, 9, 1], 1), ([5], 0), ([0, 0], 0)])
def test_the_seed_with_most_held_out_images_is_kept(correct, seed):
    assert best_seed(correct) == seed


def write_cifar(folder, train, test):
    """CIFAR-10's files in small: records of a label and 3,072 bytes, by their loader's layout."""
    generator = np.random.default_rng(3)
    for count, names in (
        (train, [f"data_batch_{i}.bin" for i in range(1, 6)]),
        (test, ["test_batch.bin"]),
    ):
        for name in names:
            records = generator.integers(0, 256, (count, 3073), dtype=np.uint8)
            records[:, 0] %= 10
            (folder / name).write_bytes(records.tobytes())


@pytest.fixture
def small_cifar(tmp_path, monkeypatch, both):
    layout = replace(formats_module._CIFAR["cifar10"], records={"train": 20, "test": 30})
    monkeypatch.setitem(formats_module._CIFAR, "cifar10", layout)
    monkeypatch.setattr(lenet5_module, "HELD_OUT", 40)
    monkeypatch.setattr(lenet5_module, "networks", lambda: both)
    write_cifar(tmp_path, 20, 30)
    return tmp_path


def test_the_command_keeps_the_seed_that_the_held_out_images_choose(small_cifar, capsys):
    """Judged again here: each run is trained by the loop, its images counted by hand."""
    arguments = ["--data", str(small_cifar), "--output", str(small_cifar)]
    arguments += ["--epochs", "2", "--seeds", "3"]
    assert main(arguments) == 0
    record = json.loads((small_cifar / "lenet5-tested.json").read_text())
    assert json.loads(capsys.readouterr().out) == record
    training = formats_module.load_dataset("cifar10", small_cifar, "train")
    test = formats_module.load_dataset("cifar10", small_cifar, "test")
    recipe = replace(RECIPE, epochs=2)
    constants = zoo.describe("lenet5").normalisation
    normal = Normal(constants.mean, constants.std)
    for name, model in lenet5_module.networks().items():
        key = "reordered" if name.endswith("reordered") else "original"
        held_out, states, tested = [], [], []
        for seed in range(3):
            module = fresh_module(model, seed)
            train(module, training.first(60), recipe, normal=normal, seed=seed)
            right = [
                sum(
                    int(module(torch.from_numpy(image[None])).argmax()) == label
                    for image, label in zip(pixels, labels, strict=True)
                )
                for pixels, labels in (
                    (normal.apply(training.images)[60:], training.labels[60:]),
                    (normal.apply(test.images), test.labels),
                )
            ]
            held_out.append(right[0])
            tested.append(right[1])
            states.append(module.state_dict())
        runs = record[f"{key}_runs"]
        assert [run["held_out"] for run in runs] == pytest.approx([n / 40 for n in held_out])
        assert [run["test"] for run in runs] == pytest.approx([n / 30 for n in tested])
        kept = held_out.index(max(held_out))
        assert record[key] == tested[kept]
        with np.load(small_cifar / f"{name}.npz") as arrays:
            for parameter, value in states[kept].items():
                assert np.array_equal(arrays[parameter], value.numpy())
    assert not list(small_cifar.glob("*.checkpoint.npz"))


def test_a_record_whose_counts_disagree_is_refused():
    with pytest.raises(ValueError, match="both networks classify correctly disagree"):
        zoo.TestedPair("any", 10, original=7, reordered=6, only_original=2, only_reordered=2)


def test_the_command_reports_bad_input_in_one_line(tmp_path, capsys):
    assert main(["--data", str(tmp_path), "--output", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.endswith("create it or name another with --output\n")
    assert main(["--data", str(tmp_path), "--output", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    folder = ["--data", str(tmp_path), "--output", str(tmp_path)]
    assert main([*folder, "--seeds", "0"]) == 2
    assert capsys.readouterr().err.startswith("--seeds 0: at least 1 run of each network")
    assert main([*folder, "--device", "abacus"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("--device abacus: torch has no such device here (")
    assert captured.err.count("\n") == 1
