"""Every network of the zoo: contract, published counts, and other people's code as oracle."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from onebyone.errors import UnknownNameError
from onebyone.explainer import LayerKind, count_cost
from onebyone.models import ZOO, build_network, create_model, find_model
from onebyone.models.naming import load_tensors, translate_names
from onebyone.models.registry import ModelSpec, index_by_name
from tests.helpers.checks import check_network
from tests.helpers.networks import randomize
from tests.helpers.oracles import timm, torchvision

# name, input size, params, MACs, 1x1 convolutions, their share of the MACs in percent
PUBLISHED = [
    ("resnet18", 224, 11_689_512, 1_814_073_344, 3, 1.1),
    ("resnet34", 224, 21_797_672, 3_663_761_408, 3, 0.5),
    ("resnet50", 224, 25_557_032, 4_089_184_256, 36, 51.8),
    ("resnet101", 224, 44_549_160, 7_801_405_440, 70, 49.6),
    ("resnet152", 224, 60_192_808, 11_513_626_624, 104, 48.8),
    ("inception_resnet_v2", 299, 55_843_464, 13_155_794_016, 140, 53.6),
    ("mobilenet_v2", 224, 3_504_872, 300_774_272, 34, 89.1),
    ("efficientnet_lite0", 224, 4_652_008, 385_187_552, 32, 87.9),
    ("efficientnet_lite1", 240, 5_416_680, 600_185_232, 42, 88.2),
    ("efficientnet_lite2", 260, 6_092_072, 859_736_272, 42, 89.3),
    ("efficientnet_lite3", 280, 8_197_096, 1_383_321_872, 48, 90.9),
    ("efficientnet_lite4", 300, 13_006_568, 2_553_034_336, 60, 92.1),
    ("googlenet", 224, 6_624_904, 1_498_376_192, 37, 24.6),
    ("googlenet_5x5", 224, 6_998_552, 1_582_671_872, 37, 23.3),
    ("nin_imagenet", 224, 7_595_176, 1_100_188_800, 8, 24.9),
    ("nin_cifar10", 32, 966_986, 222_486_528, 6, 30.8),
    ("resnet20", 32, 269_722, 40_551_040, 0, 0.0),
    ("resnet32", 32, 464_154, 68_862_592, 0, 0.0),
    ("resnet44", 32, 658_586, 97_174_144, 0, 0.0),
    ("resnet56", 32, 853_018, 125_485_696, 0, 0.0),
    ("resnet110", 32, 1_727_962, 252_887_680, 0, 0.0),
    ("resnet164", 32, 1_703_258, 247_646_720, 111, 48.4),
]
# The same networks at the other sizes that are in use.
OTHER_SIZES = [
    ("efficientnet_lite3", 300, 1_607_554_544),
    ("efficientnet_lite4", 380, 3_943_564_112),
    ("nin_imagenet", 227, 1_105_996_320),
]
# ResNet v1 steps in the reduction: the paper's "3.8 / 7.6 / 11.3 billion FLOPs" are its MACs.
V1 = [
    ("resnet50", 3_857_973_248),
    ("resnet101", 7_570_194_432),
    ("resnet152", 11_282_415_616),
]
# Our network, timm's with the same tensors, and a size large enough for its stem.
TIMM = [
    *((name, name, 64) for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")),
    ("inception_resnet_v2", "inception_resnet_v2", 128),
    ("mobilenet_v2", "mobilenetv2_100", 64),
    *((f"efficientnet_lite{i}", f"tf_efficientnet_lite{i}", 75) for i in range(5)),
    *((f"efficientnet_lite{i}", f"efficientnet_lite{i}", 75) for i in range(5)),
]


def on_meta(config):
    with torch.device("meta"):
        return build_network(config)


def count_macs_independently(network, size):
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        network(torch.empty(1, 3, size, size))
    return counter.get_total_flops() // 2


def test_the_table_has_every_network():
    assert {row[0] for row in PUBLISHED} == set(ZOO)


@pytest.mark.parametrize(("name", "size", "params", "macs", "layers", "percent"), PUBLISHED)
def test_counts_are_the_published_ones(name, size, params, macs, layers, percent):
    spec = find_model(name)
    assert spec.input_size == size
    network = on_meta(spec.config)
    report = count_cost(network, (1, 3, size, size))
    assert report.params == params
    assert report.macs == macs == count_macs_independently(network, size)
    assert len(report.of_kind(LayerKind.POINTWISE)) == layers
    assert round(100 * report.macs_share(LayerKind.POINTWISE), 1) == percent


@pytest.mark.parametrize(("name", "size", "macs"), OTHER_SIZES)
def test_counts_at_other_sizes(name, size, macs):
    assert count_macs_independently(on_meta(find_model(name).config), size) == macs


@pytest.mark.parametrize(("name", "macs"), V1)
def test_resnet_v1_is_the_papers(name, macs):
    config = replace(find_model(name).config, stride_in="reduce")
    assert count_macs_independently(on_meta(config), 224) == macs


@pytest.mark.parametrize("name", ZOO)
def test_network_keeps_its_contract(name):
    size = {"inception_resnet_v2": 96, "nin_cifar10": 32}.get(name, 80)
    check_network(build_network(replace(find_model(name).config, num_classes=7)), size)


def check_same_scores(ours, theirs, size):
    """The same tensors give the same scores, to 1e-5 of the largest."""
    x = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        expected, got = theirs(x), ours(x)
    assert expected.std(0).min() > 0  # the two images really have scores of their own
    assert (got - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize(("name", "timm_name", "size"), TIMM, ids=lambda value: str(value))
def test_scores_are_timms_with_timms_own_state_dict(name, timm_name, size):
    theirs = timm.create_model(timm_name)
    randomize(theirs, size)
    ours = build_network(find_model(name).architectures[timm_name])
    ours.load_state_dict(theirs.state_dict(), strict=True)
    check_same_scores(ours, theirs, size)


def make_torchvision(name, **changes):
    network = torchvision.models.get_model(name, **changes)
    network.aux_logits = False  # else GoogLeNet gives three results in training, as in `randomize`
    randomize(network, 64)
    return network


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet101", "mobilenet_v2"])
def test_scores_are_torchvisions_with_torchvisions_own_state_dict(name):
    theirs = make_torchvision(name)
    ours = build_network(find_model(name).config)
    load_tensors(ours, translate_names(theirs.state_dict(), ours))
    check_same_scores(ours, theirs, 64)


def test_googlenets_scores_are_torchvisions_for_the_same_photo():
    """Torchvision normalises twice, the second time inside the network; we do it once."""
    theirs = make_torchvision("googlenet", init_weights=False, transform_input=True).double()
    spec = find_model("googlenet")
    ours = build_network(spec.config)
    load_tensors(ours, translate_names(theirs.state_dict(), ours))
    pixels = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    imagenet = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    once = torchvision.transforms.Normalize(spec.preprocess.mean, spec.preprocess.std)
    with torch.inference_mode():
        torch.testing.assert_close(ours(once(pixels)), theirs(imagenet(pixels)))


def test_widths_are_arguments():
    narrow = replace(find_model("resnet50").config, hidden_channels=(8, 16, 24, 32))
    network = build_network(narrow)
    assert network.layer4[2].conv2.weight.shape == (32, 32, 3, 3)
    check_network(network, 64)


def test_num_classes_defaults_to_the_networks_own():
    assert create_model("resnet18").config.num_classes == 1000
    assert create_model("nin_cifar10").config.num_classes == 10
    assert create_model("nin_cifar10", num_classes=5)(torch.zeros(1, 3, 32, 32)).shape == (1, 5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "resnet52",
            "no model 'resnet52'; did you mean 'resnet152' or 'resnet56' or 'resnet50'? "
            "`onebyone models` lists all",
        ),
        ("vgg", "no model 'vgg'; `onebyone models` lists all"),
        (
            "GoogleNet",
            "no model 'GoogleNet'; did you mean 'googlenet' or 'googlenet_5x5'? "
            "`onebyone models` lists all",
        ),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(name, message):
    with pytest.raises(UnknownNameError) as error:
        create_model(name)
    assert str(error.value) == message


def test_a_name_stands_for_one_network():
    spec = ModelSpec(name="twice", config=find_model("resnet18").config)
    with pytest.raises(ValueError, match="^the zoo has two rows named 'twice'$"):
        index_by_name([spec, spec])


def test_resnets_with_uneven_stages_are_refused():
    with pytest.raises(ValueError, match="must have one number for each stage$"):
        build_network(replace(find_model("resnet50").config, blocks=(1, 2, 3)))


@pytest.mark.parametrize(
    ("name", "dropouts"),
    [
        ("resnet50", []),
        ("inception_resnet_v2", [0.2]),
        ("googlenet", [0.2]),
        ("nin_imagenet", [0.5]),
        ("nin_cifar10", [0.5, 0.5]),
        ("mobilenet_v2", [0.2]),
        ("efficientnet_lite1", [0.2]),
        ("efficientnet_lite2", [0.3]),
    ],
)
def test_dropout_is_where_the_papers_have_it_and_works_in_training(name, dropouts):
    spec = find_model(name)
    network = build_network(replace(spec.config, num_classes=5))
    found = [m.p for m in network.modules() if isinstance(m, torch.nn.Dropout)]
    assert found == dropouts
    for norm in (m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        norm.momentum = 0.0  # else two runs in training differ by their statistics too
    x = torch.randn(2, 3, 96, 96)
    network.train()
    with torch.no_grad():
        assert torch.equal(network(x), network(x)) == (not dropouts)


@pytest.mark.parametrize(
    ("name", "change", "line"),
    [
        (
            "resnet50",
            {"block": "basicc"},
            "`block` (='basicc') must be 'basic' or 'bottleneck' or 'preact_bottleneck'",
        ),
        ("resnet50", {"stride_in": "v1"}, "`stride_in` (='v1') must be '3x3' or 'reduce'"),
        ("mobilenet_v2", {"padding": "SAME"}, "`padding` (='SAME') must be 'symmetric' or 'same'"),
    ],
)
def test_configurations_with_unknown_words_are_refused(name, change, line):
    with pytest.raises(UnknownNameError) as error:
        build_network(replace(find_model(name).config, **change))
    assert str(error.value) == line


def test_a_pool_that_is_none_is_refused():
    config = find_model("nin_cifar10").config
    stage = replace(config.stages[0], pool="median")
    with pytest.raises(UnknownNameError, match=r"^`pool` \(='median'\) must be 'max' or 'avg'$"):
        build_network(replace(config, stages=(stage, *config.stages[1:])))
