"""Frames around images: the image is copied, the frame filled."""

from onebyone.compiler.kernels.builder import PlanBuilder
from onebyone.compiler.kernels.elementwise import add_copy
from onebyone.compiler.kernels.fill import FillKernel, fill_work
from onebyone.graph import Pad


def lower_pad(builder: PlanBuilder, node: Pad) -> None:
    """Fill the frame and copy the image into its middle; the buffer is the node's own."""
    target = builder.region(node.name)
    top, _, left, _ = node.padding
    source = builder.graph[node.inputs[0]]
    add_copy(builder, node, source.name, target, row=top, column=left)
    if any(node.padding):
        builder.add(
            node,
            FillKernel(value=node.value),
            fill_work(builder.constants, target.cropped(node.padding), node.padding),
            chunks=target.shape[0],
            target=target,
            purpose="border",
            note=f"filled with {node.value:g}",
        )
