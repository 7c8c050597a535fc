"""The networks against the sizes published for them, and against their papers' layers."""

import pytest
import torch
from torch import nn

from mlcnn.errors import InputError
from mlcnn.zoo import build, describe, names

# [MLCNN] Table I and kuangliu/pytorch-cifar, traced (LeNet-5 to ResNet-18); the model pages of
# torchvision (at 224x224).
PARAMETERS = {
    "lenet5": 62_006,
    "vgg16": 14_728_266,
    "vgg19": 20_040_522,
    "googlenet": 6_166_250,
    "densenet_cifar": 1_000_618,
    "densenet121": 6_956_298,
    "resnet18": 11_173_962,
    "vgg16-224": 138_357_544,
    "resnet18-224": 11_689_512,
    "resnet50-224": 25_557_032,
    "alexnet-224": 61_100_840,
}
# Convolutions and their multiply-accumulates for one image, as printed in millions.
CONVOLUTIONS = {
    "lenet5": (2, "0.593"),
    "vgg16": (13, "313.20"),
    "vgg19": (16, "398.13"),
    "googlenet": (64, "1521.75"),
    "densenet_cifar": (120, "125.34"),
    "densenet121": (120, "888.34"),
    "resnet18": (20, "555.42"),
    # Not printed: stem, 18 of 3x3 and 3 projections; the products are counted by hand below.
    "wrn22_8": (22, "2454.11"),
}
# He et al. 2016, Table 6, W. Yang's README, and Liao et al. 2019 (WRN-22), in millions.
ROUNDED_PARAMETERS = {"resnet20": "0.27", "resnet56": "0.85", "alexnet": "2.47", "wrn22_8": "17.16"}


def skeleton(name: str) -> nn.Module:
    """The network without values: shapes only, at no cost."""
    entry = describe(name)
    with torch.device("meta"):
        return entry.definition(entry.classes, entry.pooling).eval()


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def record_outputs(module: nn.Module, shape: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """What each module without children returns for two images, by name; shapes only."""
    outputs: dict[str, torch.Tensor] = {}
    for name, layer in module.named_modules():
        if not any(layer.children()):
            layer.register_forward_hook(
                lambda _layer, _inputs, output, name=name: outputs.__setitem__(name, output)
            )
    module(torch.empty(2, *shape, device="meta"))
    return outputs


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters(name: str) -> None:
    assert parameters(skeleton(name)) == PARAMETERS[name]


@pytest.mark.parametrize("name", ROUNDED_PARAMETERS)
def test_parameters_as_rounded_in_print(name: str) -> None:
    assert f"{parameters(skeleton(name)) / 1e6:.2f}" == ROUNDED_PARAMETERS[name]


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_and_their_multiplications(name: str) -> None:
    module = skeleton(name)
    outputs = record_outputs(module, describe(name).input_shape)
    convolutions = {
        key: layer for key, layer in module.named_modules() if isinstance(layer, nn.Conv2d)
    }
    macs = sum(
        layer.weight.numel() * outputs[key].shape[2:].numel() for key, layer in convolutions.items()
    )
    count, millions = CONVOLUTIONS[name]
    digits = len(millions.split(".")[1])
    assert (len(convolutions), f"{macs / 1e6:.{digits}f}") == (count, millions)


# Kernel, stride and padding of the pools that are not global; see the table's sources.
POOLS = {
    "lenet5": [("MaxPool2d", 2, 2, 0)] * 2,
    "vgg16": [("MaxPool2d", 2, 2, 0)] * 5,
    "vgg19-avg-100": [("AvgPool2d", 2, 2, 0)] * 5,
    "vgg16-all-conv": [],
    "densenet_cifar": [("AvgPool2d", 2, 2, 0)] * 3,
    "densenet_cifar-all-conv": [],
    "resnet18": [],
    "alexnet": [("MaxPool2d", 2, 2, 0)] * 3,
}


@pytest.mark.parametrize("name", POOLS)
def test_pools(name: str) -> None:
    found = [
        (type(layer).__name__, layer.kernel_size, layer.stride, layer.padding)
        for key, layer in skeleton(name).named_modules()
        if isinstance(layer, nn.MaxPool2d | nn.AvgPool2d) and key != "avgpool"
    ]
    assert found == POOLS[name]


def test_googlenet_inner_pools() -> None:
    def pool(form: str, stage: str) -> nn.Module:
        return skeleton(f"googlenet{form}").get_submodule(f"pool_{stage}")

    for stage in ("b3", "e4"):
        original, average = pool("", stage), pool("-avg", stage)
        assert isinstance(original, nn.MaxPool2d)
        assert (original.kernel_size, original.stride, original.padding) == (3, 2, 1)
        assert isinstance(average, nn.AvgPool2d)
        assert (average.kernel_size, average.stride, average.padding) == (2, 2, 0)
        assert isinstance(pool("-all-conv", stage), nn.Identity)


def test_all_conv_gives_the_stride_to_the_convolution_in_front() -> None:
    strided = {
        "lenet5": ["conv1", "conv2"],
        "vgg16": ["features.3", "features.10", "features.20", "features.30", "features.40"],
        "googlenet": [
            *("b3.b1.0", "b3.b2.3", "b3.b3.6", "b3.b4.1"),
            *("e4.b1.0", "e4.b2.3", "e4.b3.6", "e4.b4.1"),
        ],
        "densenet121": ["trans1.conv", "trans2.conv", "trans3.conv"],
    }
    for architecture, expected in strided.items():
        found = [
            name
            for name, layer in skeleton(f"{architecture}-all-conv").named_modules()
            if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2)
        ]
        assert found == expected


@pytest.mark.parametrize("name", names(variants=True))
def test_every_form_maps_images_to_logits(name: str) -> None:
    entry = describe(name)
    logits = skeleton(name)(torch.empty(2, *entry.input_shape, device="meta"))
    assert logits.shape == (2, entry.classes)


def test_forms_share_their_parameter_names() -> None:
    expected = {k: v.shape for k, v in skeleton("googlenet").state_dict().items()}
    for form in ("googlenet-avg", "googlenet-all-conv"):
        assert {k: v.shape for k, v in skeleton(form).state_dict().items()} == expected


def test_option_a_shortcut_takes_every_second_pixel_and_pads_channels() -> None:
    shortcut = build("resnet20").get_submodule("layer2.0.shortcut")
    x = torch.randn(2, 16, 6, 6, generator=torch.Generator().manual_seed(0))
    y = shortcut(x)
    assert y.shape == (2, 32, 3, 3)
    for channel in range(32):
        inside = 8 <= channel < 24
        for row in range(3):
            for column in range(3):
                expected = x[:, channel - 8, 2 * row, 2 * column] if inside else torch.zeros(2)
                assert torch.equal(y[:, channel, row, column], expected)


def test_wide_residual_stages_by_hand() -> None:
    """Zagoruyko and Komodakis 2016, Table 1: 16, then 3 blocks each of 128, 256, 512 channels."""
    stem, first = 3 * 16 * 9 * 32**2, (16 * 128 * 9 + 5 * 128 * 128 * 9 + 16 * 128) * 32**2
    # Half the side, twice the channels: a quarter of the places, four times the products.
    later = (128 * 256 * 9 + 5 * 256 * 256 * 9 + 128 * 256) * 16**2
    assert f"{(stem + first + 2 * later) / 1e6:.2f}" == CONVOLUTIONS["wrn22_8"][1]
    outputs = record_outputs(skeleton("wrn22_8"), (3, 32, 32))
    shapes = [tuple(outputs[f"layer{i}.2.conv2"].shape[1:]) for i in (1, 2, 3)]
    assert shapes == [(128, 32, 32), (256, 16, 16), (512, 8, 8)]


def test_a_wide_block_projects_what_its_first_relu_returns() -> None:
    module = build("wrn22_8")
    projecting, plain = module.get_submodule("layer1.0"), module.get_submodule("layer1.1")
    for block, projects in ((projecting, True), (plain, False)):
        channels = block.get_submodule("bn1").num_features
        x = torch.randn(1, channels, 4, 4, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            block.get_submodule("conv2").weight.zero_()
            active = torch.relu(block.get_submodule("bn1")(x))
            expected = block.get_submodule("shortcut")(active) if projects else x
            assert torch.equal(block(x), expected)


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        build("vgg16")(torch.zeros(1, 3, 64, 64))
    assert str(caught.value) == (
        "2048 values per image reach the dense layer, which takes 512: "
        "the images do not have the network's input size"
    )


@pytest.mark.parametrize(
    ("shape", "features"), [((3, 32, 32), 16 * 4 * 4), ((1, 28, 28), 16 * 3 * 3)]
)
@pytest.mark.parametrize("name", ["lbcnn_cnn", "lbcnn", "cmpnet"])
def test_networks_of_any_size(name: str, shape: tuple[int, int, int], features: int) -> None:
    """Stem, two blocks of norm, 3x3 and 1x1, two dense layers: counted by hand."""
    entry = describe(name).for_images(shape)
    with torch.device("meta"):
        module = entry.definition(entry.classes, entry.pooling)
    block = 2 * 16 + 16 * 64 * 9 + 64 * 16 + 16
    dense = features * 128 + 128 + 128 * 10 + 10
    assert parameters(module) == shape[0] * 16 * 9 + 2 * 16 + 2 * block + dense
    assert module(torch.empty(2, *shape, device="meta")).shape == (2, 10)


def test_other_networks_keep_their_size() -> None:
    entry = describe("lenet5")
    assert entry.for_images((1, 28, 28)) is entry
