"""Problems of both forms, and what is wrong with those that are not read."""

import numpy as np
import pytest
from codesign.random_mappings import random_mapping
from codesign.timeloop.files import PROBLEM, write

from mlcnn.codesign import EXACT, Batch, Operand, count, walk
from mlcnn.codesign.timeloop import read_problem_file
from mlcnn.errors import InputError, UnsupportedError
from mlcnn.workload import ConvLayer, loop_nest


def _read(folder, text):
    return read_problem_file(write(folder, problem=text)[0])


def test_projections_are_read(tmp_path):
    problem = _read(tmp_path, PROBLEM.replace("P: 16}", "P: 16, stride: 2}"))
    nest = problem.nest
    assert dict(zip(nest.dims, nest.sizes, strict=True)) == {"C": 32, "K": 32, "R": 3, "P": 16}
    assert nest.input.word({"C": 4, "R": 1, "P": 5}) == (4, 11)
    assert nest.weight.dims == {"C", "K", "R"}
    assert nest.output.dims == {"K", "P"}
    assert problem.spaces[Operand.INPUT] == "Inputs"


_SHORT = """\
problem:
  shape: cnn-layer
  C: 4
  K: 8
  R: 3
  S: 2
  P: 5
  Q: 6
  N: 2
  Wstride: 2
  Hdilation: 3
"""


def test_the_short_form_is_a_convolution(tmp_path):
    # P and R go along the width there, Q and S along the height.
    nest = _read(tmp_path, _SHORT).nest
    layer = ConvLayer("c", 2, 8, 4, 9, 11, 2, 3, strides=(1, 2), dilations=(3, 1))
    ours = loop_nest(layer)
    other = {"P": "Q", "Q": "P", "R": "S", "S": "R"}
    assert {dim: nest.size(dim) for dim in nest.dims} == {
        dim: ours.size(other.get(dim, dim)) for dim in ours.dims
    }
    assert nest.input.word({"N": 0, "C": 1, "P": 2, "Q": 3, "R": 1, "S": 1}) == (0, 1, 5, 6)


def test_variables_may_be_sizes(tmp_path):
    text = "variables: {version: 0.4, wide: 8, twice: wide * 2}\n" + PROBLEM
    assert _read(tmp_path, text.replace("P: 16", "P: twice")).nest.size("P") == 16


_MATRICES = """\
problem:
  version: 0.4
  shape:
    name: GEMM
    dimensions: [M, N, K]
    data-spaces:
    - {name: A, projection: [[[M]], [[K]]]}
    - {name: B, projection: [[[K]], [[N]]]}
    - {name: Z, projection: [[[M]], [[N]]], read-write: true}
  instance: {M: 4, N: 6, K: 2}
"""


def test_operands_by_order_where_no_name_tells(tmp_path):
    problem = _read(tmp_path, _MATRICES)
    assert list(problem.spaces.values()) == ["A", "B", "Z"]
    assert problem.nest.macs == 48


_WINDOW_OF_WEIGHTS = """\
problem:
  version: 0.4
  shape:
    dimensions: [C, P, R]
    data_spaces:
    - {name: Left, projection: [[[C]], [[P, step], [R]]]}
    - {name: Filters, projection: [[[C]], [[R, step], [P]]]}
    - {name: Out, projection: [[[P]]], read_write: true}
    coefficients: [{name: step, default: 2}]
  instance: {C: 2, P: 4, R: 3}
"""


@pytest.mark.parametrize("text", [_MATRICES, _WINDOW_OF_WEIGHTS])
def test_any_such_nest_counts_as_a_walk(tmp_path, text):
    nest = _read(tmp_path, text).nest
    for seed in range(40):
        generator = np.random.default_rng(seed)
        masks = [tuple(Operand), tuple(o for o in Operand if generator.random() < 0.7)]
        mapping = random_mapping(generator, nest, masks)
        counts = count(nest, Batch.of([mapping], nest), EXACT)
        for (level, operand), walked in walk(nest, mapping).items():
            at = level, list(Operand).index(operand), 0
            words = [array[at] for array in (counts.reads, counts.fills, counts.updates)]
            many = counts.instances[level, 0]
            assert [one * many for one in words] == [walked.reads, walked.fills, walked.updates]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version: 0.4", "version: 0.5", ":2: problem.version: version 0.5 is not read; known: "
         "0.2, 0.3, 0.4"),
        ("dimensions:", "dimension:", ":5: unknown key 'problem.shape.dimension'; did you mean "
         "'dimensions'?"),
        ("[C, K, R, P]", "[C, K, R, PQ]", ":5: dimension 'PQ': a dimension is one capital letter "
         "here"),
        ("[C, K, R, P]", "[C, K, R, P, R]", ":5: problem.shape.dimensions: dimension R stands "
         "twice"),
        ("[[K]], [[R]]]", "[[K]], [[S]]]", ":10: problem.shape.data_spaces[0].projection[2][0][0]: "
         "'S' is no dimension of the problem; it has C K R P"),
        ("[P, stride]", "[P, strde]", ":12: problem.shape.data_spaces[1].projection[1][1][1]: "
         "'strde' is no coefficient of the problem; did you mean 'stride'?"),
        ("P: 16}", "P: 16, strid: 2}", ":16: unknown key 'problem.instance.strid'; did you mean "
         "'stride'?"),
        (", P: 16}", "}", ":16: problem.instance: the size of dimension 'P' is missing"),
        ("R: 3,", "R: 0,", ":16: problem.instance.R: it must be a whole number of at least 1, "
         "got 0"),
        ("read_write: True", "read_write: False", ":8: data spaces Weights, Inputs, Outputs: what "
         "is scored reads two and has one of read_write: true"),
        ("[R], [P, stride]", "[R], [K], [P]", ":12: problem Line: the axis 1*K + 1*P + 1*R of "
         "Inputs is not scored; an axis is a dimension or, of what is read, a sum of two"),
        ("[[[K]], [[P]]]", "[[[K]], [[P], [R]]]", ":14: problem Line: the axis 1*P + 1*R of "
         "Outputs is not scored; an axis is a dimension or, of what is read, a sum of two"),
        ("[[[C]], [[R], [P", "[[[R]], [[R], [P", ":12: problem Line: a dimension stands twice in "
         "Inputs; such a projection is not scored"),
        ("P: 16}", "P: 16, densities: {Inputs: 0.5}}", ":16: problem.instance.densities: data "
         "that is sparse is not scored"),
    ],
)  # fmt: skip
def test_wrong_problems_are_told(tmp_path, old, new, message):
    assert old in PROBLEM
    with pytest.raises((InputError, UnsupportedError)) as told:
        _read(tmp_path, PROBLEM.replace(old, new, 1))
    assert str(told.value) == f"Timeloop file {tmp_path / 'problem.yaml'}{message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_SHORT.replace("cnn-layer", "gemm-layer"), ":2: problem.shape: the shape 'gemm-layer' is "
         "not known; give it in full, or cnn-layer"),
        ("architecture: {}\n", ": it has no key 'problem'; its keys: architecture"),
        ("problm: {}\n", ":1: unknown key 'problm'; did you mean 'problem'?"),
    ],
)  # fmt: skip
def test_files_that_are_no_problem_are_told(tmp_path, text, message):
    with pytest.raises(InputError) as told:
        _read(tmp_path, text)
    assert str(told.value) == f"Timeloop file {tmp_path / 'problem.yaml'}{message}"
