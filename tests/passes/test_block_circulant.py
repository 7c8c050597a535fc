"""``block-circulant``: what it takes and leaves, and that every form of the result is exact."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from passes.builder import Net
from passes.spoiling import Wrong, weights
from torch import nn

import mlcnn
from mlcnn import engines
from mlcnn.errors import InputError, PassError, UnsupportedError
from mlcnn.graph import inline, load_file, save, to_proto
from mlcnn.nn import to_module, write_weights
from mlcnn.ops.block_circulant import Blocks, dense_weight, projected
from mlcnn.ops.block_circulant.transforms import (
    backward_operations,
    forward_operations,
    products,
)
from mlcnn.passes import BlockCirculant, Choose, pipeline, restore
from mlcnn.passes.verification import TOLERANCE, SiteCheck, check_site, verify
from mlcnn.workload import Operations, read

CONV_FORMS = ("spectral",)
DENSE_FORMS = ("spectral", "spectral-pairs", "spectral-batch")


def in_runtime(model: ir.Model, *inputs: np.ndarray) -> np.ndarray:
    """What ONNX Runtime computes of a network with one input and one output."""
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = ort.InferenceSession(to_proto(inline(model)).SerializeToString(), options)
    (formal,) = session.get_inputs()
    (array,) = inputs
    return session.run(None, {formal.name: array})[0]


def close(found: np.ndarray, expected: np.ndarray) -> None:
    """Within 1e-5 of the largest value, as the usual check asks of stored weights."""
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@dataclass(frozen=True)
class Drawn:
    """A layer by itself, and the size of its blocks."""

    block: int
    filters: int
    channels: int
    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1
    size: tuple[int, int] = (5, 6)
    dynamic: bool = False
    bias: bool = True

    @property
    def blocks(self) -> Blocks:
        return Blocks(self.block, self.filters, self.channels, self.groups)

    def convolution(self) -> ir.Model:
        net = Net("n", self.channels, *(("h", "w") if self.dynamic else self.size))
        return net.model(net.conv(
            net.x, self.filters, self.kernel, channels=self.channels, bias=self.bias,
            strides=self.strides, dilations=self.dilations, pads=self.pads, group=self.groups,
        ))  # fmt: skip

    def dense(self) -> ir.Model:
        net = Net("n", self.channels)
        inputs = [net.weight("fc.weight", self.filters, self.channels)]
        inputs += [net.weight("fc.bias", self.filters)] if self.bias else []
        return net.model(net.op("Gemm", net.x, *inputs, name="fc", transB=1))


def _channels(draw: st.DrawFn, block: int) -> int:
    """At least a block, and mostly some that pad the last one."""
    return draw(st.integers(block, 2 * block + 3))


@st.composite
def convolutions(draw: st.DrawFn) -> Drawn:
    block = draw(st.one_of(st.integers(2, 17), st.sampled_from([24, 32, 45, 64, 100, 127, 128])))
    groups = draw(st.sampled_from([1, 1, 2, 3])) if block < 10 else 1
    filters, channels = (
        (_channels(draw, block), _channels(draw, block))
        if groups == 1
        else (groups * block * draw(st.integers(1, 2)), groups * block * draw(st.integers(1, 2)))
    )
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilations = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    pads = draw(st.tuples(*[st.integers(0, 2)] * 4))
    least = [
        max(1, (kernel[axis] - 1) * dilations[axis] + 1 - pads[axis] - pads[axis + 2])
        for axis in (0, 1)
    ]
    return Drawn(
        block, filters, channels, kernel,
        draw(st.tuples(st.integers(1, 3), st.integers(1, 3))), dilations, pads, groups,
        (draw(st.integers(least[0], 6)), draw(st.integers(least[1], 6))),
        draw(st.booleans()), draw(st.booleans()),
    )  # fmt: skip


@st.composite
def dense_layers(draw: st.DrawFn) -> Drawn:
    block = draw(st.integers(2, 128))
    return Drawn(block, _channels(draw, block), _channels(draw, block), bias=draw(st.booleans()))


def circulant(layer: Drawn, model: ir.Model) -> ir.Model:
    """The network with its one layer in blocks."""
    result = BlockCirculant(block=str(layer.block), ends=True).apply(model)
    assert [change.exact for change in result.changes] == [False], result.skipped
    return result.model


def projected_weights(layer: Drawn, model: ir.Model) -> ir.Model:
    """The same network with the dense weight that the projection stands for."""
    model = model.clone()
    for value in model.graph.initializers.values():
        if value.name.endswith(".weight"):
            compact = projected(value.const_value.numpy().astype(np.float64), layer.blocks)
            dense = dense_weight(compact, layer.blocks).astype(np.float32)
            value.const_value = ir.Tensor(np.ascontiguousarray(dense), name=value.name)
    return model


def check_forms(layer: Drawn, model: ir.Model, forms: tuple[str, ...], *images: tuple) -> None:
    """The operator's body and every form against the plain layer, and through the usual check."""
    plain, blocks = projected_weights(layer, model), circulant(layer, model)
    candidates = [blocks]
    for form in forms:
        result = pipeline.run(blocks, [Choose(form=form)], verify=True)
        (site,) = result.verification.sites
        assert site.change.form == form
        assert site.error <= TOLERANCE
        assert site.deployed_error <= 1e-5
        candidates.append(result.model)
    for shape in images:
        array = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
        expected = in_runtime(plain, array)
        for candidate in candidates:
            close(in_runtime(candidate, array), expected)


@given(convolutions())
@settings(max_examples=60)
def test_convolutions_are_exact_in_every_form(layer: Drawn) -> None:
    """In float64 within 1e-12, as stored within 1e-5, and as ONNX Runtime computes them."""
    sizes = [(1, *layer.size), (3, *layer.size)]
    if layer.dynamic:
        sizes.append((2, layer.size[0] + 2, layer.size[1] + 1))
    images = [(n, layer.channels, height, width) for n, height, width in sizes]
    check_forms(layer, layer.convolution(), CONV_FORMS, *images)


@given(dense_layers())
@settings(max_examples=25)
def test_dense_layers_are_exact_in_every_form(layer: Drawn) -> None:
    check_forms(layer, layer.dense(), DENSE_FORMS, (1, layer.channels), (3, layer.channels))


def test_a_form_for_dense_layers_leaves_convolutions() -> None:
    layer = Drawn(4, 8, 8)
    blocks = circulant(layer, layer.convolution())
    for form in ("spectral-pairs", "spectral-batch"):
        (left,) = pipeline.run(blocks, [Choose(form=form)]).skipped
        assert left.reason == f"form {form} does not apply: it is no dense layer"


# Wrong rewrites: what the check at the site has to see.

CONVOLUTION = Drawn(8, 16, 20, (3, 3), pads=(1, 1, 1, 1), size=(4, 4))
DENSE = Drawn(8, 16, 20)


def as_first_rows(compact: np.ndarray) -> np.ndarray:
    """The columns whose circulants have these as their first rows."""
    return np.roll(compact[:, :, ::-1], 1, axis=2)


def conjugated_weights(values: np.ndarray) -> np.ndarray:
    """v becomes -v in u, v - u, u + v of every complex bin."""
    bins = values.reshape(11, -1, *values.shape[1:]).copy()
    for index in range(2, 11, 3):
        _, first, second = bins[index : index + 3].copy()
        bins[index + 1], bins[index + 2] = -second, -first
    return bins.reshape(values.shape)


def conjugated_inputs(matrix: np.ndarray) -> np.ndarray:
    """Rows a + b, a, b of every complex bin become a - b, a, -b."""
    changed = matrix.copy()
    for index in range(2, 11, 3):
        _, real, imaginary = matrix[index : index + 3]
        changed[index], changed[index + 2] = real - imaginary, -imaginary
    return changed


def reversed_outputs(matrix: np.ndarray) -> np.ndarray:
    """The transform back with the other sign: output t is that of -t."""
    return np.roll(matrix[::-1], 1, axis=0)


def conjugated_pairs(values: np.ndarray) -> np.ndarray:
    """Outputs u, v of every pair but the first, which is real: v becomes -v."""
    pairs = values.reshape(4, 2, -1, *values.shape[1:]).copy()
    pairs[1:, 1] *= -1
    return pairs.reshape(values.shape)


def without_shift(compact: np.ndarray) -> np.ndarray:
    """Each block with its first column one place on, as if lags were counted from 1."""
    return np.roll(compact, 1, axis=2)


def spectral(form: str = "spectral", **spoiled: Callable) -> Wrong:
    return Wrong(Choose(form=form), **spoiled)


WRONG: dict[str, tuple[Callable[[], ir.Model], Wrong]] = {
    f"{name}, {where}": (build, wrong)
    for where, build, layer in (
        ("convolution", lambda: circulant(CONVOLUTION, CONVOLUTION.convolution()), "conv"),
        ("dense layer", lambda: circulant(DENSE, DENSE.dense()), "fc"),
    )
    for name, wrong in {
        "first row for first column": spectral(before=weights(f"{layer}.weight", as_first_rows)),
        "lags from 1": spectral(before=weights(f"{layer}.weight", without_shift)),
        "weights conjugated": spectral(after=weights(f"{layer}.weight", conjugated_weights)),
        "inputs conjugated": spectral(after=weights(f"{layer}.forward", conjugated_inputs)),
        "back with the sign of forth": spectral(
            after=weights(f"{layer}.backward", reversed_outputs)
        ),
        "not divided by k": spectral(after=weights(f"{layer}.backward", lambda m: m * 8)),
        "bias of one bin lost": spectral(
            after=weights(f"{layer}.bias", lambda b: np.where(np.arange(b.size) < 2, 0, b))
        ),
    }.items()
} | {
    "first row for first column, pairs": (
        lambda: circulant(DENSE, DENSE.dense()),
        spectral("spectral-pairs", before=weights("fc.weight", as_first_rows)),
    ),
    "weights conjugated, pairs": (
        lambda: circulant(DENSE, DENSE.dense()),
        spectral("spectral-pairs", after=weights("fc.weight", conjugated_pairs)),
    ),
    "back with the sign of forth, pairs": (
        lambda: circulant(DENSE, DENSE.dense()),
        spectral("spectral-pairs", after=weights("fc.backward", reversed_outputs)),
    ),
}


def _check(model: ir.Model, wrong: Wrong) -> SiteCheck:
    result = wrong.apply(model)
    assert len(result.changes) == 1
    return check_site(wrong, model, result.model, result.changes[0])


@pytest.mark.parametrize("name", WRONG)
def test_wrong_rewrite_is_caught(name: str) -> None:
    build, wrong = WRONG[name]
    model = build()
    check = _check(model, wrong)
    assert check.error > TOLERANCE * 1e4
    assert not check.vacuous
    with pytest.raises(PassError, match=r"^wrong is not exact at "):
        verify(pipeline.run(model, [wrong]))
    assert _check(model, Wrong(wrong.right)).failure is None


def test_two_conjugates_left_out_are_none() -> None:
    """First rows and conjugated weights are one convention: what the papers draw."""
    model = circulant(DENSE, DENSE.dense())
    both = spectral(
        before=weights("fc.weight", as_first_rows),
        after=weights("fc.weight", conjugated_weights),
    )
    assert _check(model, both).failure is None


# What the pass takes and leaves.


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.BatchNorm2d(32),
        nn.Conv2d(32, 24, 3), nn.BatchNorm2d(24), nn.ReLU(),
        nn.Flatten(), nn.Linear(24 * 4, 40), nn.ReLU(), nn.Linear(40, 10),
    ).eval()  # fmt: skip


EXAMPLE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
TOO_LARGE = (
    "blocks of {} are larger than its {} inputs or {} outputs; {} is the largest that pads less "
    "than half"
)
ENDS = "the first and the last layer stay dense, unless `ends` is given or they are named"


@pytest.fixture(scope="module")
def original() -> ir.Model:
    return mlcnn.load(network(), EXAMPLE)


def run(model: ir.Model, passes: str) -> pipeline.PipelineResult:
    return pipeline.run(model, pipeline.parse(passes), verify=True)


def test_what_is_taken_and_what_is_left(original: ir.Model) -> None:
    result = run(original, "block-circulant{block=8+11=4}")
    assert [change.nodes for change in result.changes] == [("3",), ("7",), ("11",)]
    assert {(item.node, item.reason) for item in result.skipped} == {
        ("0", TOO_LARGE.format(8, 3, 16, 3)),
        ("13", ENDS),
    }
    kinds = {layer.nest.name: str(layer.weights) for layer in read(result.model).layers}
    assert kinds == {
        "0": "dense", "3": "block-circulant(block=8)", "7": "block-circulant(block=8)",
        "11": "block-circulant(block=4)", "13": "dense",
    }  # fmt: skip


def test_the_ends_are_taken_when_asked(original: ir.Model) -> None:
    for passes in ("block-circulant{block=2,ends=true}", "block-circulant{block=2+0=2+13=2}"):
        changes = run(original, passes).changes
        assert [change.nodes[0] for change in changes] == ["0", "3", "7", "11", "13"]
    only = run(original, "block-circulant{block=13=2}")
    assert [change.nodes[0] for change in only.changes] == ["13"]
    assert {item.reason for item in only.skipped} == {"no block size is given for it"}


def test_what_is_kept_of_a_weight_is_told(original: ir.Model) -> None:
    change = run(original, "block-circulant{block=8}").changes[2]
    weight = next(
        value.const_value.numpy()
        for name, value in original.graph.initializers.items()
        if name == "11.weight"
    ).astype(np.float64)
    blocks = Blocks(8, 40, 96)
    kept = dense_weight(projected(weight, blocks), blocks)
    share = 100 * (kept**2).sum() / (weight**2).sum()
    assert change.reason == f"blocks of 8: the projection keeps {share:.1f} % of its energy"
    # Pythagoras: what is not kept is the distance.
    assert ((weight - kept) ** 2).sum() == pytest.approx((weight**2).sum() * (1 - share / 100))


def test_norms_stay_where_they_are(original: ir.Model) -> None:
    """Folding one would scale the rows of a circulant block each by its own factor."""
    result = run(original, "block-circulant{block=8},choose{form=spectral},fold-batch-norm")
    left = {s.node: s.reason for s in result.skipped if s.pass_name == "fold-batch-norm"}
    assert left == {
        "6": "no convolution or dense layer stands directly before it",
        "8": "a factor per output channel would destroy its weights' structure "
        "(block-circulant(block=8))",
    }
    norms = [node.op_type for node in result.model.graph].count("BatchNormalization")
    assert norms == 2  # the one behind the dense convolution is folded


def test_larger_blocks_may_follow(original: ir.Model) -> None:
    """8 after 4 is what 8 alone is: the means of means over as many."""
    twice = run(run(original, "block-circulant{block=4}").model, "block-circulant{block=8}")
    assert {change.nodes[0] for change in twice.changes} == {"3", "7", "11"}
    once = run(original, "block-circulant{block=8}")
    array = EXAMPLE.numpy()
    close(in_runtime(twice.model, array), in_runtime(once.model, array))
    stored = [layer.stored.parameters for layer in read(twice.model).layers]
    assert stored == [layer.stored.parameters for layer in read(once.model).layers]
    before = [layer.before.parameters for layer in read(twice.model).layers]
    assert before == [layer.before.parameters for layer in read(once.model).layers]


@pytest.mark.parametrize(("first", "second"), [(8, 4), (4, 6), (4, 2), (3, 4)])
def test_other_blocks_may_not_follow(original: ir.Model, first: int, second: int) -> None:
    blocks = run(original, f"block-circulant{{block={first}}}").model
    message = (
        f"block-circulant: 3 has blocks of {first} already: a multiple of that is required, "
        f"got {second}"
    )
    with pytest.raises(InputError) as caught:
        run(blocks, f"block-circulant{{block={second}}}")
    assert str(caught.value) == message


def test_the_same_blocks_again_change_nothing(original: ir.Model) -> None:
    blocks = run(original, "block-circulant{block=8}").model
    again = run(blocks, "block-circulant{block=8}")
    assert again.changes == ()
    assert "it has blocks already, of size 8" in {item.reason for item in again.skipped}
    assert run(blocks, "block-circulant{block=3=8}").changes == ()


def test_a_network_without_a_layer_between_its_ends_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        run(Drawn(4, 8, 8).convolution(), "block-circulant{block=4}")
    assert str(caught.value) == f"block-circulant: no layer takes blocks of 4: {ENDS}"


def test_groups_are_taken_where_blocks_divide_them() -> None:
    net = Net("n", 16, 6, 6)
    four = net.conv(net.x, 16, channels=16, group=4, name="four")
    two = net.conv(four, 24, channels=16, group=2, name="two")
    model = net.model(net.conv(two, 24, channels=24, group=24, name="depthwise"))
    result = run(model, "block-circulant{block=4,ends=true}")
    assert [change.nodes for change in result.changes] == [("four",), ("two",)]
    assert [(item.node, item.reason) for item in result.skipped] == [
        ("depthwise", TOO_LARGE.format(4, 1, 1, 1))
    ]
    result = run(model, "block-circulant{block=3+two=4,ends=true}")
    reasons = {item.node: item.reason for item in result.skipped}
    assert reasons["four"] == ("blocks of 3 do not divide its 4 groups of 4 inputs and 4 outputs")


# Weights, counts and engines.


def test_only_first_columns_train_and_come_back_under_their_names(original: ir.Model) -> None:
    model = run(original, "block-circulant{block=8}").model
    module = to_module(model).train()
    shapes = {name: tuple(value.shape) for name, value in module.named_parameters()}
    assert shapes["3.weight"] == (4, 2, 8, 3, 3)
    assert shapes["7.weight"] == (3, 4, 8, 3, 3)
    assert shapes["11.weight"] == (5, 12, 8)
    assert shapes["11.bias"] == (40,)
    module.eval()
    with torch.no_grad():
        close(module(EXAMPLE).numpy(), in_runtime(model, EXAMPLE.numpy()))
    module.train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    module(EXAMPLE).square().mean().backward()
    assert all(value.grad is not None and value.grad.any() for value in module.parameters())
    optimizer.step()
    trained = write_weights(module, model)
    assert set(trained.graph.initializers) == set(model.graph.initializers)
    for name, value in module.named_parameters():
        np.testing.assert_array_equal(
            trained.graph.initializers[name].const_value.numpy(), value.detach().numpy()
        )
    with torch.no_grad():
        close(in_runtime(trained, EXAMPLE.numpy()), module.eval()(EXAMPLE).numpy())
    assert [str(layer.weights) for layer in read(trained).layers] == [
        str(layer.weights) for layer in read(model).layers
    ]


def test_it_stacks_with_the_pool(original: ir.Model) -> None:
    """Box sums, then a strided convolution in blocks: exact against the unfused network."""
    unfused = run(original, "reorder,block-circulant{block=8}")
    fused = run(original, "reorder,block-circulant{block=8},fuse,choose{form=spectral}")
    assert [c.nodes[0] for c in fused.changes if c.pass_name == "fuse"] == ["3"]
    sites = fused.verification.sites
    assert {site.change.pass_name for site in sites} == {"fuse", "choose"}
    assert fused.verification.max_error <= TOLERANCE
    assert fused.verification.max_deployed_error <= 1e-5
    for batch in (1, 3):
        array = np.random.default_rng(batch).standard_normal((batch, 3, 8, 8)).astype(np.float32)
        close(in_runtime(fused.model, array), in_runtime(unfused.model, array))


@pytest.mark.parametrize("form", ["", *DENSE_FORMS])
@pytest.mark.parametrize("functions", [False, True])
@pytest.mark.parametrize("block", [5, 8])
def test_a_saved_network_has_the_same_blocks(
    original: ir.Model, tmp_path: Path, form: str, block: int, *, functions: bool
) -> None:
    """Loaded again, first columns and biases are found in whatever form the file has."""
    blocks = run(original, f"block-circulant{{block={block}}}").model
    chosen = run(blocks, f"choose{{form={form}}}").model if form else blocks
    save(chosen, tmp_path / "net.onnx", functions=functions)
    loaded = load_file(tmp_path / "net.onnx")
    assert [layer.weights for layer in read(loaded).layers] == [
        layer.weights for layer in read(blocks).layers
    ]
    back = restore(loaded, lowered=True)
    before, after = (dict(to_module(model).named_parameters()) for model in (blocks, back))
    assert {n: p.shape for n, p in after.items()} == {n: p.shape for n, p in before.items()}
    for name, parameter in before.items():
        torch.testing.assert_close(after[name], parameter, rtol=1e-5, atol=1e-6)
    close(in_runtime(back, EXAMPLE.numpy()), in_runtime(blocks, EXAMPLE.numpy()))


def dense_products(filters: int, inputs: int, taps: int, positions: int) -> int:
    return filters * inputs * taps * positions


def in_bins(
    block: int, blocks: tuple[int, int], taps: int, places: int, positions: int
) -> Operations:
    """Of one image: transforms of the places, products of q taps at the positions, back."""
    rows, columns = blocks
    terms = columns * taps
    per_output = Operations(products(block) * terms, products(block) * (terms - 1))
    return columns * places * forward_operations(block) + rows * positions * (
        per_output + backward_operations(block)
    )


def test_what_is_counted_and_stored(original: ir.Model) -> None:
    """By hand: layer 3 is 16 to 32 channels at 8 x 8, 7 is 32 to 24 at 2 x 2, 11 is 96 to 40."""
    dense = {
        "3": dense_products(32, 16, 9, 64), "7": dense_products(24, 32, 9, 4),
        "11": dense_products(40, 96, 1, 1),
    }  # fmt: skip
    # p q k words and the biases.
    compact = {"3": 32 * 16 * 9 // 8 + 32, "7": 24 * 32 * 9 // 8 + 24, "11": 40 * 96 // 8 + 40}
    found = {
        layer.name: layer
        for layer in mlcnn.count(run(original, "block-circulant{block=8}").model).layers
    }
    assert {name: found[name].chosen.multiplications for name in dense} == dense
    assert {name: found[name].stored[1].parameters for name in dense} == compact
    chosen = run(original, "block-circulant{block=8},choose{form=spectral}").model
    found = {layer.name: layer for layer in mlcnn.count(chosen).layers}
    assert found["3"].chosen == in_bins(8, (4, 2), 9, 64, 64)
    assert found["7"].chosen == in_bins(8, (3, 4), 9, 16, 4)
    assert found["11"].chosen == in_bins(8, (5, 12), 1, 1, 1)
    assert {name: found[name].before.multiplications for name in dense} == dense
    # 11 words for 8, the bias among the products of p block rows, and both matrices.
    for name, (p, q, taps) in {"3": (4, 2, 9), "7": (3, 4, 9), "11": (5, 12, 1)}.items():
        assert found[name].stored[1].parameters == 11 * p * q * taps + 11 * p + 2 * 11 * 8
        assert found[name].stored[0].parameters == {"3": 4640, "7": 6936, "11": 3880}[name]
    pairs = run(original, "block-circulant{block=8},choose{form=spectral-pairs}").model
    (layer,) = (item for item in mlcnn.count(pairs).layers if item.name == "11")
    assert layer.stored[1].parameters == 40 * 96 // 8 + 40 + 8 * 8 + 8 * 16
    assert layer.chosen.multiplications - found["11"].chosen.multiplications == 3 * 12 * 5


def test_each_layer_is_measured_and_each_size_by_itself() -> None:
    """Dense layers read no images; and one geometry in other blocks is another layer."""
    net = Net("n", 96)
    first, second, third = (net.weight(f"{name}.weight", 96, 96) for name in "abc")
    hidden = net.op("Gemm", net.x, first, name="a", transB=1)
    hidden = net.op("Gemm", hidden, second, name="b", transB=1)
    model = net.model(net.op("Gemm", hidden, third, name="c", transB=1))
    chooser = engines.MeasuredChooser(budget_s=0.05)
    passes = pipeline.parse("block-circulant{block=8+b=48,ends=true,layers=all},choose")
    result = pipeline.run(model, pipeline.configure(passes, chooser=chooser), verify=True)
    told = [c.reason for c in result.changes if c.pass_name == "choose"]
    told += [item.reason for item in result.skipped if item.pass_name == "choose"]
    assert len(told) == 3
    assert all("in onnxruntime at batch 1" in reason for reason in told)
    assert len(chooser._known) == 2


RUN = [
    "block-circulant{block=8}",
    "block-circulant{block=8},choose{form=spectral}",
    "block-circulant{block=8},choose{form=spectral-pairs}",
    "block-circulant{block=8},choose{form=spectral-batch}",
    "reorder,block-circulant{block=8},fuse,choose{form=spectral}",
    "block-circulant{block=5},choose{form=spectral}",
    "block-circulant{block=7},choose{form=spectral-pairs}",
]


@pytest.mark.parametrize("engine", ["openvino", "native"])
@pytest.mark.parametrize("passes", RUN)
def test_other_engines_run_it(original: ir.Model, engine: str, passes: str) -> None:
    if engine not in engines.available():
        pytest.skip(f"{engine} is not here")
    model = run(original, passes).model
    inputs = {model.graph.inputs[0].name: EXAMPLE.numpy()}
    session = engines.get(engine).prepare(model)
    if engine == "native" and "spectral-batch" in passes:
        with pytest.raises(UnsupportedError, match=r"a constant \[11, 5, 12\] in a product"):
            session.run(inputs)
        return
    (found,) = session.run(inputs).values()
    expected = in_runtime(model, EXAMPLE.numpy())
    assert np.abs(np.asarray(found) - expected).max() <= 2e-5 * np.abs(expected).max()


def test_native_gathers_weights_of_any_size() -> None:
    """Larger than what is folded when a file is read."""
    net, value = Net("n", 96, 8, 8), None
    for name in ("first", "second", "third"):
        value = net.conv(net.x if value is None else value, 96, name=name, channels=96)
    model = net.model(value)
    blocks = run(model, "block-circulant{block=8}").model
    image = np.random.default_rng(0).standard_normal((1, 96, 8, 8), np.float32)
    (found,) = engines.get("native").prepare(blocks).run({"x": image}).values()
    expected = in_runtime(blocks, image)
    assert np.abs(np.asarray(found) - expected).max() <= 2e-5 * np.abs(expected).max()
