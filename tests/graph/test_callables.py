"""``package.module:callable``: what it may return, and what is said when it does not."""

import sys
import textwrap

import pytest
import torch
from torch import nn

from mlcnn import graph
from mlcnn.errors import InputError

NETS = """
    import sys
    import torch
    from torch import nn

    def module():
        return nn.Conv2d(3, 4, 3)

    def with_tensor():
        return nn.Conv2d(3, 4, 3), torch.zeros(2, 3, 9, 7)

    class Sum(nn.Module):
        def forward(self, left, right):
            return left + right

    def with_tuple():
        return Sum(), (torch.zeros(2, 3), torch.zeros(2, 3))

    def half():
        return nn.Conv2d(3, 4, 3).half()

    made = nn.ReLU()
    number = 5

    class Nets:
        conv = staticmethod(module)

    def fails():
        raise OSError("weights.bin not found\\nsecond line")

    def leaves():
        sys.exit("giving up")

    def needs(argument):
        if not argument:
            raise ValueError("no channels")
        return nn.Conv2d(argument, 4, 3)

    def nothing():
        return None

    def three():
        return 1, 2, 3

    def talks():
        print("building")
        return nn.ReLU()

    def no_tensor():
        return nn.ReLU(), "an image"
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current directory with a module of networks, of a name that no other test imports."""
    name = f"nets_{abs(hash(str(tmp_path)))}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(NETS))
    (tmp_path / f"{name}_broken.py").write_text("import a_module_that_is_not_there")
    (tmp_path / f"{name}_package").mkdir()
    (tmp_path / f"{name}_package" / "__init__.py").touch()
    (tmp_path / f"{name}_package" / "nets.py").write_text(textwrap.dedent(NETS))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [item for item in sys.path if item])
    return name


@pytest.fixture
def exported(monkeypatch):
    """What would be exported: exporting takes seconds, and is tested elsewhere."""
    calls = []

    def record(module, inputs, *, name, **_options):
        calls.append((module, inputs, name))

    monkeypatch.setattr("mlcnn.graph.callables.from_module", record)
    return calls


def shapes(exported):
    ((_, inputs, _),) = exported
    return [tuple(item.shape) for item in inputs]


def test_a_callable_becomes_a_network(here):
    model = graph.from_callable(f"{here}:module", (1, 3, 8, 8))

    assert str(model.graph.inputs[0].shape) == "[batch,3,8,8]"
    assert [node.op_type for node in model.graph] == ["Conv"]


def test_a_module_and_the_shape_of_its_input(here, exported):
    graph.from_callable(f"{here}:module", (1, 3, 8, 8))

    ((module, (example,), name),) = exported
    assert (type(module), tuple(example.shape)) == (nn.Conv2d, (1, 3, 8, 8))
    assert name == f"{here}:module"


def test_a_module_in_a_package(here, exported):
    graph.from_callable(f"{here}_package.nets:module", (1, 3, 8, 8))

    assert shapes(exported) == [(1, 3, 8, 8)]


@pytest.mark.parametrize(
    ("name", "expected"), [("with_tensor", [(2, 3, 9, 7)]), ("with_tuple", [(2, 3), (2, 3)])]
)
def test_a_module_and_its_example(here, exported, name, expected):
    graph.from_callable(f"{here}:{name}", None)

    assert shapes(exported) == expected


def test_a_given_shape_goes_before_the_example(here, exported):
    graph.from_callable(f"{here}:with_tensor", (1, 3, 5, 5))

    assert shapes(exported) == [(1, 3, 5, 5)]


@pytest.mark.parametrize(
    ("name", "expected"), [("module", (2, 3, 6, 6)), ("with_tensor", (2, 3, 9, 7))]
)
def test_the_usual_shape_is_for_a_module_that_comes_alone(here, exported, name, expected):
    graph.from_callable(f"{here}:{name}", usual_shape=(2, 3, 6, 6))
    graph.from_callable(f"{here}:{name}", (1, 3, 5, 5), usual_shape=(2, 3, 6, 6))

    assert shapes(exported[:1]) == [expected]
    assert shapes(exported[1:]) == [(1, 3, 5, 5)]


def test_the_example_has_the_type_of_the_weights(here, exported):
    graph.from_callable(f"{here}:half", (1, 3, 5, 5))

    assert exported[0][1][0].dtype == torch.float16


@pytest.mark.parametrize(
    ("name", "kind"), [("made", nn.ReLU), ("Nets.conv", nn.Conv2d), ("Sum", 0)]
)
def test_a_module_object_a_class_and_an_attribute_of_one(here, exported, name, kind):
    graph.from_callable(f"{here}:{name}", (1, 3, 5, 5))

    assert type(exported[0][0]) is kind or name == type(exported[0][0]).__name__


def test_what_a_callable_prints_is_no_result(here, exported, capfd):
    graph.from_callable(f"{here}:talks", (1, 3))

    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "building\n")


def test_literal_arguments(here, exported):
    graph.from_callable(f"{here}:needs(3)", (1, 3, 5, 5))
    graph.from_callable(f"{here}:needs(argument=4)", (1, 4, 5, 5))

    assert [module.in_channels for module, _, _ in exported] == [3, 4]


def test_other_weights_are_put_into_the_module(here, exported):
    graph.from_callable(f"{here}:module", (1, 3, 5, 5), fill=lambda module: module.half())

    assert exported[0][1][0].dtype == torch.float16


@pytest.mark.parametrize(
    ("target", "pattern"),
    [
        ("nets", "nets: not of the form package.module:callable; give package.module:callable"),
        (":module", "not of the form"),
        ("{}:", "not of the form"),
        ("no_such_module:build", "importing no_such_module failed: ModuleNotFoundError"),
        ("{}_broken:build", "ModuleNotFoundError: No module named 'a_module_that_is_not_there'"),
        ("{}:absent", "has no absent; give package.module:callable, where the callable returns"),
        ("{}:number", "number is a int, not a callable"),
        ("{}:fails", "without arguments failed: OSError: weights.bin not found; correct"),
        ("{}:leaves", "calling it without arguments failed: SystemExit: giving up"),
        ("{}:needs", r"TypeError: needs\(\) missing 1 required positional argument: 'argument'"),
        ("{}:needs", r"correct the callable, or give its arguments, as nets_\d+:needs\(size=18\)"),
        ("{}:needs(0)", r"calling it failed: ValueError: no channels; correct it"),
        ("{}:needs(x=1)", r"missing a required argument: 'argument'.*; it is needs\(argument\)"),
        ("{}:needs(3, x=1)", r"got an unexpected keyword argument 'x'.*; it is needs\(argument\)"),
        ("{}:made(3)", r"made is a module, made already; leave the \(...\) away"),
        ("{}:needs(number)", "number is no literal; an argument is a number, text in quotes"),
        ("{}:nothing", "returned None; give package.module:callable"),
        ("{}:three", r"returned a tuple of \(int, int, int\)"),
        (
            "{}:no_tensor",
            "the example input must consist of tensors, got a str; give a",
        ),
        ("{}:module", "its input's shape is not known; give --input-shape"),
    ],
)
def test_what_goes_wrong_is_one_message(here, target, pattern):
    target = target.format(here)

    with pytest.raises(InputError, match=pattern) as caught:
        graph.from_callable(target, None)

    message = str(caught.value)
    assert message.startswith(f"{target}: ")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("given", "pattern"),
    [
        ((1, 1, 8, 8), r"fails on an input of shape \(1, 1, 8, 8\): RuntimeError: .*3 channels"),
        ((1, 3), r"fails on an input of shape \(1, 3\): RuntimeError: Expected 3D"),
        ((1, 0, 8, 8), r"input shape \(1, 0, 8, 8\) must be positive integers"),
        ((), r"input shape \(\) must be positive integers"),
        ((1, 3, 10**7, 10**7), r"needs 1\.1 PiB of memory and this machine has .*: give a smaller"),
    ],
)
def test_a_wrong_input_shape_is_one_message(here, given, pattern):
    with pytest.raises(InputError, match=pattern) as caught:
        graph.from_callable(f"{here}:module", given)
    assert "\n" not in str(caught.value)
