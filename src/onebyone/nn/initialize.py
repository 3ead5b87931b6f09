"""The weights that a network starts training from."""

from math import prod, sqrt

from torch import nn


def initialize_weights(network: nn.Module) -> None:
    """Give every layer the start that ReLU networks train well from; none, on the meta device.

    Convolutions: normal with variance `2 / fan_out`, which keeps the gradients' variance through a
    ReLU (He et al., arXiv 1502.01852, equation 14); with groups, a channel fans out to the outputs
    of its group. Batch norms: the identity. Linear layers: normal with deviation 0.01. Biases:
    zero.

    Side effects:
        Overwrites the parameters of `network`, drawing from torch's global random generator.
    """
    if any(parameter.is_meta for parameter in network.parameters()):
        return  # without numbers there is nothing to draw, and drawing would load TorchDynamo
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels // module.groups * prod(module.kernel_size)
            nn.init.normal_(module.weight, std=sqrt(2 / fan_out))
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
