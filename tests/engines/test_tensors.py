"""Sessions on tensors: in place, and by several threads at once."""

import threading

import numpy as np
import pytest
import torch
from engines.test_sessions import brute_force

from mlcnn import engines
from mlcnn.engines.tensors import OnTensors, array_of, tensor_of
from mlcnn.errors import InputError

ENGINES = [name for name in ("native", "onnxruntime", "openvino") if name in engines.available()]


def images(seed: int, batch: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, 8, 8, generator=generator)


@pytest.fixture(params=ENGINES)
def run(request, convolution) -> OnTensors:
    return OnTensors(engines.get(request.param).prepare(convolution), convolution)


def expected(image: torch.Tensor, conv_weights) -> torch.Tensor:
    return torch.from_numpy(brute_force(image.contiguous().numpy(), *conv_weights)).float()


def test_tensors_of_any_order_in_memory_are_right(run, conv_weights) -> None:
    for given in (
        images(0, 2), images(1, 4)[::2], images(2, 3).to(memory_format=torch.channels_last),
        images(3, 2).requires_grad_(),
    ):  # fmt: skip
        (found,) = run([given])
        assert torch.allclose(found, expected(given.detach(), conv_weights), atol=1e-5)
        assert not found.requires_grad


def test_the_result_of_one_call_is_not_that_of_the_next(run) -> None:
    (first,) = run([images(0, 2)])
    kept = first.clone()
    run([images(1, 2)])
    assert torch.equal(first, kept)


def test_eight_threads_at_once_get_what_is_theirs(run, conv_weights) -> None:
    inputs = [images(seed, 1 + seed % 3) for seed in range(8)]
    wanted = [expected(image, conv_weights) for image in inputs]
    found: dict[int, list[torch.Tensor]] = {}
    start = threading.Barrier(8)

    def work(index: int) -> None:
        start.wait()
        found[index] = [run([inputs[index]])[0] for _ in range(50)]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, results in found.items():
        assert all(torch.allclose(one, wanted[index], atol=1e-5) for one in results)
    assert len(found) == 8


def test_another_device_or_type_is_named(run) -> None:
    with pytest.raises(InputError) as caught:
        run([images(0, 1).to("meta")])
    assert str(caught.value) == (
        "an input is on device 'meta', and the network runs on the CPU: give input.cpu()"
    )
    with pytest.raises(InputError, match=r"takes image: float32.*got float64\(1, 3, 8, 8\) for it"):
        run([images(0, 1).double()])


def test_arrays_and_tensors_share_memory() -> None:
    for dtype in (torch.float32, torch.int64, torch.bool, torch.bfloat16):
        tensor = torch.ones(2, 3).to(dtype)
        back = tensor_of(array_of(tensor))
        assert back.dtype == dtype
        assert back.data_ptr() == tensor.data_ptr()
    assert array_of(torch.ones(2, 3).T).flags.c_contiguous
    assert isinstance(array_of(torch.ones(1)), np.ndarray)
