"""The backend of torch.compile: what is replaced, what runs as it is, and what is said of it."""

import importlib.metadata
import threading
import tomllib
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from mlcnn.api import dynamo
from mlcnn.api.dynamo import backend
from mlcnn.api.fx_graphs import is_worth_it

ROOT = Path(__file__).parents[2]
# What torch warns of itself when its compiler is imported.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:`torch\.jit\.:DeprecationWarning", r"ignore:.*LeafSpec:FutureWarning"
)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """No graph of another test, and nothing said yet."""
    torch._dynamo.reset()
    monkeypatch.setattr(dynamo, "_told", set())


@pytest.fixture
def made(monkeypatch):
    """Networks that were made."""
    found, original = [], dynamo.in_engine

    def counted(*arguments):
        found.append(original(*arguments))
        return found[-1]

    monkeypatch.setattr(dynamo, "in_engine", counted)
    return found


def compiled(function, **options):
    return torch.compile(
        function, backend=backend, options={"threads": 1, "check": False, **options}
    )


def agree(expected, found):
    return torch.allclose(found, expected, rtol=1e-4, atol=1e-5)


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten()
    ).eval()


def images(batch=2, size=8):
    return torch.randn(batch, 2, size, size)


def test_another_batch_is_no_new_network_and_another_size_is(made):
    module = net()
    fast = compiled(module)
    with torch.no_grad():
        for batch in (2, 3, 8, 1):
            x = images(batch)
            assert agree(module(x), fast(x))
        assert len(made) == 1
        x = images(2, 11)
        assert agree(module(x), fast(x))
    assert len(made) == 2


def test_weights_that_change_are_seen(made):
    module, x = net(), images()
    fast = compiled(module, engine="onnxruntime")
    with torch.no_grad():
        fast(x)
        module[0].bias.add_(1)
        assert agree(module(x), fast(x))
        module.train()
        module(x)  # torch does not count what this does to the statistics
        module.eval()
        assert agree(module(x), fast(x))
    assert len(made) == 3


def trained_twice(fast, x):
    for _ in range(2):
        fast(x).sum().backward()


def test_gradients_are_pytorch_s(made):
    module, x = net(), images()
    fast = compiled(module)
    with pytest.warns(UserWarning, match="gradients are asked for, .* torch.no_grad") as told:
        trained_twice(fast, x)
    assert len(told) == 1
    assert module[0].weight.grad is not None
    assert not made


def test_inference_inside_of_a_function_is_replaced(made):
    module, x = net(), images()

    def whole(x):
        with torch.no_grad():
            return module(x), x

    found, same = compiled(whole, engine="onnxruntime")(x)
    assert len(made) == 1
    assert agree(module(x), found)
    assert same is x


def test_training_is_pytorch_s_and_told_once(made):
    module = net().train()
    fast = compiled(module)
    with pytest.warns(UserWarning, match="in training mode .batch_norm., so PyTorch runs") as told:
        assert fast(images()).shape + fast(images(3)).shape == (2, 36, 3, 36)
    assert len(told) == 1
    assert not made


class Breaks(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList([nn.Conv2d(2, 2, 1) for _ in range(3)])

    def forward(self, x):
        x = self.parts[0](x)
        if x.sum() > 0:
            x = x + 1
        x = self.parts[1](x)
        if x.sum() > 0:
            x = x + 1
        return self.parts[2](x)


def test_a_module_that_breaks_everywhere_is_right_and_says_it_once(made):
    module, x = Breaks().eval(), images()
    fast = compiled(module, engine="onnxruntime")
    with torch.no_grad(), pytest.warns(UserWarning, match="the graph breaks") as told:
        assert agree(module(x), fast(x))
    assert len(told) == 1
    text = str(told[0].message)
    assert text.startswith(f"torch.compile with backend 'mlcnn': the graph breaks ({__file__}:")
    assert text.endswith(
        "control flow depends on the data; each piece is a network of its own, and nothing is "
        "rewritten across the break. torch.compile(fullgraph=True) shows it, or remove it"
    )
    assert len(made) == 3


def test_a_graph_with_nothing_to_gain_runs_as_it_is(made):
    fast = compiled(lambda x: x.relu() + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(fast(torch.zeros(2)), torch.ones(2))
    assert not made
    graph = torch.fx.symbolic_trace(lambda x, y: x @ y)
    assert is_worth_it(graph)


def changes(x):
    return torch.conv2d(x.add_(1), torch.ones(1, 2, 1, 1))


def draws(x):
    return torch.conv2d(x, torch.rand(1, 2, 1, 1))


def views(x):
    return torch.conv2d(x, torch.ones(1, 2, 1, 1)), x.flatten()


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (changes, "the graph changes an input or a buffer in place, which no network does"),
        (draws, "the graph draws random numbers, which no network does"),
        (views, "the graph returns a view of an input, which no network does"),
    ],
)
def test_what_no_network_does_runs_as_it_is(made, function, why):
    x = images()
    mine, theirs = x.clone(), x.clone()
    torch.manual_seed(1)
    expected = function(theirs)
    torch.manual_seed(1)
    with pytest.warns(UserWarning, match="this graph runs eagerly") as told:
        found = compiled(function)(mine)
    assert [str(item.message) for item in told] == [
        f"torch.compile with backend 'mlcnn': {why}; this graph runs eagerly"
    ]
    assert torch.equal(mine, theirs)
    assert all(map(torch.equal, found, expected))
    assert not made


def test_what_cannot_be_exported_runs_as_it_is(made):
    def odd(x):
        return torch.conv2d(x, torch.ones(1, 2, 1, 1)).frexp()[0]

    x = images()
    with pytest.warns(UserWarning, match="the compiled function: .*frexp.* graph runs eagerly"):
        found = compiled(odd)(x)
    assert torch.equal(found, odd(x))
    assert not made


def test_inputs_elsewhere_run_there(made):
    with pytest.warns(UserWarning, match="inputs are on device 'meta', and its engines run on"):
        found = compiled(net().to("meta"))(images().to("meta"))
    assert found.device.type == "meta"


def test_autocast_is_pytorch_s(made):
    fast, x = compiled(net()), images()
    with (
        torch.no_grad(),
        torch.autocast("cpu", dtype=torch.bfloat16),
        pytest.warns(UserWarning, match="called under torch.autocast, whose types its networks"),
    ):
        assert fast(x).dtype == torch.bfloat16
    assert not made


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (
            {"options": {"engin": "native"}},
            (
                "option 'engin': backend 'mlcnn' has none of this name; did you mean 'engine'? (it "
                "has engine, threads, check)"
            ),
        ),
        (
            {"options": {"engine": "opnvino"}},
            (
                "engine='opnvino': there is none; did you mean 'openvino'? (known: auto, measured, "
                "onnxruntime, openvino, native, torch, torch-compile)"
            ),
        ),
        (
            {"options": {"threads": "2"}},
            "option threads='2': int is required, got str",
        ),
        (
            {"mode": "max-autotune"},
            (
                "mode='max-autotune': backend 'mlcnn' has no modes; give options={'engine': ..., "
                "'threads': ...}"
            ),
        ),
    ],
)
def test_unknown_options_are_named(asked, told):
    fast = torch.compile(net(), backend=backend, **asked)
    with pytest.raises(torch._dynamo.exc.BackendCompilerFailed) as caught:
        fast(images())
    assert f"InputError: {told}\n" in str(caught.value)


def test_eight_threads_get_what_is_theirs(made):
    module = net()
    fast = compiled(module)
    inputs = [images(1 + index % 2) for index in range(8)]
    with torch.no_grad():
        expected = [module(x) for x in inputs]
    wrong, start = [], threading.Barrier(8)

    def work(index):
        start.wait()
        with torch.no_grad():
            found = [fast(inputs[index]) for _ in range(40)]
        wrong.extend(not agree(expected[index], item) for item in found)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [False] * 320
    assert len(made) == 1


def test_torch_finds_the_backend_by_its_name():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    points = declared["project"]["entry-points"]["torch_dynamo_backends"]
    assert points == {"mlcnn": "mlcnn.api.dynamo:backend"}
    installed = importlib.metadata.entry_points(group="torch_dynamo_backends", name="mlcnn")
    for point in installed:  # none where the package was installed before it had the backend
        assert point.load() is backend
        assert "mlcnn" in torch._dynamo.list_backends()
