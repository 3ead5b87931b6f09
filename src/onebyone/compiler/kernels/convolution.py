"""Which of four ways a convolution runs."""

from onebyone.compiler.choices.bands import runs_depthwise
from onebyone.compiler.kernels.band import lower_band
from onebyone.compiler.kernels.dense.lower import lower_dense
from onebyone.compiler.kernels.depthwise import lower_depthwise
from onebyone.compiler.kernels.winograd.lower import lower_winograd
from onebyone.compiler.plan.lowering import Lowering
from onebyone.graph import Convolution


def lower_convolution(lowering: Lowering, node: Convolution) -> None:
    """Add the operations that compute a convolution."""
    band = lowering.bands.get(node.name)
    if band is not None:
        # All that comes before the last convolution of a band is part of it.
        if node is band.nodes[-1]:
            lower_band(lowering, band)
    elif runs_depthwise(node):
        lower_depthwise(lowering, node)
    elif node.name in lowering.winograds:
        lower_winograd(lowering, node, lowering.winograds[node.name])
    else:
        lower_dense(lowering, node)
