"""From a network, images and a budget to a small network that does the same."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

import onebyone
from onebyone.errors import InfeasibleBudget, ShrinkError
from onebyone.nn.edits import Factorise, FoldNorm, Narrow
from onebyone.shrinking import LatencyBudget, MacsBudget, plan_shrink, planner
from onebyone.shrinking.agreement import measure_agreement
from onebyone.shrinking.plan_json import plan_from_json, plan_to_json
from tests.shrinking.networks import block_network

IMAGES = torch.randn(48, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def network():
    return block_network()


@pytest.fixture(scope="module")
def plan(network):
    return plan_shrink(network, IMAGES, budget=MacsBudget(0.5), align=4)


def macs(network, image):
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(image)
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("share", [0.75, 0.5, 0.3])
def test_the_budget_is_met_and_the_numbers_told_are_those_of_the_network(network, share):
    plan = plan_shrink(network, IMAGES, budget=MacsBudget(share), align=4)
    small = plan.apply(network)
    assert plan.whole.macs == (macs(network, IMAGES[:1]), macs(small, IMAGES[:1]))
    assert plan.whole.macs[1] <= share * plan.whole.macs[0]


def test_a_larger_budget_never_raises_the_predicted_loss(network):
    shares = (0.25, 0.35, 0.5, 0.65, 0.8, 0.95)
    losses = [
        plan_shrink(network, IMAGES, budget=MacsBudget(share), align=4).loss for share in shares
    ]
    assert all(after <= before for before, after in pairwise(losses))


def test_the_small_network_does_nearly_the_same(network, plan):
    held_out = torch.randn(200, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    small = plan.apply(network)
    found = measure_agreement(network, small, held_out)
    assert found.top1 > 0.85
    at_random = plan.apply(network)
    for parameter in at_random.parameters():
        parameter.data = parameter.data[torch.randperm(len(parameter))]
    assert found.divergence < 0.2 * measure_agreement(network, at_random, held_out).divergence


def test_the_users_network_stays_as_it_was(network):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    plan_shrink(network, IMAGES, budget=MacsBudget(0.5), align=4).apply(network)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())
    assert not network.training


def test_only_ordinary_layers_come_out(network, plan):
    for module in plan.apply(network).modules():
        assert type(module).__module__.startswith(("torch.nn", "tests."))


def test_every_kind_of_change_is_used(plan):
    kinds = {type(edit) for edit in plan.edits}
    assert FoldNorm in kinds
    assert kinds & {Factorise, Narrow}


def test_the_same_seed_gives_the_same_network(network, plan):
    again = plan_shrink(network, IMAGES, budget=MacsBudget(0.5), align=4)
    assert again == plan
    first, second = plan.apply(network), again.apply(network)
    assert torch.equal(first(IMAGES), second(IMAGES))


def test_layers_to_keep_are_kept(network):
    plan = plan_shrink(network, IMAGES, budget=MacsBudget(0.9), align=4, keep=["3"])
    assert not any(
        edit.conv.startswith("3.") for edit in plan.edits if not isinstance(edit, FoldNorm)
    )
    assert plan.left_alone["3.conv1"] == "named in `keep`"


def test_it_can_learn(network, plan):
    small = plan.apply(network).train()
    small(IMAGES).square().sum().backward()
    idle = [name for name, parameter in small.named_parameters() if parameter.grad is None]
    assert not idle


def test_a_plan_survives_json(network, plan):
    again = plan_from_json(plan_to_json(plan))
    assert again == replace(plan, evidence=None)
    with pytest.raises(ShrinkError, match="the plan holds no images to solve its layers on"):
        again.apply(network)
    small = again.apply(network, IMAGES)
    torch.testing.assert_close(small(IMAGES), plan.apply(network)(IMAGES), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: [], "a plan was wanted"),
        (lambda values: values | {"format": 99}, "of format 99, and this version .* reads 1"),
        (lambda values: values | {"decisions": "all"}, "the plan is damaged .decisions"),
        (lambda values: values | {"budget": "macs=7"}, "above 0 and below 1"),
    ],
)
def test_damaged_plans_are_refused(plan, change, message):
    with pytest.raises(ShrinkError, match=message):
        plan_from_json(change(plan_to_json(plan)))


def test_a_plan_is_for_its_network(plan):
    with pytest.raises(ShrinkError, match="the plan was made for another network: 3.conv1"):
        plan.apply(nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), *[nn.Identity()] * 7))


def test_a_plan_is_a_table(plan):
    text = str(plan)
    assert "macs=0.5, decided on 48 images" in text
    assert "3.conv1" in text
    assert "linear layer (7)" in text
    assert max(map(len, text.splitlines())) <= 100


def test_an_infeasible_budget_is_told_with_the_smallest(network):
    with pytest.raises(
        InfeasibleBudget, match=r"^0.010 of what .* has (0\.\d+); ask for that"
    ) as told:
        plan_shrink(network, IMAGES, budget=MacsBudget(0.01))
    smallest = float(str(told.value).split(" has ")[1].split(";")[0])
    plan = plan_shrink(network, IMAGES, budget=MacsBudget(smallest + 0.001))
    assert plan.whole.macs[1] / plan.whole.macs[0] == pytest.approx(smallest, abs=2e-3)


def test_a_network_without_convolutions_is_told():
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    with pytest.raises(
        ShrinkError, match=r"^no convolution .* .1: linear layer.; nothing to shrink"
    ):
        plan_shrink(network, IMAGES, budget=MacsBudget(0.5))


@pytest.mark.parametrize("name", ["resnet20"])
def test_saved_and_loaded_it_is_the_same(name, tmp_path):
    torch.manual_seed(0)
    network = onebyone.create_model(name).eval()
    images = torch.randn(8, 3, 32, 32) if name.startswith("resnet") else torch.randn(4, 3, 64, 64)
    small = plan_shrink(network, images, budget=MacsBudget(0.6)).apply(network)
    onebyone.save(small, tmp_path / "small.safetensors")
    again = onebyone.load(tmp_path / "small.safetensors")
    assert torch.equal(again(images), small(images))


def test_it_compiles_to_the_same(network, plan):
    small = plan.apply(network)
    compiled = onebyone.compile(small, IMAGES[:4])
    torch.testing.assert_close(compiled(IMAGES[:4]), small(IMAGES[:4]), rtol=1e-4, atol=1e-4)


def test_in_onnx_it_is_the_same(network, plan):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    from onebyone.bench.onnx_export import OnnxExport

    small = plan.apply(network)
    session = runtime.InferenceSession(OnnxExport()(small, IMAGES[:2]))
    (got,) = session.run(None, {session.get_inputs()[0].name: IMAGES[:2].numpy()})
    torch.testing.assert_close(torch.from_numpy(got), small(IMAGES[:2]), rtol=1e-4, atol=1e-4)


class Clock:
    """A machine on which a call takes some nanoseconds a multiply-add, and layers more alone."""

    def __init__(self, alone=1.0):
        self.alone = alone

    def layers(self, changes, setting, *, watch):
        return {change: 1e-9 * self.alone * change.macs + 1e-9 for change in changes}

    def whole(self, networks, setting, *, watch):
        from onebyone.bench.measure import Spread

        times = [1e-9 * macs(network, setting.example) + 1e-6 for network in networks]
        return [Spread(time, time, time) for time in times]


@pytest.fixture(params=[1.0, 0.5, 2.0])
def clock(request, monkeypatch):
    found = Clock(request.param)
    monkeypatch.setattr(planner, "time_layers", found.layers)
    monkeypatch.setattr(planner, "measure_whole", found.whole)
    return found


@pytest.mark.parametrize("share", [0.7, 0.5])
@pytest.mark.usefixtures("clock")
def test_a_budget_of_time_is_met_though_layers_do_not_add_up(network, share):
    plan = plan_shrink(network, IMAGES, budget=LatencyBudget(share), align=4)
    before, after = plan.whole.seconds or (0.0, 0.0)
    assert 0.85 * share <= after / before <= 1.1 * share
    assert plan.conditions["runtime"] == "compiled"
    assert " ms (" in str(plan)


@pytest.mark.usefixtures("clock")
def test_a_budget_of_time_that_cannot_be_met_is_told(network):
    with pytest.raises(
        InfeasibleBudget, match=r"^latency=0.02 was wanted, and the fastest .* takes"
    ):
        plan_shrink(network, IMAGES, budget=LatencyBudget(0.02), align=4)


@pytest.mark.parametrize("runtime", ["compiled", "eager", "onnxruntime"])
def test_real_times_can_be_had(network, runtime, monkeypatch, tmp_path):
    if runtime == "onnxruntime":
        pytest.importorskip("onnxruntime")
    monkeypatch.setenv("ONEBYONE_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(planner, "TOLERANCE", 1e9)  # whatever this machine is busy with
    budget = LatencyBudget(0.9)
    options = {"runtime": runtime, "threads": 1, "align": 16, "keep": ["4", "0"]}
    plan = plan_shrink(network, IMAGES, budget=budget, **options)
    assert all(seconds > 0 for seconds in plan.whole.seconds)
    assert len(list(tmp_path.iterdir())) == 1  # the times, and no compiled layers
