"""What goes to other processes: the network as bytes, a lab that makes what this one makes."""

import pickle
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from api.stripes import CLASSES, SIZE, Net, stripes

import mlcnn
from mlcnn import training
from mlcnn.api import CheapestOptions
from mlcnn.api.searching.elsewhere import _About, _make, workers
from mlcnn.api.searching.trials import Here, Trial, attempt
from mlcnn.api.stacking import KINDS, Lab, Stack
from mlcnn.api.training import TrainOptions
from mlcnn.errors import InputError, UnsupportedError
from mlcnn.graph import to_proto
from mlcnn.training import Recipe
from mlcnn.training.images import ImageSet

INSTEAD = "or train in processes of this machine alone: --workers local --processes N"


@pytest.fixture(scope="module")
def lab():
    images, labels = stripes(500)
    parts = [
        ImageSet(name, images[begin:end], labels[begin:end], CLASSES)
        for name, begin, end in (
            ("training", 0, 200), ("calibration", 200, 300), ("validation", 300, 400),
            ("test", 400, 500),
        )
    ]  # fmt: skip
    torch.manual_seed(0)
    model = mlcnn.load(Net().eval(), torch.zeros(2, 1, SIZE, SIZE))
    options = TrainOptions(Recipe(epochs=1, batch_size=64, crop=0, flip=False))
    return Lab(model, training.Data("stripes", *parts), training.Normal(), options)


def there(lab, folder):
    """As it arrives in another process."""
    return pickle.loads(pickle.dumps(_About(lab, folder, torch.get_num_threads())))  # noqa: S301


def test_what_is_made_elsewhere_is_kept_under_the_same_name(lab, tmp_path):
    about = there(lab, tmp_path)
    assert about.lab.key("int8") == lab.key("int8")
    assert about.folder == tmp_path


@pytest.mark.parametrize("kept", [True, False])
def test_a_network_made_elsewhere_is_the_one_made_here(lab, tmp_path, kept):
    trial = Trial(Stack.parse("channels{share=0.5},int8"), 64)
    here = attempt(lab, trial, tmp_path / "here")
    sent = _make(there(lab, tmp_path if kept else None), (trial.stack.text, trial.images))
    assert sent.key == trial.key
    assert np.array_equal(sent.right, here.right)
    assert onnx.ModelProto.FromString(sent.model) == to_proto(here.model)


def test_a_trial_that_fails_elsewhere_says_why(lab, tmp_path):
    few = replace(lab, data=replace(lab.data, validation=lab.data.validation.first(10)))
    sent = _make(there(few, tmp_path), ("int8", 0))
    assert sent.model is None
    assert sent.why == attempt(few, Trial(Stack.parse("int8")), tmp_path).why != ""


def test_one_process_is_this_one(lab, tmp_path):
    with workers(CheapestOptions(), lab, tmp_path) as made:
        assert isinstance(made, Here)
        assert made.lab is lab


def test_every_setting_survives_as_text():
    for kind in KINDS.values():
        for values in kind.settings or (kind.values,):
            given = ",".join(f"{name}={value:g}" for name, value in values.items())
            (step,) = Stack.parse(f"{kind.name}{{{given}}}" if given else kind.name).steps
            assert step.values == {**kind.values, **values}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": "dask"}, "--workers dask: local or ray"),
        (
            {"address": "10.0.0.1:6379"},
            "--address 10.0.0.1:6379: it is of --workers ray; give that, too",
        ),
        (
            {"workers": "ray", "address": "auto", "processes": 2},
            (
                "--processes 2: they are of this machine, and the cluster at --address auto has "
                "its own; leave one of the two out"
            ),
        ),
        ({"processes": 0}, "--threads and --processes: 1 or more"),
    ],
)
def test_workers_that_cannot_be_had(options, message):
    with pytest.raises(InputError) as error:
        CheapestOptions(**options).require()
    assert str(error.value) == message


def test_ray_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UnsupportedError) as error:
        CheapestOptions(workers="ray").require()
    assert str(error.value) == (
        '--workers ray: the package ray is not installed; run pip install "mlcnn[ray]", ' + INSTEAD
    )
