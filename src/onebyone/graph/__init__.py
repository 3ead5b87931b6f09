"""The one typed graph of a network: what it is, where it comes from, its rules, and its meaning."""

from onebyone.graph.capture import Captured, capture
from onebyone.graph.graph import (
    Activation,
    Arithmetic,
    BatchNorm,
    Concat,
    Constant,
    Convolution,
    Function,
    Graph,
    Input,
    LayerNorm,
    Node,
    Opaque,
    Pad,
    Pool,
    Ref,
    Reshape,
    Shuffle,
    Slice,
    Softmax,
    Upsample,
    View,
    Window,
)
from onebyone.graph.interpret import interpret, interpret_nodes
from onebyone.graph.verify import infer_shape, verify

__all__ = [
    *("Activation", "Arithmetic", "BatchNorm", "Captured", "Concat", "Constant", "Convolution"),
    *("Function", "Graph", "Input", "LayerNorm", "Node", "Opaque", "Pad", "Pool", "Ref", "Reshape"),
    *("Shuffle", "Slice", "Softmax", "Upsample", "View", "Window"),
    *("capture", "infer_shape", "interpret", "interpret_nodes", "verify"),
]
