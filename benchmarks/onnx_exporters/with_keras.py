"""Networks of Keras as ONNX files, written by tf2onnx.

It runs in an environment of its own, since TensorFlow and PyTorch want different packages:

    python3 -m venv keras && keras/bin/pip install tensorflow-cpu tf2onnx
    keras/bin/python benchmarks/onnx_exporters/with_keras.py --out FOLDER
"""

import argparse
import os
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
import tensorflow as tf
import tf2onnx

NAMES = ("MobileNetV2", "ResNet50V2", "EfficientNetB0", "DenseNet121", "MobileNetV3Small")
SIDE = 224
OPSET = 17


def draw_weights(network: keras.Model) -> None:
    """Give every batch norm a scale and a shift of its own, and the statistics of some images."""
    numbers = np.random.default_rng(0)
    norms = [
        layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)
    ]
    for norm in norms:
        norm.momentum = 0.0  # what is seen last is all that counts
        norm.gamma.assign(numbers.uniform(0.2, 0.6, norm.gamma.shape))
        norm.beta.assign(numbers.normal(0.2, 0.2, norm.beta.shape))
    network(numbers.normal(size=(2, SIDE, SIDE, 3)).astype("float32"), training=True)


def main() -> None:
    """Write a file for each network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        keras.utils.set_random_seed(0)
        network = getattr(keras.applications, name)(weights=None)
        draw_weights(network)
        signature = [tf.TensorSpec((None, SIDE, SIDE, 3), tf.float32, name="images")]
        run = tf.function(lambda images, network=network: network(images, training=False))
        path = out / f"keras_{name.lower()}.onnx"
        tf2onnx.convert.from_function(
            run, input_signature=signature, opset=OPSET, output_path=str(path)
        )
        print(path)  # noqa: T201


if __name__ == "__main__":
    main()
