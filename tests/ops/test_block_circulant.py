"""Circulant blocks: transforms, operation counts, dense weights, projection, and gradients."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import product

import numpy as np
import onnx_ir as ir
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcnn.ops.block_circulant import Blocks, dense_weight, projected, structure
from mlcnn.ops.block_circulant.module import BlockCirculantConv2d, BlockCirculantLinear
from mlcnn.ops.block_circulant.pairs import (
    SpectralPairs,
    compact_of_pairs,
    pair_backward,
    pair_forward,
    pair_weights,
)
from mlcnn.ops.block_circulant.roads import (
    by_bins,
    convolved_by_bins,
    dense_tensor,
    multiplied_by_bins,
)
from mlcnn.ops.block_circulant.spectral import Spectral, compact_weight
from mlcnn.ops.block_circulant.transforms import (
    backward_matrix,
    backward_operations,
    forward_matrix,
    forward_operations,
    inverse,
    products,
    spectral_weights,
    transform,
)
from mlcnn.ops.geometry import Convolution
from mlcnn.workload import ConvLayer, Layer, Operations

SIZES = [*range(1, 20), 24, 25, 27, 32, 45, 48, 63, 64, 65, 96, 100, 127, 128]


def circulant(column: np.ndarray) -> np.ndarray:
    """The matrix with this first column, entry by entry."""
    size = len(column)
    return np.array([[column[(t - c) % size] for c in range(size)] for t in range(size)])


@pytest.mark.parametrize("size", SIZES)
def test_transforms_are_those_of_numpy(size: int) -> None:
    x, w = np.random.default_rng(size).standard_normal((2, size))
    bins = transform([*x])
    expected = np.fft.rfft(x)
    assert len(bins) == size // 2 + 1
    found = [real + 1j * (0 if imaginary is None else imaginary) for real, imaginary in bins]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * size)
    np.testing.assert_allclose(inverse(bins, size), size * x, rtol=0, atol=1e-12 * size)
    assert [imaginary is None for _, imaginary in bins] == [
        index == 0 or 2 * index == size for index in range(len(bins))
    ]
    y = circulant(w) @ x
    np.testing.assert_allclose(np.fft.irfft(np.fft.rfft(w) * expected, size), y, atol=1e-12)
    rows = forward_matrix(size) @ x
    assert rows.shape == (products(size),)
    multiplied = rows * spectral_weights(w, 0)
    np.testing.assert_allclose(backward_matrix(size) @ multiplied, y, rtol=0, atol=1e-12)
    first, second = (pair_forward(size) @ x).reshape(-1, 2).T
    u, v = pair_weights(w[None, None])[..., 0, 0].T
    multiplied = np.stack([first * u, first * v, second * u, second * v], 1).reshape(-1)
    np.testing.assert_allclose(pair_backward(size) @ multiplied, y, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_weights_come_back_from_their_transforms(size: int) -> None:
    compact = np.random.default_rng(size).standard_normal((2, 3, size))
    rows = np.moveaxis(spectral_weights(compact, 2), 2, 0)
    back = compact_weight(rows, size)
    np.testing.assert_allclose(np.moveaxis(back, 0, 2), compact, rtol=0, atol=1e-13)
    back = compact_of_pairs(pair_weights(compact), size)
    np.testing.assert_allclose(back, compact, rtol=0, atol=1e-13)


def test_small_transforms_multiply_nothing() -> None:
    assert [products(size) for size in (1, 2, 4, 8, 16, 64)] == [1, 2, 5, 11, 23, 95]
    for size, expected in ((1, 0), (2, 0), (4, 0), (8, 2)):
        assert forward_operations(size).multiplications == expected
        assert backward_operations(size).multiplications == expected
    # A sum and a difference; and of four, with the sums of parts that three products take.
    assert forward_operations(2) == backward_operations(2) == Operations(0, 2)
    assert forward_operations(4).additions == 6 + 1


@pytest.mark.parametrize("size", [16, 32, 64, 128])
def test_transforms_take_fewer_operations_than_half_a_complex_one(size: int) -> None:
    """Radix 2 of complex numbers: k/2 log2 k products of 4 (2) and k log2 k sums of 2."""
    found, log = forward_operations(size), size.bit_length() - 1
    assert found.multiplications < size / 2 * log * 4 / 2
    assert found.additions < (size * log * 2 + size / 2 * log * 2) / 2


class Number:
    """A number that is computed with and counts it, as hardware would."""

    def __init__(self, value: float, counts: list[int]) -> None:
        self.value, self.counts = value, counts

    def _added(self, value: float) -> "Number":
        self.counts[1] += 1
        return Number(value, self.counts)

    def __add__(self, other: "Number") -> "Number":
        return self._added(self.value + other.value)

    def __sub__(self, other: "Number") -> "Number":
        return self._added(self.value - other.value)

    def __neg__(self) -> "Number":
        return Number(-self.value, self.counts)

    def __mul__(self, factor: float) -> "Number":
        self.counts[0] += abs(abs(factor) - 1) > 1e-12
        return Number(self.value * factor, self.counts)

    def weighted(self, weight: float) -> "Number":
        self.counts[0] += 1
        return Number(self.value * weight, self.counts)


@dataclass
class Walk:
    """A layer walked through number by number: transform, products, sums, transform back."""

    nest: ConvLayer
    blocks: Blocks
    compact: np.ndarray
    three: bool
    counts: list[int] = field(default_factory=lambda: [0, 0])

    def run(self, images: np.ndarray) -> np.ndarray:
        nest = self.nest
        outputs = np.zeros((nest.N, nest.K, nest.P, nest.Q))
        for n, g in np.ndindex(nest.N, nest.G):
            places = np.ndindex(self.blocks.columns, nest.H, nest.W)
            bins = {at: self._forward(images[n], g, *at) for at in places}
            for i, y, x in np.ndindex(self.blocks.rows, nest.P, nest.Q):
                channels = self._channels(g, i, self.blocks.rows, nest.K)
                for channel, value in zip(channels, self._output(bins, g, i, y, x), strict=True):
                    if channel is not None:
                        outputs[n, channel, y, x] = value.value
        return outputs

    def _channels(self, group: int, block: int, blocks: int, channels: int) -> list[int | None]:
        """Those of a block; None for one that pads."""
        each = channels // self.nest.G
        inside = [place * blocks + block for place in range(self.blocks.size)]
        return [group * each + channel if channel < each else None for channel in inside]

    def _forward(
        self, image: np.ndarray, group: int, column: int, y: int, x: int
    ) -> list[list[Number]]:
        """What is multiplied, bin by bin."""
        channels = self._channels(group, column, self.blocks.columns, self.nest.C)
        values = [0.0 if channel is None else image[channel, y, x] for channel in channels]
        bins = transform([Number(value, self.counts) for value in values])
        found = [[part for part in bin_ if part is not None] for bin_ in bins]
        return [[sum_of(bin_), *bin_] if self.three and len(bin_) == 2 else bin_ for bin_ in found]

    def _output(self, bins: dict, group: int, row: int, y: int, x: int) -> list[Number]:
        nest, totals = self.nest, []
        for column, r, s in np.ndindex(self.blocks.columns, nest.R, nest.S):
            line = y * nest.strides[0] + r * nest.dilations[0] - nest.pads[0]
            place = x * nest.strides[1] + s * nest.dilations[1] - nest.pads[1]
            weight = self.compact[group * self.blocks.rows + row, column, :, r, s]
            found = bins.get((column, line, place))
            if found is None:  # a zero that pads the image
                found = [[Number(0.0, self.counts)] * len(bin_) for bin_ in bins[0, 0, 0]]
            totals.append(self._products(found, np.fft.rfft(weight) / self.blocks.size))
        return inverse(
            [self._bin([sum_of(parts) for parts in zip(*terms, strict=True)])
             for terms in zip(*totals, strict=True)],
            self.blocks.size,
        )  # fmt: skip

    def _products(self, bins: list[list[Number]], weights: np.ndarray) -> list[list[Number]]:
        found = []
        for numbers, weight in zip(bins, weights, strict=True):
            u, v = weight.real, weight.imag
            if len(numbers) == 1:
                pairs = [(numbers[0], u)]
            elif self.three:
                pairs = zip(numbers, (u, v - u, u + v), strict=True)
            else:
                pairs = product(numbers, (u, v))
            found.append([number.weighted(factor) for number, factor in pairs])
        return found

    def _bin(self, parts: list[Number]) -> tuple[Number, Number | None]:
        if len(parts) == 1:
            return parts[0], None
        if self.three:
            both, first, second = parts
            return both - second, both + first
        au, av, bu, bv = parts
        return au - bv, av + bu


def sum_of(numbers: Sequence[Number]) -> Number:
    return reduce(lambda a, b: a + b, numbers)


WALKED = [
    ConvLayer("a", N=2, K=8, C=8, H=3, W=4, R=3, S=2, pads=(1, 0, 1, 1)),
    ConvLayer("b", N=1, K=6, C=10, H=4, W=3, R=2, S=2, strides=(2, 1), dilations=(1, 2)),
    ConvLayer("c", N=1, K=8, C=16, H=2, W=2, R=1, S=1, G=2),
    ConvLayer("d", N=3, K=9, C=7, H=1, W=1, R=1, S=1),
]


def dense_convolution(nest: ConvLayer, weight: np.ndarray, images: np.ndarray) -> np.ndarray:
    top, left, bottom, right = nest.pads
    padded = torch.nn.functional.pad(torch.from_numpy(images), (left, right, top, bottom))
    return torch.nn.functional.conv2d(
        padded, torch.from_numpy(weight), None, nest.strides, 0, nest.dilations, nest.G
    ).numpy()


def divided(*sizes: int) -> list[tuple[ConvLayer, int]]:
    """Each layer in blocks of each of the sizes that it takes."""
    return [
        (nest, size)
        for nest in WALKED
        for size in sizes
        if Blocks(size, nest.K, nest.C, nest.G).refuses() is None
    ]


@pytest.mark.parametrize(("nest", "size"), divided(1, 2, 3, 4, 5, 6, 8))
@pytest.mark.parametrize("form", [Spectral(), SpectralPairs()], ids=lambda form: form.name)
def test_what_is_executed_is_counted(
    nest: ConvLayer, size: int, form: Spectral | SpectralPairs
) -> None:
    """A walk that computes the layer number by number takes exactly the operations told."""
    blocks = Blocks(size, nest.K, nest.C, nest.G)
    generator = np.random.default_rng(size)
    compact = generator.standard_normal(
        (nest.G * blocks.rows, blocks.columns, size, nest.R, nest.S)
    )
    images = generator.standard_normal((nest.N, nest.C, nest.H, nest.W))
    walk = Walk(nest, blocks, compact, three=isinstance(form, Spectral))
    expected = dense_convolution(nest, dense_weight(compact, blocks), images)
    np.testing.assert_allclose(walk.run(images), expected, rtol=0, atol=1e-12)
    layer = Layer(nest, "Conv", form.name, weights=structure(size))
    assert form.operations(layer) == Operations(*walk.counts)


divisions = st.builds(
    Blocks,
    st.integers(1, 9),
    st.integers(1, 20),
    st.integers(1, 20),
    st.just(1),
)


@given(divisions, st.integers(0, 99))
@settings(max_examples=100)
def test_dense_weight_entry_by_entry(blocks: Blocks, seed: int) -> None:
    p, q, size = blocks.rows, blocks.columns, blocks.size
    compact = np.random.default_rng(seed).standard_normal((p, q, size, 2))
    dense = dense_weight(compact, blocks)
    assert dense.shape == (blocks.filters, blocks.channels, 2)
    for row, column in np.ndindex(blocks.filters, blocks.channels):
        (t, i), (c, j) = divmod(int(row), p), divmod(int(column), q)
        np.testing.assert_array_equal(dense[row, column], compact[i, j, (t - c) % size])
    tensor = dense_tensor(torch.from_numpy(compact), blocks)
    np.testing.assert_array_equal(tensor.numpy(), dense)


def test_groups_are_apart() -> None:
    blocks = Blocks(2, 8, 12, 2)
    compact = np.random.default_rng(0).standard_normal((4, 3, 2, 1, 1))
    halves = [dense_weight(compact[g : g + 2], Blocks(2, 4, 6)) for g in (0, 2)]
    np.testing.assert_array_equal(dense_weight(compact, blocks), np.concatenate(halves))


def basis(blocks: Blocks) -> np.ndarray:
    """The dense weights of unit first columns, a row each."""
    shape = (blocks.groups * blocks.rows, blocks.columns, blocks.size)
    units = np.eye(int(np.prod(shape))).reshape(-1, *shape)
    return np.stack([dense_weight(unit, blocks).reshape(-1) for unit in units])


@given(divisions, st.integers(0, 99))
@settings(max_examples=60)
def test_projection_is_the_nearest_one(blocks: Blocks, seed: int) -> None:
    """Least squares over all block-circulant weights, what pads left out, finds the same."""
    weight = np.random.default_rng(seed).standard_normal((blocks.filters, blocks.channels))
    found, *_ = np.linalg.lstsq(basis(blocks).T, weight.reshape(-1), rcond=None)
    # Of columns that lie in the padding altogether, the least ones are taken: zeros.
    compact = projected(weight, blocks)
    np.testing.assert_allclose(compact.reshape(-1), found, rtol=0, atol=1e-12)


def test_padding_has_no_part_in_the_means() -> None:
    """3 x 2 in blocks of 2: the last row of blocks has one true row only."""
    weight = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    # p = 2: rows 0 and 2 are block row 0, row 1 (and one that pads) block row 1.
    np.testing.assert_array_equal(
        projected(weight, Blocks(2, 3, 2)), [[[(1 + 6) / 2, (5 + 2) / 2]], [[3.0, 4.0]]]
    )


@given(divisions, st.integers(0, 99))
@settings(max_examples=50)
def test_what_is_circulant_already_stays(blocks: Blocks, seed: int) -> None:
    shape = (blocks.rows, blocks.columns, blocks.size, 3)
    dense = dense_weight(np.random.default_rng(seed).standard_normal(shape), blocks)
    again = dense_weight(projected(dense, blocks), blocks)
    np.testing.assert_allclose(again, dense, rtol=0, atol=1e-14)


def layer_of(nest: ConvLayer, size: int) -> Convolution:
    """What modules read of a layer."""
    value = ir.Value(name="w", type=ir.TensorType(ir.DataType.DOUBLE))
    node = ir.node("BlockCirculantConv", [value, value], domain="mlcnn")
    return Convolution(
        node, value, None, nest.K, nest.C, (nest.R, nest.S), nest.strides, nest.dilations,
        nest.pads, nest.G, (nest.H, nest.W), weights=structure(size),
    )  # fmt: skip


def filled(module: torch.nn.Module) -> torch.nn.Module:
    """The module in float64 with random weights."""
    module = module.to_empty(device="cpu").double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=generator)
    return module


def written_out(weight: torch.Tensor, blocks: Blocks) -> torch.Tensor:
    """The dense weight, entry by entry, so that autograd sees each one."""
    per_filter, per_channel = blocks.filters // blocks.groups, blocks.channels // blocks.groups
    rows = []
    for row in range(blocks.filters):
        group, inside = divmod(row, per_filter)
        t, i = divmod(inside, blocks.rows)
        entries = []
        for column in range(per_channel):
            c, j = divmod(column, blocks.columns)
            entries.append(weight[group * blocks.rows + i, j, (t - c) % blocks.size])
        rows.append(torch.stack(entries))
    return torch.stack(rows)


def gradients(output: torch.Tensor, *of: torch.Tensor) -> tuple[torch.Tensor, ...]:
    towards = torch.randn(
        output.shape, generator=torch.Generator().manual_seed(1), dtype=output.dtype
    )
    return torch.autograd.grad((output * towards).sum(), of)


@pytest.mark.parametrize(("nest", "size"), divided(1, 2, 3, 4, 7))
def test_gradients_are_those_of_the_weight_written_out(nest: ConvLayer, size: int) -> None:
    blocks = Blocks(size, nest.K, nest.C, nest.G)
    module = filled(BlockCirculantConv2d(layer_of(nest, size), bias=True))
    images = torch.randn(nest.N, nest.C, nest.H, nest.W, dtype=torch.float64, requires_grad=True)
    weight, bias = module.weight, module.bias
    top, left, bottom, right = nest.pads
    padded = torch.nn.functional.pad(images, (left, right, top, bottom))
    expected = torch.nn.functional.conv2d(
        padded, written_out(weight, blocks), bias, nest.strides, 0, nest.dilations, nest.G
    )
    found = module(images)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    for one, other in zip(
        gradients(found, images, weight, bias), gradients(expected, images, weight, bias),
        strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [2, 4, 5, 8])
def test_gradients_of_a_dense_layer_are_those_of_the_paper(size: int) -> None:
    """[CirCNN] backward: products with the conjugates of the other one's transform."""
    p, q, count = 3, 2, 4
    nest = ConvLayer("fc", N=count, K=p * size, C=q * size, H=1, W=1, R=1, S=1)
    module = filled(BlockCirculantLinear(layer_of(nest, size), bias=False))
    inputs = torch.randn(count, q * size, dtype=torch.float64, requires_grad=True)
    output = module(inputs)
    towards = torch.randn_like(output)
    by_input, by_weight = torch.autograd.grad((output * towards).sum(), (inputs, module.weight))

    def bins(values: np.ndarray) -> np.ndarray:
        """Channel t p + i of (n, k p) to (n, i, frequency)."""
        return np.fft.fft(values.reshape(count, size, -1).transpose(0, 2, 1))

    x, a = bins(inputs.detach().numpy()), bins(towards.numpy())
    w = np.fft.fft(module.weight.detach().numpy())
    expected = np.fft.ifft(np.einsum("nif,njf->ijf", a, x.conj())).real
    np.testing.assert_allclose(by_weight.numpy(), expected, rtol=0, atol=1e-12)
    expected = np.fft.ifft(np.einsum("nif,ijf->njf", a, w.conj())).real
    expected = expected.transpose(0, 2, 1).reshape(count, -1)
    np.testing.assert_allclose(by_input.numpy(), expected, rtol=0, atol=1e-12)
    forward = np.fft.ifft(np.einsum("ijf,njf->nif", w, x)).real.transpose(0, 2, 1)
    np.testing.assert_allclose(
        output.detach().numpy(), forward.reshape(count, -1), rtol=0, atol=1e-12
    )


def second(output: torch.Tensor, *of: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Gradients of the gradients' squares."""
    towards = torch.randn(
        output.shape, generator=torch.Generator().manual_seed(1), dtype=output.dtype
    )
    first = torch.autograd.grad((output**2 * towards).sum(), of, create_graph=True)
    return torch.autograd.grad(sum((one**2).sum() for one in first), of)


Road = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def assert_same(roads: Sequence[Road], *of: torch.Tensor) -> None:
    """Values, gradients and second ones are those of the first, up to the rounding of float64."""
    first, *others = roads
    for other in others:
        torch.testing.assert_close(other(*of), first(*of), rtol=0, atol=1e-12)
        for derived in (gradients, second):
            expected = derived(first(*of), *of)
            for one, wanted in zip(derived(other(*of), *of), expected, strict=True):
                torch.testing.assert_close(one, wanted, rtol=1e-12, atol=1e-10)


def random(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize(("nest", "size"), divided(1, 2, 3, 4, 7))
def test_both_roads_of_a_convolution_have_the_gradients_of_the_weight_written_out(
    nest: ConvLayer, size: int
) -> None:
    blocks = Blocks(size, nest.K, nest.C, nest.G)
    place = (nest.strides, (1, 2), nest.dilations)

    def dense(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(x, w, None, *place, nest.G)

    assert_same(
        [
            lambda x, w: dense(x, written_out(w, blocks)),
            lambda x, w: dense(x, dense_tensor(w, blocks)),
            lambda x, w: convolved_by_bins(x, w, blocks, *place),
        ],
        random(2, nest.C, nest.H, nest.W),
        random(nest.G * blocks.rows, blocks.columns, size, nest.R, nest.S),
    )


@pytest.mark.parametrize("blocks", [Blocks(1, 3, 2), Blocks(2, 5, 4), Blocks(7, 9, 20)])
def test_both_roads_of_a_dense_layer_have_the_gradients_of_the_weight_written_out(
    blocks: Blocks,
) -> None:
    assert_same(
        [
            lambda x, w: x @ written_out(w, blocks).T,
            lambda x, w: x @ dense_tensor(w, blocks).T,
            lambda x, w: multiplied_by_bins(x, w, blocks),
        ],
        random(3, blocks.channels),
        random(blocks.rows, blocks.columns, blocks.size),
    )


@pytest.mark.parametrize("last", [False, True])
def test_modules_take_the_road_that_their_shape_says(*, last: bool) -> None:
    """Either road, also in bfloat16 and with channels last, is the convolution in float64."""
    for channels, size in ((128, 4), (8, 4)):
        nest = ConvLayer("c", 2, channels, channels, 6, 6, 3, 3, pads=(1, 1, 1, 1))
        blocks = Blocks(size, channels, channels)
        module = filled(BlockCirculantConv2d(layer_of(nest, size), bias=True))
        images = torch.randn(
            2, channels, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2)
        )
        expected = module(images)
        kind = torch.channels_last if last else torch.contiguous_format
        module, images = module.float(), images.float().contiguous(memory_format=kind)
        assert by_bins(blocks, 9, images) == (channels == 128)
        assert not by_bins(blocks, 9, images.to("meta"))
        scale = expected.abs().max()
        assert (module(images) - expected).abs().max() <= 1e-6 * scale
        with torch.autocast("cpu", torch.bfloat16):
            rounded = module(images)
        assert rounded.dtype is torch.bfloat16
        assert (rounded - expected).abs().max() <= 0.03 * scale
        (by_weight,) = torch.autograd.grad(rounded.float().square().sum(), (module.weight,))
        (exact,) = torch.autograd.grad(module(images).square().sum(), (module.weight,))
        assert (by_weight - exact).norm() <= 0.03 * exact.norm()
