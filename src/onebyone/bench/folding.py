"""Any network as a list of PyTorch operations, with its batch norms folded."""

import copy

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from onebyone.exporting.quiet import quiet

_CONVOLUTION = torch.ops.aten.conv2d.default
_BATCH_NORM = torch.ops.aten.batch_norm.default


def fold_network(model: nn.Module, example: Tensor) -> nn.Module:
    """Return a channels-last copy of a network in which no batch norm follows a convolution.

    It still runs in PyTorch, operation by operation. Where networks name their layers as they like,
    `torch.export` sees which batch norm reads which convolution. A network that it cannot read
    stays as it is, but channels-last.
    """
    model = copy.deepcopy(model)
    try:
        with quiet():
            network = torch.export.export(model, (example,)).module(check_guards=False)
    except Exception:  # noqa: BLE001, RUF100 - whatever a stranger's forward does to the tracer
        return to_channels_last(model)
    assert isinstance(network, fx.GraphModule)
    for norm in network.graph.find_nodes(op="call_function", target=_BATCH_NORM):
        if _is_foldable(norm):
            _fold(network, norm)
    network.graph.eliminate_dead_code()
    network.recompile()
    network.delete_all_unused_submodules()
    return to_channels_last(network)


def to_channels_last(network: nn.Module) -> nn.Module:
    """Lay out the weights of a network channels-last, in place; its activations follow them."""
    return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def _is_foldable(norm: fx.Node) -> bool:
    source, training = norm.args[0], norm.args[5]
    return (
        isinstance(source, fx.Node)
        and source.target is _CONVOLUTION
        and len(source.users) == 1
        and not training
    )


def _fold(network: fx.GraphModule, norm: fx.Node) -> None:
    conv = norm.args[0]
    assert isinstance(conv, fx.Node)
    source, weight, *rest = conv.args
    bias = rest[0] if rest else None
    gain, shift, mean, variance = (_tensor(network, node) for node in norm.args[1:5])
    matrix, eps = _tensor(network, weight), norm.args[7]
    assert matrix is not None
    assert mean is not None
    assert variance is not None
    assert isinstance(eps, float)
    folded_weight, folded_bias = fuse_conv_bn_weights(
        matrix, _tensor(network, bias), mean, variance, eps, gain, shift
    )
    arguments: list[fx.Node] = []
    for name, tensor in (("weight", folded_weight), ("bias", folded_bias)):
        name = f"{norm.name}_folded_{name}"
        network.register_parameter(name, tensor)
        with network.graph.inserting_before(conv):
            arguments.append(network.graph.get_attr(name))
    conv.args = (source, *arguments, *rest[1:])
    norm.replace_all_uses_with(conv)
    network.graph.erase_node(norm)


def _tensor(network: fx.GraphModule, node: object) -> Tensor | None:
    if node is None:
        return None
    assert isinstance(node, fx.Node)
    owner, _, name = str(node.target).rpartition(".")
    return getattr(network.get_submodule(owner), name)
