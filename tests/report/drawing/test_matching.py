"""Which node is which: known pairs, found again whatever the names are."""

import re
from typing import Any

import pytest
from report.drawing.graphs import BRANCHES, CHAIN, CONV, network

from mlcnn.report.drawing import compare, nodes_of
from mlcnn.report.drawing.matching import match


def pairs(before: Any, after: Any) -> set[tuple[str, str]]:
    """Pairs as (operator and output of the one, the same of the other)."""
    mine, theirs = nodes_of(before), nodes_of(after)

    def told(node: Any) -> str:
        return f"{node.operator} {node.outputs[0] if node.outputs else node.name}"

    return {(told(mine[a]), told(theirs[b])) for a, b in match(mine, theirs).items()}


def renamed(text: str) -> str:
    """The same nodes and values under other names; weights and ends keep theirs."""
    text = re.sub(r"\[(\w+)\]", r"[n_\1]", text)
    for name in "crqdabs":
        text = re.sub(rf"\b{name}\b", f"{name}{name}", text)
    return text


@pytest.mark.parametrize("text", [CHAIN, BRANCHES])
def test_a_network_is_itself(text: str) -> None:
    found = compare(network(text), network(text))
    assert found.equal
    assert found.kept == len(text.strip().splitlines())
    assert found.places() == ()


@pytest.mark.parametrize("text", [CHAIN, BRANCHES])
def test_other_names_are_no_difference(text: str) -> None:
    assert compare(network(text), network(renamed(text))).equal


def test_one_layer_more_shifts_numbered_names_and_nothing_else() -> None:
    """As an exporter numbers them: relu, relu_1. Each weight says which layer it is."""
    before = f"[conv] a = Conv {CONV} (x, w)\n[relu] b = Relu (a)\n[conv_1] y = Conv {CONV} (b, v)"
    after = (
        f"[conv] a = Conv {CONV} (x, w)\n[relu] b = Relu (a)\n[conv_1] c = Conv {CONV} (b, u)\n"
        f"[relu_1] d = Relu (c)\n[conv_2] y = Conv {CONV} (d, v)"
    )
    found = compare(network(before), network(after))
    assert found.removed == ()
    assert [(node.operator, node.outputs) for node in found.added] == [
        ("Conv", ("c",)),
        ("Relu", ("d",)),
    ]
    # The last layer reads another node than before, which is not in both.
    assert found.changed == ()
    assert ("Conv y", "Conv y") in pairs(network(before), network(after))


def test_without_names_and_weights_order_and_looks_are_left() -> None:
    before = "a = Relu (x)\nb = Sigmoid (a)\ny = Tanh (b)"
    after = "e = Relu (x)\nf = Sigmoid (e)\ng = Neg (f)\ny = Tanh (g)"
    found = compare(network(before), network(after))
    assert [node.operator for node in found.added] == ["Neg"]
    assert (found.removed, found.changed) == ((), ())


def test_each_node_is_in_one_pair_of_one_operator() -> None:
    mine, theirs = nodes_of(network(CHAIN)), nodes_of(network(BRANCHES, seed=1))
    found = match(mine, theirs)
    assert len(set(found.values())) == len(found)
    assert all(mine[a].operator == theirs[b].operator for a, b in found.items())


def test_wiring_is_a_difference() -> None:
    swapped = BRANCHES.replace("Add (a, b)", "Sub (a, b)")
    crossed = swapped.replace("Sub (a, b)", "Sub (b, a)")
    (change,) = compare(network(swapped), network(crossed)).changed
    assert change.told() == "input 0 a to b, input 1 b to a"


def test_weights_are_a_difference() -> None:
    (change,) = compare(network(CHAIN), network(CHAIN, v=0.5)).changed
    assert (change.after.name, change.told(), change.only_weights) == (
        "second",
        "other weights",
        True,
    )


def test_what_a_file_says_by_default_or_not_is_no_difference() -> None:
    spelled = CHAIN.replace(
        f"c = Conv {CONV}",
        "c = Conv <pads = [1, 1, 1, 1], kernel_shape = [3, 3], strides = [1, 1], group = 1>",
    )
    assert compare(network(CHAIN), network(spelled)).equal


def test_attributes_and_sizes_are_told() -> None:
    strided = CHAIN.replace(
        f"[second] d = Conv {CONV}", "[second] d = Conv <pads = [1, 1, 1, 1], strides = [2, 2]>"
    )
    conv, relu, *_ = compare(network(CHAIN), network(strided)).changed
    assert conv.told() == "strides none to 2x2, output N x 4 x 4 x 4 to N x 4 x 2 x 2"
    assert relu.told() == "output N x 4 x 4 x 4 to N x 4 x 2 x 2"
