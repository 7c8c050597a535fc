"""The loop learns, repeats itself, resumes, and says what is wrong."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from mlcnn.errors import InputError
from mlcnn.training import ImageSet, Recipe, train
from mlcnn.training.loop import _Batches

RECIPE = Recipe(
    epochs=4, batch_size=16, learning_rate=0.05, crop=1, mean=(0.5,), std=(0.5,), weight_decay=0
)


def toy_images(count: int = 60) -> ImageSet:
    """Three classes: which third of the image is bright."""
    generator = np.random.default_rng(0)
    labels = np.arange(count) % 3
    images = generator.integers(0, 60, (count, 1, 6, 6), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[0, 2 * label : 2 * label + 2] += 150
    return ImageSet("toy", images, labels.astype(np.int64), 3)


def toy_module() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.1),
            nn.Linear(64, 3),
        )  # fmt: skip


def state(module: nn.Module) -> dict[str, list[float]]:
    return {name: tensor.flatten().tolist() for name, tensor in module.state_dict().items()}


def test_it_learns():
    seen = []
    module = toy_module()
    history = train(module, toy_images(), replace(RECIPE, epochs=20), progress=seen.append)
    assert list(history) == seen
    assert [epoch.number for epoch in history] == list(range(1, 21))
    assert history[-1].loss < history[0].loss / 2
    assert not module.training
    images = toy_images()
    pixels = torch.from_numpy(images.normalised(RECIPE.mean, RECIPE.std))
    guesses = module(pixels).argmax(1).numpy()
    assert (guesses == images.labels).mean() > 0.9


def test_a_seed_decides_everything():
    modules = [toy_module() for _ in range(3)]
    torch.manual_seed(1)
    before = torch.get_rng_state()
    train(modules[0], toy_images(), RECIPE, seed=3)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    train(modules[1], toy_images(), RECIPE, seed=3)
    train(modules[2], toy_images(), RECIPE, seed=4)
    assert state(modules[0]) == state(modules[1])
    assert state(modules[0]) != state(modules[2])


def test_a_resumed_run_ends_as_an_uninterrupted_one(tmp_path):
    whole, halves = toy_module(), toy_module()
    train(whole, toy_images(), RECIPE, seed=5)
    checkpoint = tmp_path / "run.npz"
    first = train(halves, toy_images(), RECIPE, seed=5, checkpoint=checkpoint, stop_after=2)
    assert [epoch.number for epoch in first] == [1, 2]
    fresh = toy_module()
    second = train(fresh, toy_images(), RECIPE, seed=5, checkpoint=checkpoint)
    assert [epoch.number for epoch in second] == [3, 4]
    assert state(fresh) == state(whole)
    assert train(toy_module(), toy_images(), RECIPE, seed=5, checkpoint=checkpoint) == ()


def test_an_interruption_keeps_the_last_checkpoint(tmp_path):
    checkpoint = tmp_path / "run.npz"

    def interrupt(epoch):
        if epoch.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(toy_module(), toy_images(), RECIPE, checkpoint=checkpoint, progress=interrupt)
    resumed = train(toy_module(), toy_images(), RECIPE, checkpoint=checkpoint)
    assert [epoch.number for epoch in resumed] == [3, 4]
    assert [path.name for path in tmp_path.iterdir()] == ["run.npz"]


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    checkpoint = tmp_path / "run.npz"
    train(toy_module(), toy_images(), RECIPE, checkpoint=checkpoint, stop_after=1)
    before = checkpoint.read_bytes()

    def fail(file, **_):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match=r"^disk full$"):
        train(toy_module(), toy_images(), RECIPE, checkpoint=checkpoint, stop_after=2)
    assert checkpoint.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["run.npz"]


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    checkpoint = tmp_path / "run.npz"
    train(toy_module(), toy_images(), RECIPE, checkpoint=checkpoint, stop_after=1)
    with pytest.raises(InputError, match=r"checkpoint of another run \(seed 0"):
        train(toy_module(), toy_images(), RECIPE, seed=1, checkpoint=checkpoint)
    with pytest.raises(InputError, match="checkpoint of another run"):
        train(toy_module(), toy_images(), replace(RECIPE, crop=0), checkpoint=checkpoint)
    with pytest.raises(InputError, match=r"'0\.weight'.*another network"):
        train(
            nn.Sequential(nn.Flatten(), nn.Linear(36, 3)),
            toy_images(),
            RECIPE,
            checkpoint=checkpoint,
        )


def test_what_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / "run.npz"
    path.write_bytes(b"not an archive")
    with pytest.raises(InputError, match=r"run\.npz: not an \.npz file of plain arrays"):
        train(toy_module(), toy_images(), RECIPE, checkpoint=path)
    np.savez(path, weights=np.ones(3))
    with pytest.raises(InputError, match=r"run\.npz: not a checkpoint"):
        train(toy_module(), toy_images(), RECIPE, checkpoint=path)


def test_a_pickled_checkpoint_runs_no_code(tmp_path):
    path = tmp_path / "run.npz"
    np.savez(path, run=np.array(json.dumps({})), bad=np.array([object()], dtype=object))
    with pytest.raises(InputError, match=r"not an \.npz file of plain arrays"):
        train(toy_module(), toy_images(), RECIPE, checkpoint=path)


def test_divergence_is_said():
    with pytest.raises(InputError, match=r"training diverged in epoch .*lower the learning rate"):
        train(
            nn.Sequential(nn.Flatten(), nn.Linear(36, 50), nn.Linear(50, 3)),
            toy_images(),
            replace(RECIPE, learning_rate=1e20, epochs=9),
        )


def test_no_images_are_refused():
    with pytest.raises(InputError, match="has no images to train on"):
        train(toy_module(), toy_images(0), RECIPE)


def numbered(height: int = 4, width: int = 5) -> ImageSet:
    """One image with a different value at every pixel; none is 0."""
    pixels = 1 + np.arange(height * width, dtype=np.uint8).reshape(1, 1, height, width)
    return ImageSet("numbered", pixels, np.zeros(1, np.int64), 1)


def test_augmentation_is_every_crop_and_its_mirror():
    """What is drawn, undone, is one of the shifts of the padded image."""
    images = numbered()
    plain = replace(RECIPE, mean=(0.0,), std=(1.0,), crop=1, flip=True, batch_size=1)
    padded = np.pad(images.images[0, 0], 1)
    crops = [padded[y : y + 4, x : x + 5] for y in range(3) for x in range(3)]
    possible = {array.tobytes() for crop in crops for array in (crop, crop[:, ::-1])}
    batches = _Batches(images, plain, torch.zeros(()))
    torch.manual_seed(0)
    drawn = set()
    for _ in range(300):
        ((pixels, _),) = list(batches)
        drawn.add((pixels * 255).round().byte().numpy()[0, 0].tobytes())
    assert drawn == possible


def test_batches_hold_every_image_once():
    images = toy_images(50)
    recipe = replace(RECIPE, crop=0, flip=False, mean=(0.0,), std=(1 / 255,))
    batches = list(_Batches(images, recipe, torch.zeros(())))
    assert [len(labels) for _, labels in batches] == [16, 16, 16, 2]
    pixels = torch.cat([inputs for inputs, _ in batches]).round().byte().numpy()
    key = lambda image: image.tobytes()  # noqa: E731
    assert sorted(map(key, pixels)) == sorted(map(key, images.images))
