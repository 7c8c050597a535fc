"""Optimize a torch module: the same function, fewer multiplications."""

import numpy as np
import torch
from torch import nn

import mlcnn

module = nn.Sequential(
    nn.Conv2d(3, 32, 3, padding=1),
    nn.AvgPool2d(2),  # directly behind the convolution: fused exactly
    nn.ReLU(),
    nn.Conv2d(32, 64, 3, padding=1),
    nn.BatchNorm2d(64),
    nn.AdaptiveAvgPool2d(1),  # commutes with the batch norm: fused exactly, too
    nn.Flatten(),
    nn.Linear(64, 10),
).eval()
images = torch.randn(2, 3, 32, 32)

optimized = mlcnn.optimize(module, images)
for change in optimized.fused:
    print(f"fused {change.nodes[0]} as {change.form}: {change.reason}")
for site in optimized.skipped:
    print(f"left alone: {site.node}: {site.reason}")
print(f"largest error at a site, in float64: {optimized.max_error:.1e}")

name = optimized.model.graph.inputs[0].name
(result,) = optimized.run({name: images.numpy()}).values()
with torch.no_grad():
    expected = module(images).numpy()
np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)

total = optimized.counts()
before = sum(row.multiplications.original for row in total.layers)
after = sum(row.chosen.multiplications for row in total.layers)
print(f"multiplications: {before:,} -> {after:,}")

optimized.save("faster.onnx")
print("written: faster.onnx")
