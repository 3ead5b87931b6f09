from onebyone.graph.graph import (
    Activation, Arithmetic, BatchNorm, Concat, Constant, Convolution, Function, Graph, Input, LayerNorm,
    Node, Opaque, Pad, Padding, Pair, Pool, Ref, Reshape, Shape, Shuffle, Slice, Softmax, Upsample, View, Window,
)
