"""What another mapper is told of a machine and a layer."""

from dataclasses import replace

import pytest

from benchmarks.mapping_peers import peer_spec
from mlcnn.codesign import Operand, load_architecture
from mlcnn.errors import InputError
from mlcnn.workload import ConvLayer, loop_nest


def test_a_peer_is_told_the_same_machine_and_layer():
    nest = loop_nest(ConvLayer("c", 1, 64, 32, 57, 56, 3, 1, strides=(2, 1)))
    spec = peer_spec(nest, load_architecture("gemmini"))
    nodes = {node["name"]: node for node in spec["arch"]["nodes"]}
    assert [(node["!"], name) for name, node in nodes.items()] == [
        ("Memory", "dram"), ("Memory", "scratchpad"), ("Container", "below_scratchpad"),
        ("Memory", "accumulator"), ("Container", "below_accumulator"), ("Memory", "register"),
        ("Compute", "mac"),
    ]  # fmt: skip
    # 128 kB at 0.49 + 0.02513 pJ a kB; 2 kB at 1.94 + 0.1005.
    energies = {name: [action["energy"] for action in node["actions"]]
                for name, node in nodes.items() if "actions" in node}  # fmt: skip
    assert energies == {
        "dram": [100, 100],
        "scratchpad": pytest.approx([3.70664] * 2),
        "accumulator": pytest.approx([2.141] * 2),
        "register": [0.48746] * 2,
        "mac": [0.5608],
    }
    assert nodes["scratchpad"]["size"] == 131072 * 8
    assert nodes["scratchpad"]["tensors"] == {"keep": "Nothing", "may_keep": "W | I"}
    assert nodes["accumulator"]["actions"][0]["throughput"] == 2
    (spatial,) = nodes["below_scratchpad"]["spatial"]
    assert spatial["fanout"] == 16
    assert spatial["loop_bounds"] == [{"expression": "~(k)", "operator": "==", "value": 1}]
    (einsum,) = spec["workload"]["einsums"]
    assert einsum["einsum"] == (
        "O[n, k, p, q] = W[k, c, r, s] * I[n, c, X2: 2 * p + 1 * r, X3: 1 * q + 1 * s]"
    )
    assert einsum["iteration_space_shape"][2:4] == ["0 <= c < 32", "0 <= p < 28"]


def test_machines_of_other_kinds_are_told():
    machine = load_architecture("gemmini")
    levels = list(machine.levels)
    levels[1] = replace(levels[1], capacity={Operand.WEIGHT: 4, Operand.INPUT: 4})
    nest = loop_nest(ConvLayer("c", 1, 4, 4, 3, 3, 3, 3))
    with pytest.raises(InputError) as told:
        peer_spec(nest, replace(machine, levels=tuple(levels)))
    assert str(told.value) == (
        "level scratchpad: only shared capacities and bandwidths are compared"
    )
