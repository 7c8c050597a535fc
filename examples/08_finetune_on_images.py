"""Fine-tune a network on labelled images, with the original as teacher."""

import numpy as np

import mlcnn
from mlcnn.training import load_sample

# Stands for your images: 500 of CIFAR-10. A folder with a folder for each class does, too.
sample = load_sample()
np.savez("images.npz", images=sample.images, labels=sample.labels)

done = mlcnn.finetune("lenet5", "images.npz", epochs=2)
for row, change in zip(done.accuracies, done.differences, strict=True):
    print(f"{row.variant:11} {100 * row.top1:5.1f} % of {row.images}  {100 * change.top1:+.1f}")
done.result.save("lenet5-fast.onnx")
print("written: lenet5-fast.onnx")
