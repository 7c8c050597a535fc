"""Places where two networks differ, and what is drawn of them."""

import re

import pytest
from report.drawing.graphs import BRANCHES, CHAIN, CONV, POOL, network

from mlcnn.report.drawing import Neighbourhood, Side, Status, compare, neighbourhoods, whole

FUSED = f"""
[first_fused] m = mlcnn.Fused (x, w)
[relu] q = Relu (m)
[second] d = Conv {CONV} (q, v)
[tail] y = Relu (d)
"""


def told(side: Side) -> list[str]:
    return [f"{box.status} {box.operator} {box.name}" for box in side.boxes]


def places(before: str, after: str, known: str = "") -> tuple[Neighbourhood, ...]:
    return neighbourhoods(compare(network(before), network(after, known)))


def test_a_fused_site_with_what_stands_beside_it() -> None:
    (found,) = places(CHAIN, FUSED, "m=4")
    assert told(found.before) == [
        "kept Input x", "removed Conv first", "changed Relu relu", "removed MaxPool pool",
        "kept Conv second",
    ]  # fmt: skip
    assert found.before.edges == ((0, 1), (1, 2), (2, 3), (3, 4))
    assert told(found.after) == [
        "kept Input x", "added mlcnn.Fused first_fused", "changed Relu relu", "kept Conv second",
    ]  # fmt: skip
    assert [box.told for box in found.went] == ["Conv first", "MaxPool pool"]
    assert [box.told for box in found.came] == ["mlcnn.Fused first_fused"]
    (relu,) = found.changed
    assert relu.name == "relu"
    # What is not drawn goes on from the last node, and from no other.
    assert [box.below for box in found.before.boxes] == [False] * 4 + [True]
    assert not any(box.above for box in found.before.boxes)


def test_sites_in_a_row_are_places_of_their_own() -> None:
    """The value between the two is in both networks, so that each is complete in itself."""
    before = f"""
[first] c = Conv {CONV} (x, w)
[pool] p1 = AveragePool {POOL} (c)
[second] d = Conv {CONV} (p1, v)
[pool2] y = AveragePool {POOL} (d)
"""
    after = "[a] p1 = mlcnn.Fused (x, w)\n[b] y = mlcnn.Fused (p1, v)"
    found = places(before, after, "p1=4 y=2")
    # Both look the same, so that one is drawn.
    assert [(one.names, one.alike) for one in found] == [(("a",), (("b",),))]
    assert [box.told for box in found[0].went] == ["Conv first", "AveragePool pool"]


def test_branches_of_one_site_are_one_place() -> None:
    after = f"""
[first] c = Conv {CONV} (x, w)
[left] a = mlcnn.Fused (c, v)
[right] b = mlcnn.Fused (c, u)
[sum] y = Add (a, b)
"""
    (found,) = places(BRANCHES, after, "a=4 b=4")
    assert found.names == ("left", "right")
    assert found.after.edges == ((0, 1), (0, 2), (1, 3), (2, 3), (3, 4))
    assert [box.operator for box in found.after.boxes][-1] == "Output"


def test_what_came_stands_before_what_only_went() -> None:
    before = f"[n] a = Neg (x)\n[i] b = Identity (a)\n[c] y = Conv {CONV} (b, w)"
    after = f"[n] a = Neg (x)\n[c] d = Conv {CONV} (a, w)\n[t] y = Tanh (d)"
    assert [one.names for one in places(before, after)] == [("t",), ("i",)]


def test_other_weights_alone_are_no_place() -> None:
    found = compare(network(CHAIN), network(CHAIN, v=1.0))
    assert found.places() == ()
    assert len(found.changed) == 1


def test_what_only_has_other_weights_stands_on_both_sides() -> None:
    """As a convolution that took a scale in: drawn after, though nothing is beside it there."""
    before = f"[conv] a = Conv {CONV} (x, w)\n[scale] b = Neg (a)\n[relu] y = Relu (b)"
    after = f"[conv] a = Conv {CONV} (x, w)\n[relu] y = Relu (a)"
    (found,) = neighbourhoods(compare(network(before), network(after, w=1.0)))
    assert told(found.before) == ["changed Conv conv", "removed Neg scale", "kept Relu relu"]
    assert told(found.after) == ["changed Conv conv", "kept Relu relu"]
    assert found.after.edges == ((0, 1),)


def test_all_of_two_networks() -> None:
    found = whole(compare(network(CHAIN), network(FUSED, "m=4")))
    assert found.title == "Both networks from end to end"
    assert len(found.before.boxes) == 7
    assert len(found.after.boxes) == 6
    assert sum(box.status is Status.KEPT for box in found.before.boxes) == 4


def test_too_many_nodes_are_left_out_and_said() -> None:
    lines = [f"[n{i}] v{i + 1} = Neg (v{i})" for i in range(100)]
    before = "\n".join(lines).replace("(v0)", "(x)").replace("v100 =", "y =")
    (found,) = places(before, re.sub(r"\bv", "w", before).replace("Neg", "Abs"))
    assert len(found.before.boxes) == 60
    assert found.before.left_out == 100 + 2 - 60


@pytest.mark.parametrize("text", [CHAIN, BRANCHES])
def test_nothing_differs_and_nothing_is_drawn(text: str) -> None:
    assert places(text, text) == ()
