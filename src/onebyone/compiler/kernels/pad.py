"""Frames around images: the image is copied, the frame filled."""

from onebyone.compiler.kernels.elementwise import emit_copy
from onebyone.compiler.kernels.fill import FillKernel, fill_work
from onebyone.compiler.plan.lowering import Lowering
from onebyone.graph import Pad


def lower_pad(lowering: Lowering, node: Pad) -> None:
    """Fill the frame and copy the image into its middle; the buffer is the node's own."""
    target = lowering.region(node.name)
    top, _, left, _ = node.padding
    source = lowering.graph[node.inputs[0]]
    emit_copy(lowering, node, source.name, target, row=top, column=left)
    if any(node.padding):
        lowering.emit(
            node,
            FillKernel(value=node.value),
            fill_work(lowering.constants, target.cropped(node.padding), node.padding),
            chunks=target.shape[0],
            target=target,
            note=f"filled with {node.value:g}",
        )
