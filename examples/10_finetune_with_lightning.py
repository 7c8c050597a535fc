"""Fine-tune a network in Lightning's loop, and take its weights back."""

import pytorch_lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import mlcnn


class Classifier(pytorch_lightning.LightningModule):
    """What Lightning trains: the rewritten network, its loss and its optimizer."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.losses: list[float] = []

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """The loss of a batch of images and labels."""
        images, labels = batch
        loss = nn.functional.cross_entropy(self.network(images), labels)
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """What takes the steps."""
        return torch.optim.SGD(self.network.parameters(), lr=0.01, momentum=0.9)


torch.manual_seed(0)
# Stands for your data: images whose class shows in the brightness of one channel.
labels = torch.randint(0, 3, (64,))
images = torch.randn(64, 3, 32, 32)
images[torch.arange(64), labels] += 1.0

optimized = mlcnn.optimize("lenet5", passes="mlcnn", form="box")
print(f"fused: {', '.join(change.nodes[0] for change in optimized.fused)}")

classifier = Classifier(optimized.module().train())
trainer = pytorch_lightning.Trainer(
    max_epochs=10,
    accelerator="cpu",
    # Without these it keeps checkpoints and logs in the current directory, and shows its progress.
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(classifier, DataLoader(TensorDataset(images, labels), batch_size=64))
losses = classifier.losses
print(f"loss: {losses[0]:.3f} -> {losses[-1]:.3f}")
assert losses[-1] < losses[0]

optimized.update_weights(classifier.network.eval()).save("lenet5-lightning.onnx")
print("written: lenet5-lightning.onnx")
