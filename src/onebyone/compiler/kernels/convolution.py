"""Which of six ways a convolution runs."""

from onebyone.compiler.choose.units import runs_depthwise
from onebyone.compiler.kernels.band import lower_band
from onebyone.compiler.kernels.builder import PlanBuilder
from onebyone.compiler.kernels.dense.lower import lower_dense
from onebyone.compiler.kernels.depthwise import lower_depthwise
from onebyone.compiler.kernels.grouped import lower_grouped
from onebyone.compiler.kernels.matrix.lower import lower_matrix
from onebyone.compiler.kernels.winograd.lower import lower_winograd
from onebyone.graph import Convolution


def lower_convolution(builder: PlanBuilder, node: Convolution) -> None:
    """Add the operations that compute a convolution."""
    choices = builder.choices[node.name]
    band = choices.band
    if band is not None:
        # All that comes before the last convolution of a band is part of it.
        if node.name == band.names[-1]:
            lower_band(builder, band)
    elif runs_depthwise(node):
        lower_depthwise(builder, node)
    elif choices.along_rows:
        lower_grouped(builder, node)
    elif choices.winograd:
        lower_winograd(builder, node, choices.winograd)
    elif choices.unit == "matrix":
        lower_matrix(builder, node)
    else:
        lower_dense(builder, node)
