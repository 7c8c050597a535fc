"""The embedded LeNet-5: what it reaches, and that its training can be repeated."""

import numpy as np
import pytest
import torch

from mlcnn import zoo
from mlcnn.errors import InputError
from mlcnn.nn import to_module
from mlcnn.training import accuracy, load_sample
from mlcnn.training.lenet5 import fresh_module, main, networks


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


@pytest.mark.parametrize(("name", "expected"), [("lenet5", 72.46), ("lenet5-reordered", 69.47)])
def test_embedded_weights_classify_the_sample(both, name, expected):
    """Within three standard errors (2 per cent) of the accuracy on the whole test set."""
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

    assert 100 * accuracy(predict, images, sample.labels) == pytest.approx(expected, abs=6)


def test_the_reordered_network_pools_before_it_activates(both):
    order = {name: [node.op_type for node in model.graph][:3] for name, model in both.items()}
    assert order["lenet5"] == ["Conv", "Relu", "MaxPool"]
    assert order["lenet5-reordered"] == ["Conv", "AveragePool", "Relu"]


def test_both_start_from_the_same_weights(both):
    states = [fresh_module(model, 3).state_dict() for model in both.values()]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    other = fresh_module(both["lenet5"], 4).state_dict()
    assert not torch.equal(states[0]["conv1.weight"], other["conv1.weight"])


def test_the_command_reports_bad_input_in_one_line(tmp_path, capsys):
    assert main(["--data", str(tmp_path), "--output", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.endswith("create it or name another with --output\n")
    assert main(["--data", str(tmp_path), "--output", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
