"""A module that runs rewritten: what it gives, and when its weights, inputs and mode change."""

import copy
import pickle
import threading
import warnings

import pytest
import torch
from torch import nn

import mlcnn
from mlcnn import engines
from mlcnn.api import compiling
from mlcnn.errors import InputError, UnsupportedError


class Net(nn.Module):
    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.conv = nn.Conv2d(2, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.dense = nn.Linear(8, 3)

    def forward(self, x):
        x = torch.relu(self.norm(self.conv(x)))
        return self.dense(x.mean((2, 3)))


@pytest.fixture(scope="module")
def shared():
    module = Net().eval()
    return module, mlcnn.compile(module, torch.randn(1, 2, 10, 10), threads=1, check=False)


@pytest.fixture
def pair(shared):
    """A module and what it was compiled to, to be changed."""
    fast = copy.deepcopy(shared[1])
    return fast.original, fast


def agree(module, fast, x):
    with torch.no_grad():
        return torch.allclose(fast(x), module(x), rtol=1e-4, atol=1e-5)


def images(batch=2, size=10):
    return torch.randn(batch, 2, size, size)


def test_every_batch_and_size_is_right(pair):
    module, fast = pair
    for batch in (1, 8, 3):
        assert agree(module, fast, images(batch))
    assert len(fast.networks) == 1


def test_another_size_is_another_network(pair):
    module, fast = pair
    assert agree(module, fast, images(2, 13))
    assert agree(module, fast, images(5, 13))
    assert len(fast.networks) == 2


def test_what_runs_is_the_rewritten_network(shared):
    (network,) = shared[1].networks
    assert not any(node.op_type == "BatchNormalization" for node in network.model.graph)
    assert network.engine == ("native" if "native" in engines.available() else "onnxruntime")


def test_channels_last_and_strided_inputs_are_right(pair):
    module, fast = pair
    assert agree(module, fast, images(4).to(memory_format=torch.channels_last))
    assert agree(module, fast, images(8)[::2])


def changed_in_place(module):
    with torch.no_grad():
        module.dense.bias.add_(1)


def test_changed_weights_are_seen(pair):
    module, fast = pair
    x = images()
    before = fast(x)
    changed_in_place(module)
    assert torch.allclose(fast(x), before + 1, atol=1e-5)


def test_a_module_of_another_form_is_seen(pair):
    module, fast = pair
    x = images()
    before = fast(x)
    module.dense = nn.Linear(8, 3)
    assert agree(module, fast, x)
    assert not torch.allclose(fast(x), before)


def agrees_changed(module, fast, x):
    changed_in_place(module)
    return agree(module, fast, x)


class Slow:
    """A network that takes no time to make: the module itself."""

    def __init__(self, module):
        self.module = module

    def takes(self, tensors):
        return True

    def run(self, tensors):
        with torch.no_grad():
            return [self.module(*tensors)]


def test_weights_that_change_at_every_call_end_in_eager_once(pair, monkeypatch):
    module, fast = pair
    made = []
    monkeypatch.setattr(
        compiling.Compiled, "_made", lambda *_: made.append(Slow(module)) or made[-1]
    )
    x = images()
    with pytest.warns(UserWarning, match="Net runs eagerly: its weights change between") as told:
        assert all(agrees_changed(module, fast, x) for _ in range(6))
    assert len(told) == 1
    assert len(made) == 3
    assert agree(module, fast, x)  # they stay: compiled anew
    assert len(made) == 4
    changed_in_place(module)
    assert agree(module, fast, x)
    assert len(made) == 5


def test_state_has_the_module_s_names(pair):
    module, fast = pair
    assert list(fast.state_dict()) == list(module.state_dict())
    fast.load_state_dict(Net(seed=2).state_dict())
    assert torch.equal(module.conv.weight, Net(seed=2).conv.weight)
    assert fast.dense is module.dense
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = fast.nothing


def test_it_pickles_with_its_network(pair, monkeypatch):
    module, fast = pair
    monkeypatch.setattr(compiling.graph, "from_module", None)  # nothing is exported again
    loaded = pickle.loads(pickle.dumps(fast))  # noqa: S301
    assert len(loaded.networks) == 1
    assert agree(module, loaded, images(3))


def test_a_copy_has_weights_of_its_own(pair):
    module, fast = pair
    copied = copy.deepcopy(fast)
    changed_in_place(module)
    assert not torch.equal(module.dense.bias, copied.dense.bias)
    assert agree(copied.original, copied, images())


def test_pickled_after_a_change_it_is_made_anew(pair):
    module, fast = pair
    changed_in_place(module)
    loaded = pickle.loads(pickle.dumps(fast))  # noqa: S301
    assert loaded.networks == ()


def test_eight_threads_get_what_is_theirs(pair):
    module, fast = pair
    inputs = [images(1 + index % 3) for index in range(8)]
    with torch.no_grad():
        expected = [module(x) for x in inputs]
    wrong, start = [], threading.Barrier(8)

    def work(index):
        start.wait()
        found = [fast(inputs[index]) for _ in range(40)]
        wrong.extend(not torch.allclose(item, expected[index], atol=1e-4) for item in found)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [False] * 320


def trained_twice(fast):
    for _ in range(2):
        fast(images()).sum().backward()


def test_training_runs_the_module_and_says_so_once(pair):
    module, fast = pair
    fast.train()
    assert module.training
    with pytest.warns(UserWarning, match="Net runs eagerly: it is in training mode") as told:
        trained_twice(fast)
    assert len(told) == 1
    assert module.conv.weight.grad is not None
    fast.eval()
    assert agree(module, fast, images())


def test_an_input_with_gradients_runs_the_module(pair):
    _, fast = pair
    x = images().requires_grad_()
    with pytest.warns(UserWarning, match="an input requires gradients; where none are needed"):
        fast(x).sum().backward()
    assert x.grad is not None


def test_weights_with_gradients_do_not(pair):
    _, fast = pair
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not fast(images()).requires_grad


class Forms(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 1)

    def forward(self, x, other=None, *, scale=None):
        y = self.conv(x)
        if other is not None:
            y = y + other
        return {"y": y if scale is None else y * scale, "none": None, "pair": [y.relu(), x]}


@pytest.mark.parametrize(
    "example",
    [
        (torch.randn(1, 2, 4, 4),),
        (torch.randn(1, 2, 4, 4), torch.randn(1, 4, 4, 4)),
        {"x": torch.randn(1, 2, 4, 4), "scale": torch.randn(1, 4, 4, 4)},
    ],
    ids=["one", "two", "named"],
)
def test_arguments_and_results_keep_their_form(example):
    module = Forms().eval()
    fast = mlcnn.compile(module, example, engine="onnxruntime", check=False)
    arguments, keywords = ((), example) if isinstance(example, dict) else (example, {})
    with torch.no_grad():
        expected, found = module(*arguments, **keywords), fast(*arguments, **keywords)
    assert list(found) == ["y", "none", "pair"]
    assert found["none"] is None
    assert torch.allclose(found["y"], expected["y"], atol=1e-6)
    assert torch.allclose(found["pair"][0], expected["pair"][0], atol=1e-6)
    assert torch.equal(found["pair"][1], expected["pair"][1])


def test_an_engine_that_declines_leaves_it_to_the_next():
    module = nn.Sequential(nn.Conv3d(1, 2, 2), nn.ReLU()).eval()
    fast = mlcnn.compile(module, torch.randn(1, 1, 4, 4, 4), check=False)
    (network,) = fast.networks
    if "native" in engines.available():
        assert network.engine != "native"
        assert network.declined[0].startswith("native")
    assert agree(module, fast, torch.randn(2, 1, 4, 4, 4))


def test_the_fastest_of_all_engines():
    module, x = nn.Conv2d(2, 3, 3).eval(), images()
    fast = mlcnn.compile(module, x, engine="measured", threads=1, check=False)
    assert fast.networks[0].engine in engines.available()
    assert agree(module, fast, x)


@pytest.mark.parametrize(
    ("move", "told"),
    [
        (lambda fast: fast.to("cuda"), "moved to 'cuda'"),
        (lambda fast: fast.cuda(), "moved to 'cuda'"),
        (lambda fast: fast.to(torch.device("cuda", 1)), "moved to 'cuda:1'"),
        (lambda fast: fast.to(dtype=torch.float16), "moved to 'float16'"),
        (lambda fast: fast.half(), "moved"),
        (lambda fast: nn.Sequential(fast).double(), "moved"),
    ],
)
def test_it_stays_on_the_cpu_in_float32(shared, move, told):
    with pytest.raises(InputError) as caught:
        move(shared[1])
    assert str(caught.value) == (
        f"what mlcnn.compile returned runs on the CPU in float32 and cannot be {told}: move the "
        "module that it was made from (`.original`), and use torch.compile(module) there"
    )
    assert shared[1].to("cpu").to(torch.float32).to(images()) is shared[1]


class Breaks(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)

    def forward(self, x):
        x = self.conv(x)
        return self.conv(x) if x.sum() > 0 else x


class Counts(nn.Module):
    def forward(self, x):
        return x.relu(), 3


def test_bad_input_is_named():
    x, module = images(), Net().eval()
    cases = {
        "engine='natve': there is none; did you mean 'native'? (known: auto, measured, "
        "onnxruntime, openvino, native, torch, torch-compile)": {"engine": "natve"},
        "threads must be 1 or more, got 0": {"threads": 0},
        "mlcnn.compile takes a torch module, got a function; for a function use "
        'torch.compile(function, backend="mlcnn")': {"module": test_bad_input_is_named},
        "Net: the example input must consist of tensors, got a int; give a tensor, a tuple of what "
        "the module is called with, or a dict of its arguments by name (None where an argument is "
        "left out)": {"example_input": 3},
        "mlcnn.compile is for the CPU, got a tensor on device 'meta': give module.cpu() and an "
        "example on the CPU, or use torch.compile(module) there": {"example_input": x.to("meta")},
        "Counts: returns a int beside tensors, which a network cannot; return tensors alone, or "
        'use torch.compile(module, backend="mlcnn")': {"module": Counts().eval()},
    }
    for told, given in cases.items():
        with pytest.raises(InputError) as caught:
            mlcnn.compile(**({"module": module, "example_input": x} | given))
        assert str(caught.value) == told


def test_an_example_of_the_wrong_shape_is_named():
    with pytest.raises(InputError, match=r"Net: the module fails on an input of shape \(1, 3, 8"):
        mlcnn.compile(Net().eval(), torch.randn(1, 3, 8, 8))


def test_a_graph_break_is_an_error_that_names_it():
    with pytest.raises(InputError, match=r"Breaks: runs on an input .* cannot trace it: .*Eq"):
        mlcnn.compile(Breaks().eval(), images())


def test_another_form_of_call_is_named(shared):
    with pytest.raises(InputError) as caught:
        shared[1](images(), scale=images())
    assert str(caught.value) == (
        "called with (tensor, scale=tensor), and compiled for (tensor): call it so, or compile "
        "the module again with such an example input"
    )


def test_inputs_elsewhere_are_named(shared):
    with pytest.raises(InputError, match="an input is on device 'meta', and the network runs on"):
        shared[1](images().to("meta"))


def test_no_engine_is_an_error_with_all_reasons(shared):
    module = nn.Sequential(nn.Conv3d(1, 2, 2), nn.ReLU()).eval()
    if "native" in engines.available():
        with pytest.raises(UnsupportedError, match=r"no engine runs the network \(native"):
            mlcnn.compile(module, torch.randn(1, 1, 4, 4, 4), engine="native")
