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
    """Give every batch norm a scale, a shift and statistics of its own, as in trained networks."""
    numbers = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            layer.set_weights(
                [
                    numbers.uniform(0.5, 1.0, shape),
                    numbers.normal(0.2, 0.2, shape),
                    numbers.normal(0.0, 0.2, shape),
                    numbers.uniform(0.5, 1.5, shape),
                ]
            )


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
        print(path)


if __name__ == "__main__":
    main()
