"""Engines by name, and what is said about a wrong or a missing one."""

import sys

import pytest

from mlcnn import engines
from mlcnn.errors import InputError, UnsupportedError


def test_every_name_gives_its_engine() -> None:
    assert engines.names() == ("onnxruntime", "openvino", "native", "torch", "torch-compile")
    assert [engines.get(name).name for name in engines.names()] == list(engines.names())


def test_the_nearest_name_is_told() -> None:
    with pytest.raises(InputError) as failure:
        engines.get("onnx-runtime")
    assert str(failure.value) == (
        "unknown engine 'onnx-runtime'; did you mean 'onnxruntime'? (known engines: onnxruntime, "
        "openvino, native, torch, torch-compile)"
    )


def test_a_name_that_is_near_nothing() -> None:
    with pytest.raises(InputError, match=r"unknown engine 'xyz' \(known engines: onnxruntime"):
        engines.get("xyz")


def test_only_onnxruntime_takes_a_provider() -> None:
    with pytest.raises(InputError, match="unknown engine 'torch:CPUExecutionProvider'"):
        engines.get("torch:CPUExecutionProvider")


def test_a_provider_is_part_of_the_name() -> None:
    assert engines.get("onnxruntime:CPUExecutionProvider").name == (
        "onnxruntime:CPUExecutionProvider"
    )


def test_the_nearest_provider_is_told() -> None:
    with pytest.raises(InputError) as failure:
        engines.get("onnxruntime:CPUProvider")
    assert str(failure.value).startswith(
        "onnxruntime has no execution provider 'CPUProvider' here; did you mean "
        "'CPUExecutionProvider'? (it has "
    )


def test_a_missing_extra_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr(
        "mlcnn.engines.registry.find_spec", lambda name: None if name == "openvino" else object()
    )
    with pytest.raises(UnsupportedError) as failure:
        engines.get("openvino")
    assert str(failure.value) == (
        "engine 'openvino': the package 'openvino' is not installed; run "
        "`pip install mlcnn[openvino]`"
    )
    assert engines.available() == ("onnxruntime", "native", "torch", "torch-compile")
