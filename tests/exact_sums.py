"""Engines that add up products of codes exactly only where the processor has VNNI."""

import pytest

from mlcnn.engines.processor import processor

__all__ = ["HAS_VNNI", "needs_vnni"]

HAS_VNNI = "VNNI" in processor()["instructions"]
"""Without it OpenVINO adds pairs of products in 16 bits, which saturate, whatever it is told."""

needs_vnni = pytest.mark.skipif(
    not HAS_VNNI, reason="without VNNI OpenVINO's sums of products of codes saturate"
)
