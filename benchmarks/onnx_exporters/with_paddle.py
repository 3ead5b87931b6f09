"""Networks of PaddlePaddle as ONNX files, written by paddle2onnx.

It runs in an environment of its own:

    python3 -m venv paddle && paddle/bin/pip install paddlepaddle paddle2onnx
    paddle/bin/python benchmarks/onnx_exporters/with_paddle.py --out FOLDER
"""

import argparse
from pathlib import Path

import paddle

NAMES = ("mobilenet_v3_small", "resnet50", "shufflenet_v2_x1_0", "googlenet")
SIDE = 224
OPSET = 13


def draw_weights(network: paddle.nn.Layer) -> None:
    """Give every batch norm a scale, a shift and statistics of its own, as in trained networks."""
    for layer in network.sublayers():
        if isinstance(layer, paddle.nn.BatchNorm2D):
            shape = layer.weight.shape
            layer.weight.set_value(paddle.uniform(shape, min=0.5, max=1.0))
            layer.bias.set_value(0.2 + 0.2 * paddle.randn(shape))
            layer._mean.set_value(0.2 * paddle.randn(shape))
            layer._variance.set_value(paddle.uniform(shape, min=0.5, max=1.5))


def main() -> None:
    """Write a file for each network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        paddle.seed(0)
        network = getattr(paddle.vision.models, name)(pretrained=False)
        draw_weights(network)
        network.eval()
        images = paddle.static.InputSpec([None, 3, SIDE, SIDE], "float32", "images")
        path = out / f"paddle_{name}"
        paddle.onnx.export(network, str(path), input_spec=[images], opset_version=OPSET)
        print(f"{path}.onnx")  # noqa: T201


if __name__ == "__main__":
    main()
