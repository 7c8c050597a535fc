"""A method that no part of mlcnn knows: on every road that the built-in one takes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

import mlcnn
from mlcnn import counting
from mlcnn.api.evaluation import for_machines
from mlcnn.errors import InputError, UnsupportedError
from mlcnn.graph import load_file, save
from mlcnn.nn import to_module, write_weights
from mlcnn.ops import methods
from mlcnn.passes import KEEP, Choice, pipeline
from mlcnn.workload import read

pytestmark = pytest.mark.usefixtures("paired")


def network() -> nn.Module:
    """Two convolutions whose filters are paired already; a pool stands behind the second."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.AvgPool2d(2), nn.ReLU(),
        nn.Flatten(), nn.Linear(6 * 9, 5),
    )  # fmt: skip
    with torch.no_grad():
        for index in (0, 2):
            weight = module[index].weight
            half = len(weight) // 2
            factors = torch.linspace(-2, 2, half)[:, None, None, None]
            weight[half:] = weight[:half] * factors
    return module.eval()


EXAMPLE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
# Filters, products of a filter, positions.
FIRST, SECOND = (8, 27, 64), (6, 72, 36)
LINEAR = 6 * 9 * 5
NO_PASSES = mlcnn.RewriteOptions(passes="")


@pytest.fixture(scope="module")
def original() -> onnx.ModelProto:
    return mlcnn.graph.to_proto(mlcnn.load(network(), EXAMPLE))


def rewritten(original: onnx.ModelProto, passes: str) -> mlcnn.Optimized:
    return mlcnn.optimize(original, passes=passes)


def halved(layer: tuple[int, int, int]) -> int:
    """Products of half the filters, and one for each output of the other half."""
    filters, products, positions = layer
    return filters // 2 * positions * (products + 1)


def dense(layer: tuple[int, int, int]) -> int:
    filters, products, positions = layer
    return filters * products * positions


def run(path: Path) -> np.ndarray:
    session = ort.InferenceSession(str(path))
    name = session.get_inputs()[0].name
    return session.run(None, {name: EXAMPLE.numpy()})[0]


def test_it_is_known() -> None:
    assert [form.name for form in methods()["paired"].forms] == ["paired-halves", "paired-dense"]
    assert "pair" in pipeline.pass_names()


@pytest.mark.parametrize(
    "passes", ["pair", "pair,choose", "pair,fuse{form=box}", "fuse{form=box},pair"]
)
@pytest.mark.parametrize("functions", [True, False])
def test_every_reader_says_the_same(
    original: onnx.ModelProto, tmp_path: Path, passes: str, *, functions: bool
) -> None:
    optimized = rewritten(original, passes)
    path = tmp_path / "net.onnx"
    optimized.save(path, functions=functions)
    onnx.checker.check_model(str(path), full_check=True)
    with torch.no_grad():
        expected = network()(EXAMPLE).numpy()
    np.testing.assert_allclose(run(path), expected, atol=1e-5)
    loaded = load_file(path)
    for one, other in zip(read(optimized.model).layers, read(loaded).layers, strict=True):
        assert one == other
    assert counting.count(loaded).to_json()["total"] == optimized.counts().to_json()["total"]
    costs = [mlcnn.evaluate(optimized), mlcnn.evaluate(path, NO_PASSES)]
    assert costs[0].to_json() == costs[1].to_json()


def test_what_is_executed_is_counted(original: onnx.ModelProto) -> None:
    rows = rewritten(original, "pair,choose{form=paired-halves}").counts().layers
    assert [(row.name, row.form, row.weights) for row in rows] == [
        ("0", "paired-halves", "paired"), ("2", "paired-halves", "paired"), ("6", None, "dense"),
    ]  # fmt: skip
    assert [row.chosen.multiplications for row in rows] == [halved(FIRST), halved(SECOND), LINEAR]
    assert [row.before.multiplications for row in rows] == [dense(FIRST), dense(SECOND), LINEAR]
    # 4 filters, as many factors, 8 biases.
    assert [item.parameters for item in rows[0].stored] == [8 * 27 + 8, 4 * 27 + 4 + 8]


def test_it_stacks_with_the_pool(original: onnx.ModelProto) -> None:
    optimized = rewritten(original, "pair{exclude=0},fuse{form=box}")
    layer = read(optimized.model).layers[1]
    assert (layer.form, str(layer.weights)) == ("box", "paired")
    assert layer.pool is not None
    # Three filters at nine pooled positions are left of six at 36.
    assert [part.macs for part in layer.parts] == [3 * 72 * 9]
    refused = rewritten(original, "pair,fuse{form=expanded}").skipped
    assert [item.reason for item in refused if item.pass_name == "fuse"] == [
        "form expanded does not apply: the weights are paired: this form needs every one by itself"
    ]


def test_a_norm_does_not_destroy_it() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)).eval()
    model = mlcnn.load(module, EXAMPLE)
    result = pipeline.run(model, pipeline.parse("pair,choose{form=paired-dense},fold-batch-norm"))
    (left,) = (item for item in result.skipped if item.pass_name == "fold-batch-norm")
    assert (
        left.reason == "a factor per output channel would destroy its weights' structure (paired)"
    )


def test_only_its_own_weights_train(original: onnx.ModelProto) -> None:
    model = rewritten(original, "pair").model
    module = to_module(model).train()
    shapes = {name: tuple(value.shape) for name, value in module.named_parameters()}
    assert shapes == {
        "0.weight": (4, 3, 3, 3), "0.scale": (4, 1, 1), "0.bias": (8, 1, 1),
        "2.weight": (3, 8, 3, 3), "2.scale": (3, 1, 1), "2.bias": (6, 1, 1),
        "6.weight": (5, 54), "6.bias": (5,),
    }  # fmt: skip
    with torch.no_grad():
        torch.testing.assert_close(module(EXAMPLE), network()(EXAMPLE), atol=1e-5, rtol=1e-4)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    module(EXAMPLE).square().mean().backward()
    assert all(value.grad is not None and value.grad.any() for value in module.parameters())
    optimizer.step()
    trained = write_weights(module, model)
    with torch.no_grad():
        expected = module.eval()(EXAMPLE)
        torch.testing.assert_close(to_module(trained)(EXAMPLE), expected)
    assert str(read(trained).layers[0].weights) == "paired"


def test_weights_that_would_not_train_are_named(original: onnx.ModelProto) -> None:
    model = rewritten(original, "pair,choose{form=paired-halves}").model
    with pytest.raises(UnsupportedError, match=r"its weight .0\.scale. would get no gradient"):
        to_module(model)


class _Timed:
    """A chooser that runs every candidate, as one by measurement does.

    Attributes:
        plain: names of the layers that are as fast as they are.
    """

    def __init__(self, *plain: str) -> None:
        self.seen: list[tuple[str, ...]] = []
        self.plain = plain

    def choose(self, layer, candidates) -> Choice:
        self.seen.append(tuple(candidates))
        engine = mlcnn.engines.get("onnxruntime")
        for build in candidates.values():
            model = build()
            engine.prepare(model).run(mlcnn.engines.random_inputs(model))
        chosen = KEEP if layer.name in self.plain else "paired-dense"
        return Choice(chosen, "the test wants it")


def test_it_is_chosen_verified_and_replayed(original: onnx.ModelProto) -> None:
    chooser = _Timed()
    optimized = mlcnn.optimize(original, passes="pair,choose", chooser=chooser)
    # Each layer twice: whether it gains, and its form; a chooser that measures remembers.
    assert [{*names} for names in chooser.seen] == [{"keep", "paired-halves", "paired-dense"}] * 4
    assert [change.form for change in optimized.fused] == ["paired-dense"] * 2
    assert optimized.verification is not None
    assert {check.change.form for check in optimized.verification.sites} == {"paired-dense"}
    assert optimized.max_error <= 1e-12
    assert optimized.pipeline == "pair{layers=all},choose{forms=0=paired-dense+2=paired-dense}"
    again = mlcnn.optimize(original, passes=optimized.pipeline)
    assert mlcnn.graph.to_proto(again.model) == mlcnn.graph.to_proto(optimized.model)


def test_a_layer_that_would_not_gain_stays_dense(original: onnx.ModelProto) -> None:
    optimized = mlcnn.optimize(original, passes="pair,choose", chooser=_Timed("0"))
    assert [str(layer.weights) for layer in read(optimized.model).layers] == [
        "dense", "paired", "dense",
    ]  # fmt: skip
    told = {item.node: item.reason for item in optimized.skipped if item.pass_name == "pair"}
    assert told["0"] == "stays as it is, since it would not gain: the test wants it"
    assert optimized.pipeline == "pair{layers=all,exclude=0},choose{forms=2=paired-dense}"
    again = mlcnn.optimize(original, passes=optimized.pipeline)
    assert mlcnn.graph.to_proto(again.model) == mlcnn.graph.to_proto(optimized.model)


def test_what_it_lost_is_told(original: onnx.ModelProto) -> None:
    """Nothing where the filters were paired already."""
    assert rewritten(original, "pair").untrained() is None
    torch.manual_seed(0)
    other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
    told = mlcnn.optimize(other, EXAMPLE, passes="pair").untrained("other.onnx")
    assert told is not None
    assert "pair projected the weights of 2 layers" in told


def test_a_machine_runs_what_stands_there(original: onnx.ModelProto, tmp_path: Path) -> None:
    model = mlcnn.load(original)
    halves = for_machines(model, "pair,choose{form=paired-halves}")
    found = mlcnn.evaluate(halves, NO_PASSES, batch=1)
    # Of the convolutions, half of the filters; what scales the others is element-wise.
    halved_products = [4 * 27 * 64, 3 * 72 * 36, LINEAR]
    assert [row.cost.multiplications for row in found.layers] == halved_products
    save(halves, tmp_path / "net.onnx")
    again = mlcnn.evaluate(tmp_path / "net.onnx", NO_PASSES, batch=1)
    assert again.to_json() == found.to_json()


def test_its_options_are_typed(original: onnx.ModelProto) -> None:
    (small,) = pipeline.parse("pair{least=8}")
    assert small.least == 8
    assert pipeline.parse("pair{least=none}") == pipeline.parse("pair")
    with pytest.raises(InputError, match=r"pair: bad value 'few' for least"):
        pipeline.parse("pair{least=few}")
    settings = mlcnn.RewriteOptions(passes="pair,fuse", form="box", settings=("pair.least=8",))
    found = mlcnn.api.rewrite(mlcnn.load(original), "", settings)
    assert [change.nodes[0] for change in found.changes] == ["0", "2"]
    assert [change.form for change in found.changes] == [None, "box"]


def test_the_command_line(original: onnx.ModelProto, tmp_path: Path, paired: list[str]) -> None:
    onnx.save(original, tmp_path / "net.onnx")

    def call(*words: object) -> dict:
        code = f"import sys; sys.path[:0] = {paired!r}; "
        code += "from mlcnn.cli import main; sys.exit(main())"
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, words), "--json"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    passes = ("--passes", "pair,choose{form=paired-halves}")
    out = tmp_path / "out.onnx"
    call("optimize", tmp_path / "net.onnx", *passes, "--no-measure", "-o", out)
    expected = halved(FIRST) + halved(SECOND) + LINEAR
    for words in ((tmp_path / "net.onnx", *passes), (out, "--passes", "")):
        total = call("count", *words)["total"]
        assert total["chosen"]["multiplications"] == expected
        assert total["multiplications"]["original"] == dense(FIRST) + dense(SECOND) + LINEAR
    report = tmp_path / "run"
    call("run", tmp_path / "net.onnx", *passes, "--no-measure", "--output", report)
    assert "paired-halves" in (report / "report.html").read_text()
