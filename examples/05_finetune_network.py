"""Fine-tune a network in a loop of your own, and take its weights back."""

import torch
from torch import nn

import mlcnn

torch.manual_seed(0)
# Stands for your data: images whose class shows in the brightness of one channel.
labels = torch.randint(0, 3, (64,))
images = torch.randn(64, 3, 32, 32)
images[torch.arange(64), labels] += 1.0

optimized = mlcnn.optimize("lenet5", passes="mlcnn", form="box")
print(f"fused: {', '.join(change.nodes[0] for change in optimized.fused)}")

module = optimized.module().train()  # what trains is what was counted and will run
optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)
losses = []
for _ in range(10):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(module(images), labels)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(f"loss: {losses[0]:.3f} -> {losses[-1]:.3f}")
assert losses[-1] < losses[0]

optimized.update_weights(module.eval()).save("lenet5-tuned.onnx")
print("written: lenet5-tuned.onnx")
