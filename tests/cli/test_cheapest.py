"""``mlcnn cheapest`` on networks without images, and with what it cannot use."""

from pathlib import Path

import pytest
import torch
from torch import nn

import mlcnn as package


class Mixer(nn.Module):
    """Patches, then dense layers over patches and channels."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 4, 4)
        self.over, self.back = nn.Linear(64, 128), nn.Linear(128, 64)
        self.inner, self.outer = nn.Linear(32, 64), nn.Linear(64, 32)
        self.line = nn.Linear(32, 10)

    def forward(self, x):
        x = self.patches(x).flatten(2)
        x = x + self.back(torch.relu(self.over(x)))
        x = x.transpose(1, 2)
        x = x + self.outer(torch.relu(self.inner(x)))
        return self.line(x.mean(1))


class Pointwise(nn.Module):
    """1x1 convolutions alone."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 10, 1)

    def forward(self, x):
        return self.second(torch.relu(self.first(x))).amax((2, 3))


def _saved(module, path):
    torch.manual_seed(0)
    model = package.load(module.eval(), torch.zeros(1, 3, 32, 32))
    package.graph.save(model, Path(path))


@pytest.mark.parametrize("module", [Mixer, Pointwise])
def test_nothing_to_gain_is_said(mlcnn, module):
    _saved(module(), "net.onnx")
    result = mlcnn("cheapest", "net.onnx", "--objective", "size", "--json")
    assert result.code == 0, result.err
    assert result.json["best"] == 0
    assert result.json["pipeline"] == ""
    nothing = "exact passes find nothing to gain in this network"
    assert nothing in result.json["notes"]
    assert "without images there is nothing to gain in this network" in result.json["notes"]
    assert nothing in result.err
    assert result.json["dropped"]["int8"] == "it needs labelled images: give --data"
    assert Path("runs/net-cheapest/net.onnx").exists()


def test_without_images_the_same_network_is_run_better(mlcnn):
    """The average pool behind the first convolution is fused: a quarter of its products is left."""
    _saved(
        nn.Sequential(
            nn.Conv2d(3, 16, 5, padding=2), nn.AvgPool2d(2), nn.ReLU(), nn.Conv2d(16, 10, 16),
            nn.Flatten(),
        ),
        "net.onnx",
    )  # fmt: skip
    command = ("cheapest", "net.onnx", "--objective", "energy", "--on", "mlcnn-fp32", "--json")
    points = mlcnn(*command).json["points"]
    assert [point["what"] for point in points] == ["original", "exact"]
    assert points[1]["energy_pj"] < 0.8 * points[0]["energy_pj"]
    assert points[0]["accuracy"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--methods", "int8,exits"),
            (
                "--methods int8,exits: each of them needs labelled images; give --data, or leave "
                "--methods away"
            ),
        ),
        (("--budget", "soon"), "--budget soon: a positive time is required, as 60s, 500ms or 2m"),
        (("--objective", "energy", "--on", "mlcnn-int9"), "mlcnn-int9"),
        (("--data", "nowhere"), "nowhere"),
    ],
)
def test_bad_input_is_one_line(mlcnn, options, message):
    result = mlcnn("cheapest", "lenet5", *options)
    assert result.code == 2
    assert message in result.error
    assert not Path("runs").exists()


def test_a_dynamic_network_says_what_it_was_made_from(mlcnn, photos):
    made = mlcnn("skip", "lenet5", "--data", photos, "--max-drop", "60", "-o", "exits.onnx",
                 "--no-measure")  # fmt: skip
    assert made.code == 0, made.err
    result = mlcnn("cheapest", "exits.onnx", "--data", photos)
    assert result.code == 2
    assert result.error.endswith(
        "what runs of the network depends on the image already; give the network that it was made "
        "from; of this one, mlcnn bench --data finds the engine in which its images are fastest"
    )


def test_a_quantised_network_keeps_the_methods_that_go_with_it(mlcnn, photos):
    made = mlcnn("quantize", "lenet5", "--data", photos, "-o", "codes.onnx", "--no-sensitivity")
    assert made.code == 0, made.err
    result = mlcnn("cheapest", "codes.onnx", "--data", photos, "--objective", "size",
                   "--methods", "channels")  # fmt: skip
    assert result.code == 2
    assert "the network is quantised already; none of --methods channels goes with that" in (
        result.error
    )
