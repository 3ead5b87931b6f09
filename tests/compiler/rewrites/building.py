"""Graphs whose numbers are small dyadic fractions: folding is then exact, and so is the check.

Batch norms have variances such that `var + eps` is a power of 4, and their scale hence dyadic too.
"""

from dataclasses import replace

import torch

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
    Node,
    Pad,
    Pool,
    Ref,
    Reshape,
    Shuffle,
    Slice,
    Upsample,
    Window,
)

RELU = Function("relu")


class GraphBuilder:
    """Build a graph node by node; every method adds one and returns its name, such as `conv2`."""

    def __init__(self, seed=0):
        self.generator = torch.Generator().manual_seed(seed)
        self.nodes = {}

    def build(self, *outputs):
        return Graph.of(self.nodes.values(), map(Ref, outputs))

    def numbers(self, *shape):
        """Multiples of 1/4 from -1 to 1."""
        return torch.randint(-4, 5, shape, generator=self.generator) / 4

    def values(self):
        """Tensors for the graph's inputs."""
        return [self.numbers(*n.shape) for n in self.nodes.values() if isinstance(n, Input)]

    def shape(self, name):
        return self.nodes[name].shape

    def add(self, node: type[Node], prefix, inputs, shape, **facts):
        count = sum(name.rstrip("0123456789") == prefix for name in self.nodes)
        name = f"{prefix}{count + 1}"
        path = "" if node in (Input, Constant) else f"net.{name}"
        self.nodes[name] = node(name=name, inputs=inputs, shape=tuple(shape), path=path, **facts)
        return name

    def change(self, name, **facts):
        self.nodes[name] = replace(self.nodes[name], **facts)
        return name

    def input(self, *shape):
        index = sum(isinstance(node, Input) for node in self.nodes.values())
        return self.add(Input, "x", (), shape, index=index)

    def constant(self, value):
        value = torch.as_tensor(value, dtype=torch.float32)
        value = value.reshape((1, -1, 1, 1)) if value.ndim < 4 else value
        return self.add(Constant, "c", (), value.shape, value=value)

    def conv(self, x, channels, kernel=1, *, groups=1, bias=True, residual=None, **facts):
        n, c, *size = self.shape(x)
        pad, stride = facts.get("padding", (0, 0, 0, 0)), facts.get("stride", (1, 1))
        dilation = facts.get("dilation", (1, 1))
        size = [
            (size[i] + sum(pad[2 * i : 2 * i + 2]) - dilation[i] * (kernel - 1) - 1) // stride[i]
            + 1
            for i in range(2)
        ]
        return self.add(
            Convolution,
            "conv",
            (x,) if residual is None else (x, residual),
            (n, channels, *size),
            weight=self.numbers(channels, c // groups, kernel, kernel),
            bias=self.numbers(channels) if bias else None,
            groups=groups,
            **facts,
        )

    def norm(self, x, activation=None):
        c = self.shape(x)[1]
        power = torch.randint(-1, 2, (c,), generator=self.generator)
        return self.add(
            BatchNorm,
            "norm",
            (x,),
            self.shape(x),
            weight=self.numbers(c),
            bias=self.numbers(c),
            mean=self.numbers(c),
            var=4.0**power - 0.125,
            eps=0.125,
            activation=activation,
        )

    def act(self, x, function=RELU):
        return self.add(Activation, "act", (x,), self.shape(x), function=function)

    def arithmetic(self, operator, x, y, activation=None):
        shape = torch.broadcast_shapes(self.shape(x), self.shape(y))
        return self.add(
            Arithmetic, operator, (x, y), shape, operator=operator, activation=activation
        )

    def pad(self, x, padding, value=0.0):
        n, c, h, w = self.shape(x)
        shape = (n, c, h + sum(padding[:2]), w + sum(padding[2:]))
        return self.add(Pad, "pad", (x,), shape, padding=padding, value=value)

    def concat(self, *inputs):
        n, _, h, w = self.shape(inputs[0])
        channels = sum(self.shape(name)[1] for name in inputs)
        return self.add(Concat, "concat", inputs, (n, channels, h, w))

    def slice(self, x, dim, start, stop, step=1):
        shape = list(self.shape(x))
        shape[dim] = len(range(start, stop, step))
        return self.add(Slice, "slice", (x,), shape, dim=dim, start=start, stop=stop, step=step)

    def shuffle(self, x, groups):
        return self.add(Shuffle, "shuffle", (x,), self.shape(x), groups=groups)

    def flatten(self, x):
        n, *rest = self.shape(x)
        return self.add(Reshape, "flatten", (x,), (n, torch.Size(rest).numel(), 1, 1))

    def upsample(self, x, height, width, scale=None, mode="nearest"):
        shape = (*self.shape(x)[:2], height, width)
        return self.add(Upsample, "upsample", (x,), shape, mode=mode, scale=scale)

    def pool(self, x, operator, size, stride=1):
        n, c, *image = self.shape(x)
        rows, columns = (
            tuple(Window(i, i + size, size) for i in range(0, length - size + 1, stride))
            for length in image
        )
        shape = (n, c, len(rows), len(columns))
        return self.add(Pool, "pool", (x,), shape, operator=operator, rows=rows, columns=columns)


def outline(graph):
    """What is in a graph, one node a line: activations and residuals are what rewrites move."""
    return "\n".join(map(_line, graph)) + f"\nreturn {', '.join(r.name for r in graph.outputs)}"


def _line(node):
    activation = getattr(node, "activation", None)
    shown = f"{node.name} = {node.kind}({', '.join(node.inputs)})"
    shown += f" {activation}" if activation else ""
    shown += f" [{node.start}:{node.stop}]" if isinstance(node, Slice) else ""
    return shown + (f"  # {node.path}" if node.path else "")
