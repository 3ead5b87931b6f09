"""What a network does is followed exactly, or refused in one line: where, and what to do."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from onebyone.errors import ModelError
from onebyone.graph import Constant, capture
from onebyone.graph.trace import trace
from tests.helpers.graphs import check_capture


def image(channels=4, height=7, width=5):
    return torch.randn(2, channels, height, width)


class Calling(nn.Module):
    """A network `inner.layer` that calls a function."""

    def __init__(self, function):
        super().__init__()
        self.inner = nn.Sequential()
        self.inner.add_module("layer", Applying(function))

    def forward(self, x):
        return self.inner(x)


class Applying(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def refusal(function, x=None):
    """The one line that refuses a network whose module `inner.layer` is a function."""
    with pytest.raises(ModelError) as caught:
        capture(Calling(function).eval(), (image() if x is None else x,))
    text = str(caught.value)
    assert "\n" not in text
    place, _, reason = text.partition(": ")
    assert place in ("inner.layer", "inner.layer.function")
    return reason


# Work in place


def relu_then_reuse(x):
    y = x * 2
    F.relu_(y)
    return y + x


def add_to_a_sum(x):
    y = x + 1
    y += x
    y *= y
    return y - x


def through_another_shape(x):
    y = x + 1
    flat = y.view(2, -1)
    flat.relu_()
    return y, flat


def through_the_same_elements(x):
    y = x + 1
    y.detach().mul_(2)
    y[:].add_(1)
    y.data.sub_(3)
    return y


def part_after_whole(x):
    y = x + 1
    y.mul_(2)
    return y[:, 1:3].relu_(), x


def overwrite(x):
    y = x + 1
    y.copy_(x.mean((2, 3), keepdim=True))
    return y


def in_place_views(x):
    y = x + 1
    y.unsqueeze_(1)
    return y.squeeze_(1).transpose_(2, 3)


FOLLOWED = [
    relu_then_reuse,
    add_to_a_sum,
    through_another_shape,
    through_the_same_elements,
    part_after_whole,
    overwrite,
    in_place_views,
]


@pytest.mark.parametrize("function", FOLLOWED, ids=lambda f: f.__name__)
def test_work_in_place_is_followed(function):
    check_capture(function, image())


def test_work_in_place_on_the_input_is_followed():
    check_capture(lambda x: x.relu_() + x, image())


def test_filling_is_followed():
    check_capture(lambda x: (x + 1).fill_(3) + x, image(), opaque=["fill"])
    check_capture(lambda x: (x + 1).zero_() + x, image(), opaque=["zero"])
    mask = torch.ones(7, 5, dtype=torch.bool)
    check_capture(lambda x: (x + 1).masked_fill_(mask, 3), image(), opaque=["masked_fill"])


def test_a_tensor_that_was_changed_as_another_type_is_refused_when_it_is_read():
    def change_a_part(x):
        y = x + 1
        y.view(torch.int32)[:, :2].mul_(2)
        return y.relu()

    assert refusal(change_a_part) == (
        "the model reads a tensor that was changed in place through a view of another type; "
        "write it without the change in place, or run it in PyTorch"
    )


def test_writing_into_a_tensor_made_beforehand_is_refused():
    made = torch.zeros(2, 4, 7, 5)

    def assemble(x):
        made[:, :2] = x[:, :2]
        return made

    assert re.match(r"aten.copy_.default writes numbers .*; use torch.cat", refusal(assemble))
    assert not made.any()


def test_a_network_that_changes_its_constants_is_refused():
    buffer = torch.ones(4, 1, 1)

    def count(x):
        buffer.add_(1)
        return x * buffer

    assert refusal(count) == (
        "aten.add_.Tensor changes a parameter, a buffer or a constant of the model; "
        "run it in PyTorch"
    )
    assert (buffer == 1).all()


# What does not depend on the input


def test_tensors_made_on_the_way_are_constants():
    def make(x):
        ramp = torch.arange(4, device=x.device, dtype=x.dtype).view(4, 1, 1)
        ramp += torch.tensor([1.0, 2, 3, 4], device=x.device).view(4, 1, 1)
        ramp = ramp * torch.as_tensor([0.5], device=x.device) + x.new_tensor([1.0])
        ramp = ramp + x.new_full((1,), 0.25) + torch.ones_like(x) + x.new_zeros(4, 1, 1)
        return x * ramp.to(x.device)

    graph = check_capture(make, image())
    assert sum(isinstance(node, Constant) for node in graph) == 1


def test_weights_that_are_computed_from_weights_are_constants():
    layer = nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 6, 3))
    graph = check_capture(layer, image())
    assert [node.kind for node in graph] == ["input", "convolution"]


def test_weights_are_shared_and_not_copied():
    layer = nn.Conv2d(4, 6, 1).eval()
    graph = capture(layer, (image(),)).graph
    node = graph["convolution"]
    assert node.weight.data_ptr() == layer.weight.data_ptr()
    assert not node.weight.requires_grad
    linear = nn.Linear(4, 6).eval()
    node = capture(linear, (torch.randn(2, 4),)).graph["linear"]
    assert node.weight.data_ptr() == linear.weight.data_ptr()


def test_moving_to_a_device_is_nothing():
    check_capture(lambda x: x.to("cpu").to(x.device).cpu() + 1, image())


def test_autocast_changes_nothing():
    network, x = small_network(), image()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        shown = str(capture(network, (x,)).graph)
    assert shown == str(capture(network, (x,)).graph)


# What depends on numbers


def test_control_flow_on_numbers_is_refused():
    text = (
        "what the model does depends on numbers that depend on its input (aten.{}), "
        "as `if x.sum() > 0` or `x.item()` would; run it in PyTorch"
    )
    scalar = text.format("_local_scalar_dense.default")
    assert refusal(lambda x: x if x.sum() > 0 else -x) == scalar
    assert refusal(lambda x: x * x.max().item()) == scalar
    assert refusal(lambda x: x[x > 0]) == text.format("index.Tensor")
    assert refusal(lambda x: x.nonzero()) == text.format("nonzero.default")


def test_what_fails_is_one_line():
    reason = refusal(lambda x: x + x.numpy())
    assert reason.startswith("the model cannot be followed on inputs of shape (2, 4, 7, 5): ")
    assert reason.endswith("and that it never looks at their numbers")
    assert "must have same reduction dim" in refusal(nn.Linear(9, 3).eval(), torch.randn(2, 4))


def test_reading_memory_by_strides_is_refused():
    assert refusal(lambda x: x.as_strided((2, 2), (1, 1))) == (
        "aten.as_strided.default depends on where numbers lie in memory; run it in PyTorch"
    )


def test_random_numbers_are_refused():
    for function in (lambda x: x + torch.randn(5), lambda x: F.dropout(x), torch.bernoulli):
        assert re.match(r"the model draws random numbers .*call model.eval\(\)", refusal(function))


def test_decisions_on_weights_without_numbers_are_refused():
    layer = nn.Conv2d(4, 4, 1, device="meta").eval()
    assert refusal(lambda x: layer(x) if layer.weight.sum() > 0 else x) == (
        "what the model does depends on the numbers of a tensor on the meta device, which has "
        "none; load the model's weights"
    )


def test_a_result_that_hides_tensors_is_refused():
    with pytest.raises(ModelError, match=r"^the model returns a function, whose tensors cannot"):
        capture(lambda x: (x, lambda: x), (image(),))


# Training mode


def test_training_mode_is_refused():
    network = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Sequential(nn.BatchNorm2d(4)))
    with pytest.raises(ModelError, match=r"^Sequential is in training mode; call model.eval\(\)"):
        capture(network, (image(),))
    network.eval()[1][0].train()
    with pytest.raises(ModelError, match=r"^1\.0 is in training mode; call model.eval\(\) first$"):
        capture(network, (image(),))


def test_a_batch_norm_function_in_training_is_refused():
    mean, var = torch.zeros(4), torch.ones(4)
    function = lambda x: F.batch_norm(x, mean, var, training=True)  # noqa: E731
    assert refusal(function) == "a batch norm is in training mode; call model.eval() first"
    assert not mean.any()


def test_a_lone_activation_may_be_in_training_mode():
    network = nn.Sequential(nn.ReLU()).eval()
    network[0].train()
    check_capture(lambda x: network[0](x), image())


# Modules


def test_paths_are_those_of_the_modules_that_call():
    network = nn.Sequential(nn.Sequential(nn.ReLU(), nn.Sigmoid()), nn.Tanh()).eval()
    assert [call.path for call in trace(network, (image(),)).calls] == ["0.0", "0.1", "1"]


def test_a_module_that_fails_inside_a_try_leaves_no_path_behind():
    class Trying(nn.Module):
        def __init__(self):
            super().__init__()
            self.bad = nn.Linear(99, 1)
            self.good = nn.ReLU()

        def forward(self, x):
            try:
                return self.bad(x)
            except RuntimeError:
                return self.good(x)

    network = Calling(nn.Sequential(Trying(), nn.Sigmoid())).eval()
    path = "inner.layer.function.1"
    assert [c.path for c in trace(network, (image(),)).calls if "sigm" in str(c.target)] == [path]


def test_other_threads_and_modules_see_nothing_of_it():
    places = nn.modules.module
    seen = []

    def look(x):
        hooks = (places._global_forward_hooks, places._global_forward_pre_hooks)
        seen.append([*map(len, hooks), len(network._forward_hooks), type(network).__call__])
        return x.relu()

    network = Calling(look).eval()
    with torch.no_grad():
        network(image())
    capture(network, (image(),))
    assert seen[0] == seen[1]


def test_a_module_that_is_used_twice_has_one_name():
    layer = nn.Tanh()
    network = nn.Sequential(layer, nn.ReLU(), layer).eval()
    assert [call.path for call in trace(network, (image(),)).calls] == ["0", "1", "0"]


def test_an_error_that_is_handed_on_names_where_it_came_from():
    def fail(x):
        try:
            return torch.ones(3, 4) @ torch.ones(3, 4)
        except RuntimeError as error:
            raise ValueError("no such luck") from error

    assert "no such luck" in refusal(fail)


def small_network():
    block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
    return nn.Sequential(block, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).eval()


def test_an_exported_network():
    network, x = small_network(), image()
    program = torch.export.export(network, (x,)).module()
    graph = check_capture_of_export(program, x)
    assert "0.0" in graph.nodes
    direct = [node.name for node in capture(network, (x,)).graph]
    assert [node.name for node in graph] == direct


def check_capture_of_export(program, x):
    from onebyone.graph import interpret, verify

    captured = capture(program, (x,))
    verify(captured.graph)
    (got,) = interpret(captured.graph, captured.flatten((x,)))
    torch.testing.assert_close(got, program(x))
    return captured.graph


def test_keywords_of_an_exported_network():
    class Two(nn.Module):
        def forward(self, x, *, y):
            return x - y

    x, y = image(), image()
    program = torch.export.export(Two().eval(), (x,), {"y": y}).module()
    captured = capture(program, (x,), {"y": y})
    assert captured.graph["sub"].inputs == ("input", "input_2")


def test_a_graph_from_torch_compile_with_its_weights_as_arguments():
    network, x = small_network(), image()
    captured = []

    def backend(module, example):
        known = [
            i
            for i, tensor in enumerate(example)
            if isinstance(tensor, nn.Parameter) or hasattr(tensor, "_dynamo_static_input_type")
        ]
        captured.append(capture(module, tuple(example), constants=known))
        return module.forward

    torch._dynamo.reset()
    with torch.no_grad():
        torch.compile(network, backend=backend)(x)
    direct = capture(network, (x,)).graph
    assert [(n.name, n.path) for n in captured[0].graph] == [(n.name, n.path) for n in direct]
    assert len(captured[0].graph.inputs) == 1
