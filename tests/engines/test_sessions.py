"""Every engine gives numpy's results, and clear messages."""

import gc

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch

from mlcnn import engines
from mlcnn.errors import InputError, UnsupportedError
from mlcnn.graph import clone
from mlcnn.passes import Fuse, pipeline

ENGINES = [
    "onnxruntime",
    "openvino",
    "native",
    "torch",
    "torch-compile",
]
QUICK = ENGINES[:-1]


def convolved(image: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """A square convolution that keeps the size, in float64."""
    kernel = weight.shape[2]
    pads = (kernel // 2, kernel // 2)
    padded = np.pad(image.astype(np.float64), ((0, 0), (0, 0), pads, pads))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(2, 3))
    sums = np.einsum("ncpqrs,kcrs->nkpq", windows, weight.astype(np.float64))
    return sums + bias[None, :, None, None]


def brute_force(image: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """ReLU of the same."""
    return np.maximum(convolved(image, weight, bias), 0)


def results_of(call) -> list[np.ndarray]:
    """What a runner computed, wherever its engine leaves it."""
    result = call()
    if hasattr(call, "binding"):  # ONNX Runtime
        return call.binding.copy_outputs_to_cpu()
    if isinstance(result, torch.Tensor):
        return [result.numpy()]
    return [np.asarray(result[index]) for index in range(len(result))]


@pytest.mark.parametrize("name", ENGINES)
def test_results_are_those_of_numpy(name: str, convolution, conv_weights) -> None:
    image = np.random.default_rng(1).standard_normal((5, 3, 8, 8), np.float32)
    session = engines.get(name).prepare(convolution)
    outputs = session.run({"image": image})
    assert list(outputs) == ["features"]
    expected = brute_force(image, *conv_weights)
    np.testing.assert_allclose(outputs["features"], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", [*QUICK, pytest.param("torch-compile", marks=pytest.mark.long)])
def test_the_batch_stays_dynamic(name: str, convolution, conv_weights) -> None:
    session = engines.get(name).prepare(convolution)
    for batch in (1, 3):
        image = np.random.default_rng(batch).standard_normal((batch, 3, 8, 8), np.float32)
        found = session.run({"image": image})["features"]
        expected = brute_force(image, *conv_weights)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", QUICK)
def test_inputs_and_outputs_go_by_name(name: str, two_by_two) -> None:
    left, right = np.float32([[1, 2, 3]]), np.float32([[4, 6, 8]])
    outputs = engines.get(name).prepare(two_by_two).run({"right": right, "left": left})
    np.testing.assert_array_equal(outputs["difference"], [[-3, -4, -5]])
    np.testing.assert_array_equal(outputs["product"], [[4, 12, 24]])


@pytest.mark.parametrize("name", QUICK)
def test_results_outlive_the_next_run(name: str, two_by_two) -> None:
    session = engines.get(name).prepare(two_by_two)
    ones = np.ones((1, 3), np.float32)
    first = session.run({"left": ones, "right": ones})["product"]
    session.run({"left": 5 * ones, "right": ones})
    np.testing.assert_array_equal(first, ones)


@pytest.mark.parametrize("name", QUICK)
def test_inputs_need_not_be_contiguous(name: str, two_by_two) -> None:
    left = np.arange(6, dtype=np.float32).reshape(3, 2).T
    ones = np.ones((2, 3), np.float32)
    session = engines.get(name).prepare(two_by_two)
    session.runner({"left": left, "right": ones})()
    outputs = session.run({"left": left, "right": ones})
    np.testing.assert_array_equal(outputs["product"], [[0, 2, 4], [1, 3, 5]])


@pytest.mark.parametrize("name", QUICK)
def test_a_runner_runs(name: str, convolution, conv_weights) -> None:
    image = np.random.default_rng(2).standard_normal((2, 3, 8, 8), np.float32)
    call = engines.get(name).prepare(convolution).runner({"image": image})
    call()
    expected = brute_force(image, *conv_weights)
    np.testing.assert_allclose(results_of(call)[0], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", QUICK)
def test_a_runner_keeps_its_inputs(name: str, two_by_two) -> None:
    """What the engine reads in place must not be freed while it does."""
    ones = np.ones((4096, 3), np.float32)
    call = engines.get(name).prepare(two_by_two).runner({"left": 3 * ones, "right": 2 * ones})
    gc.collect()
    others = [np.full((4096, 3), -7, np.float32) for _ in range(50)]
    result = results_of(call)
    assert len(others) == 50
    np.testing.assert_array_equal(np.asarray(result[1]), 6 * ones)


FORMS_BY_SITE = {  # (kernel, window): forms that compute it
    (3, 2): ("box", "box-depthwise", "expanded", "matmul"),
    (3, 8): ("matvec",),
    (1, 2): ("pool-first",),
    (1, 8): ("pool-first", "matvec"),
}


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize(
    ("site", "form"), [(site, form) for site, forms in FORMS_BY_SITE.items() for form in forms]
)
def test_fused_functions_run(
    name: str, site: tuple[int, int], form: str, pooled, conv_weights
) -> None:
    """An engine that cannot run a form would silently never be given it."""
    kernel, window = site
    weight, bias = conv_weights[0][:, :, :kernel, :kernel], conv_weights[1]
    fused = pipeline.run(pooled(weight, bias, window), [Fuse(form=form)]).model
    assert [node.domain for node in fused.graph] == ["mlcnn"]
    image = np.random.default_rng(4).standard_normal((2, 3, 8, 8), np.float32)
    tiles = convolved(image, weight, bias).reshape(2, 4, 8 // window, window, 8 // window, window)
    found = engines.get(name).prepare(fused).run({"image": image})["features"]
    np.testing.assert_allclose(found, tiles.mean((3, 5)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", QUICK)
def test_the_network_is_not_changed(name: str, convolution) -> None:
    before = ir.to_proto(clone(convolution)).SerializeToString()
    engines.get(name).prepare(convolution)
    assert ir.to_proto(convolution).SerializeToString() == before


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ({}, "the network takes image: float32(N, 3, 8, 8), got nothing"),
        ({"picture": np.zeros((1, 3, 8, 8), np.float32)}, "got picture"),
        ({"image": np.zeros((1, 3, 8, 9), np.float32)}, "got float32(1, 3, 8, 9) for it"),
        ({"image": np.zeros((3, 8, 8), np.float32)}, "got float32(3, 8, 8) for it"),
        ({"image": np.zeros((1, 3, 8, 8))}, "got float64(1, 3, 8, 8) for it"),
    ],
)
def test_wrong_inputs_are_told(name: str, inputs, told: str, convolution) -> None:
    session = engines.get(name).prepare(convolution)
    for use in (session.run, session.runner):
        with pytest.raises(InputError) as failure:
            use(inputs)
        assert told in str(failure.value)


@pytest.mark.parametrize("name", QUICK)
def test_a_refused_network_is_told_in_one_line(name: str, foreign) -> None:
    with pytest.raises(UnsupportedError) as failure:
        engines.get(name).prepare(foreign)
    message = str(failure.value)
    assert "Frobnicate" in message
    assert "\n" not in message
    assert len(message) < 320


@pytest.mark.parametrize("name", QUICK)
def test_threads_must_be_positive(name: str, convolution) -> None:
    with pytest.raises(InputError, match="threads must be 1 or more, got 0"):
        engines.get(name).prepare(convolution, threads=0)


@pytest.mark.parametrize("name", QUICK)
def test_two_threads_give_the_same(name: str, convolution, conv_weights) -> None:
    image = np.random.default_rng(2).standard_normal((2, 3, 8, 8), np.float32)
    found = engines.get(name).prepare(convolution, threads=2).run({"image": image})["features"]
    expected = brute_force(image, *conv_weights)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_torch_keeps_its_number_of_threads(convolution) -> None:
    before = torch.get_num_threads()
    image = np.zeros((1, 3, 8, 8), np.float32)
    session = engines.get("torch").prepare(convolution, threads=before + 1)
    session.run({"image": image})
    session.runner({"image": image})()
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("name", QUICK)
def test_an_unknown_device_is_told(name: str, convolution) -> None:
    with pytest.raises(InputError, match="unknown device 'gpu'; known devices: cpu, cuda"):
        engines.get(name).prepare(convolution, device="gpu")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("onnxruntime", "this onnxruntime has no CUDAExecutionProvider"),
        ("openvino", "openvino runs on device 'cpu' only, got 'cuda'"),
        ("torch", "torch finds no CUDA device here; use device 'cpu'"),
    ],
)
def test_a_missing_device_is_told(name: str, told: str, convolution) -> None:
    if (
        torch.cuda.is_available()
        or "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    ):
        pytest.skip("there is a CUDA device here")
    with pytest.raises(InputError) as failure:
        engines.get(name).prepare(convolution, device="cuda")
    assert told in str(failure.value)


@pytest.mark.parametrize("name", ["torch"])
def test_bfloat16_goes_in_and_out(name: str) -> None:
    net = ir.from_onnx_text(
        """<ir_version: 10, opset_import: ["" : 20]>
        net (bfloat16[N, 2] x) => (bfloat16[N, 2] y) { y = Relu(x) }"""
    )
    dtype = ir.DataType.BFLOAT16.numpy()
    given = np.array([[-1.5, 2.25]], np.float32).astype(dtype)
    found = engines.get(name).prepare(net).run({"x": given})["y"]
    assert found.dtype == dtype
    np.testing.assert_array_equal(found.astype(np.float32), [[0, 2.25]])


def test_torch_compile_needs_a_compiler(monkeypatch, convolution) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    with pytest.raises(UnsupportedError, match="needs a C\\+\\+ compiler: install g\\+\\+"):
        engines.get("torch-compile").prepare(convolution)


def test_torch_compile_takes_a_compiler_without_arguments(monkeypatch, convolution) -> None:
    """PyTorch reads CXX as the name of a program."""
    monkeypatch.setenv("CXX", "c++ -O1")
    with pytest.raises(UnsupportedError, match=r"without arguments, and CXX is 'c\+\+ -O1': set"):
        engines.get("torch-compile").prepare(convolution)
