"""Methods stacked: every pair goes together as its parts say, or is refused with a reason."""

from itertools import combinations

import numpy as np
import onnxruntime
import pytest
import torch
from api.stripes import CLASSES, SIZE, stripes
from onnxruntime.capi import onnxruntime_pybind11_state
from torch import nn

import mlcnn
from mlcnn import training
from mlcnn.api.benchmarking import fixed_batch
from mlcnn.api.stacking import KINDS, Lab, Stack, run
from mlcnn.api.training import TrainOptions
from mlcnn.engines import get
from mlcnn.errors import InputError, UnsupportedError
from mlcnn.frontier.stacks import Aspect, refusal
from mlcnn.graph import constant, load_file, save
from mlcnn.training import Recipe
from mlcnn.training.images import ImageSet
from mlcnn.workload import DENSE, read

_RECIPE = {"batch_size": 64, "crop": 0, "flip": False}
_WITH = {Aspect.IMAGES: "{max-drop=60}"}
_ENGINES = ("onnxruntime", "native", "openvino")


class Net(nn.Module):
    """Two layers with max pools behind them, the first with a norm, and one without."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 16, 3, padding=1)
        self.third = nn.Conv2d(16, 16, 3, padding=1)
        self.line = nn.Linear(16, CLASSES)

    def forward(self, x):
        x = torch.max_pool2d(torch.relu(self.norm(self.first(x))), 2)
        x = torch.max_pool2d(torch.relu(self.second(x)), 2)
        return self.line(torch.relu(self.third(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def lab():
    images, labels = stripes(1600)
    parts = [
        ImageSet(name, images[begin:end], labels[begin:end], CLASSES)
        for name, begin, end in (
            ("training", 0, 600), ("calibration", 600, 700), ("validation", 700, 1200),
            ("test", 1200, 1600),
        )
    ]  # fmt: skip
    data = training.Data("stripes", *parts)
    torch.manual_seed(0)
    module, recipe = Net(), Recipe(epochs=8, learning_rate=0.05, **_RECIPE)
    training.train(module, data.training, recipe, normal=training.Normal())
    model = mlcnn.load(module.eval(), torch.zeros(2, 1, SIZE, SIZE))
    options = TrainOptions(recipe=Recipe(epochs=1, learning_rate=0.01, **_RECIPE))
    return Lab(model, data, training.Normal(), options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where pairs find what their first step came to."""
    return tmp_path_factory.mktemp("stacks")


def _pairs():
    for first, second in combinations(KINDS.values(), 2):
        if first.aspect < second.aspect and refusal(first, second) is None:
            marks = [pytest.mark.long] if second.aspect is Aspect.IMAGES else []
            yield pytest.param(first, second, marks=marks, id=f"{first.name}-{second.name}")


def _zeros(model):
    """Share of the weights of convolutions, or of their codes, that are zero."""
    weights = []
    for node in model.graph.all_nodes():
        if node.op_type == "Conv":
            maker = node.inputs[1].producer()
            weights.append(constant(node.inputs[1] if maker is None else maker.inputs[0]))
    return np.mean(np.concatenate([w.ravel() for w in weights if w is not None]) == 0)


def _is_there(kind, model, original):
    """Whether a network has what a step of that aspect leaves in it."""
    layers, before = read(model, batch=1).every, read(original, batch=1).every
    kinds = {node.op_type for node in model.graph.all_nodes()}
    match kind.aspect:
        case Aspect.POOLS:
            return "MaxPool" not in kinds
        case Aspect.CHANNELS:
            return sum(la.nest.K for la in layers) < sum(la.nest.K for la in before)
        case Aspect.WEIGHTS:
            return any(la.weights != DENSE for la in layers) or _zeros(model) > 0.4
        case Aspect.NUMBERS:
            return any(la.numbers.weight < 32 for la in layers)
        case Aspect.FORMS:
            return "BatchNormalization" not in kinds and not model.functions
        case Aspect.IMAGES:
            chosen = any(la.positions or la.condition for la in layers)
            return chosen or bool(kinds & {"If", "TopK"})


def _outputs(model, images, engine):
    """Scores; None where the engine does not run the network."""
    (name,) = (value.name for value in model.graph.inputs)
    size = fixed_batch(model) or len(images)
    try:
        session = get(engine).prepare(model)
        batches = np.split(images, len(images) // size)
        runs = [session.run({name: batch}) for batch in batches]
    except UnsupportedError:
        return None
    return np.concatenate([next(iter(found.values())) for found in runs])


@pytest.mark.parametrize(("first", "second"), [*_pairs()])
def test_a_pair_has_both_and_engines_agree(  # noqa: PLR0917 - fixtures
    first, second, lab, folder, tmp_path, monkeypatch
):
    coded, by_image = (
        Aspect.NUMBERS in {first.aspect, second.aspect},
        second.aspect is Aspect.IMAGES,
    )
    if coded and by_image:  # ONNX Runtime fails to load such branches where it is to be exact
        monkeypatch.setattr(
            onnxruntime, "SessionOptions", onnxruntime_pybind11_state.SessionOptions
        )
    text = ",".join(kind.name + _WITH.get(kind.aspect, "") for kind in (first, second))
    if (first.name, second.name) == ("block-circulant", "select"):  # blocks, not channels
        with pytest.raises(InputError, match="no convolution whose channels could be left"):
            run(Stack.parse(text), lab, folder)
        return
    model = run(Stack.parse(text), lab, folder)
    save(model, tmp_path / "stack.onnx")
    saved = load_file(tmp_path / "stack.onnx")
    assert _is_there(first, run(Stack.parse(first.name), lab, folder), lab.original)
    assert _is_there(second, saved, lab.original)
    images = lab.normal.apply(lab.data.test.images[:50])
    found = {engine: _outputs(saved, images, engine) for engine in _ENGINES}
    found["in memory"] = _outputs(model, images, "native")
    ran = {name: scores for name, scores in found.items() if scores is not None}
    # Chosen channels have kernels in one engine alone.
    assert second.name == "select" or len(ran) > 1, found
    expected = next(iter(ran.values()))
    for name, scores in ran.items():
        if coded and by_image:  # sums may saturate, and OpenVINO rounds what heads read, too
            same = (scores.argmax(1) == expected.argmax(1)).mean()
            assert same >= (0.8 if name == "openvino" else 0.9), name
            continue
        # A code may fall on the other side of a half, and an image on that of a threshold.
        apart = np.abs(scores - expected).max(1) / np.abs(expected).max()
        assert (apart > (0.05 if coded else 1e-4)).mean() <= 0.02, name


def test_a_stack_is_found_again_by_one_that_begins_alike(lab, tmp_path):
    run(Stack.parse("channels{share=0.5}"), lab, tmp_path)
    (kept,) = tmp_path.glob("*.onnx")
    stamp = kept.stat().st_mtime_ns
    run(Stack.parse("channels{share=0.5},exact"), lab, tmp_path)
    assert kept.stat().st_mtime_ns == stamp
    assert len([*tmp_path.glob("*.onnx")]) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "int8,channels",
            (
                "channels goes before int8: structures of weights are made of the channels that "
                "stay; exchange them"
            ),
        ),
        (
            "weights,shared-kernels",
            (
                "weights and shared-kernels do not go together: a layer's weights have one "
                "structure; leave one of them out"
            ),
        ),
        ("int8,int8", "int8 stands there twice; leave one of them out"),
        (
            "int8,focus",
            (
                "int8 and focus do not go together: masks choose positions of layers in floats, "
                "and no kernel computes codes at some; leave one of them out"
            ),
        ),
        (
            "chanels",
            "--steps: unknown method 'chanels'; did you mean 'channels'?; known: "
            + ", ".join(KINDS),
        ),
        (
            "channels{part=0.5}",
            "--steps: channels has no value 'part'; did you mean 'share'?; its values: share",
        ),
        (
            "channels{share=2}",
            "--steps: channels: share=2: a number from 0.01 to 1 is required",
        ),
        (
            "bits{bits=few}",
            "--steps: bits: bits=few: a number from 1 to 8 is required",
        ),
        ("channels{share=0.5", "--steps: missing '}' after 'channels{share=0.5'"),
    ],
)
def test_what_does_not_go_is_told_before_anything_runs(text, message):
    with pytest.raises(InputError) as told:
        Stack.parse(text)
    assert str(told.value) == message


def test_text_replays():
    text = "average-pools,channels{share=0.25},int8,exits{max-drop=2}"
    assert Stack.parse(text).text == text
