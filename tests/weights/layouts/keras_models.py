"""Networks as Keras's tutorials build them, layers with Keras's own names, saved whole by Keras."""

from dataclasses import dataclass

import numpy as np

from .kind import Layout, kind


@dataclass
class KerasLayout(Layout):
    """``net`` is a Keras model without an activation at its end; its images are NHWC."""

    def answer(self) -> np.ndarray:
        y = self.net(self.image().transpose(0, 2, 3, 1), training=False)
        return (y.detach() if hasattr(y, "detach") else y).numpy()


class Builder:
    """What a tutorial's functions close over: the layers, whether convolutions have biases, what pads, what strides."""

    def __init__(self, keras, bias=True, padding="same", stride_on=1, activation="relu"):
        self.L, self.bias, self.padding = keras.layers, bias, padding
        self.stride_on, self.activation = stride_on, activation

    def conv(self, x, filters, kernel, stride=1, act=True, padding="same"):
        x = self.L.Conv2D(filters, kernel, strides=stride, padding=padding, use_bias=self.bias)(x)
        x = self.L.BatchNormalization()(x)
        return self.L.Activation(self.activation)(x) if act else x

    def stem(self, x, width):
        if self.padding == "same":
            return self.L.MaxPooling2D(3, 2, padding="same")(self.conv(x, width, 7, 2))
        x = self.conv(self.L.ZeroPadding2D(3)(x), width, 7, 2, padding="valid")
        return self.L.MaxPooling2D(3, 2)(x)

    def basic(self, x, width, stride, projects):
        y = self.conv(self.conv(x, width, 3, stride), width, 3, act=False)
        return self.end(y, self.conv(x, width, 1, stride, act=False) if projects else x)

    def bottleneck(self, x, width, stride, projects):
        shortcut = self.conv(x, 4 * width, 1, stride, act=False) if projects else x
        y = self.conv(x, width, 1, stride if self.stride_on == 1 else 1)
        y = self.conv(y, width, 3, stride if self.stride_on == 3 else 1)
        return self.end(self.conv(y, 4 * width, 1, act=False), shortcut)

    def end(self, y, shortcut):
        return self.L.Activation(self.activation)(self.L.Add()([y, shortcut]))

    def stages(self, x, block, width, depths):
        for stage, depth in enumerate(depths):
            for i in range(depth):
                projects = i == 0 and (stage > 0 or block == self.bottleneck)
                x = block(x, width * 2**stage, 2 if stage and not i else 1, projects)
        return x


def imported():
    import os

    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    keras.utils.clear_session()
    return keras


def saved(keras, folder, inputs, outputs, suffix=".keras", **expected):
    from ...support.libraries import randomise_keras

    model = keras.Model(inputs, outputs)
    randomise_keras(model)
    path = folder / f"net{suffix}"
    model.save(path)
    return KerasLayout(model, file=path, **expected)


def tutorial(name, block, depths=(1, 2, 1, 1), suffix=".keras", **options):
    @kind(f"Keras tutorial: {name}", "functional models, layers named conv2d, conv2d_1 …", slow=True)
    def make(folder):
        keras = imported()
        build, inputs = Builder(keras, **options), keras.Input((64, 64, 3))
        x = build.stages(build.stem(inputs, 8), getattr(build, block), 8, depths)
        x = keras.layers.Dense(5)(keras.layers.GlobalAveragePooling2D()(x))
        return saved(keras, folder, inputs, x, suffix)


tutorial("basic blocks, biases, the pooling behind the ReLU", "basic")
tutorial("basic blocks without biases, .h5", "basic", suffix=".h5", bias=False)
tutorial("bottlenecks, the stride on the first 1x1", "bottleneck")
tutorial("bottlenecks, the stride on the 3x3, .h5", "bottleneck", suffix=".h5", stride_on=3, bias=False)
tutorial("ZeroPadding2D(3) and valid windows", "bottleneck", padding="explicit")
tutorial("SiLU", "basic", activation="silu")


@kind("Keras: a ResNet inside a Sequential under a new head", "fine-tuning, include_top=False", slow=True)
def transfer(folder):
    keras = imported()
    build, inputs = Builder(keras), keras.Input((64, 64, 3))
    trunk = keras.Model(inputs, build.stages(build.stem(inputs, 8), build.basic, 8, (1, 1, 1, 1)))
    outer = keras.Input((64, 64, 3))
    x = keras.layers.GlobalAveragePooling2D()(trunk(keras.layers.RandomFlip()(outer)))
    return saved(keras, folder, outer, keras.layers.Dense(5)(keras.layers.Dropout(0.5)(x)))


@kind("Keras: GlobalMaxPooling2D before the classifier", "fine-tuning", slow=True)
def other_pooling(folder):
    keras = imported()
    build, inputs = Builder(keras), keras.Input((64, 64, 3))
    x = build.stages(build.stem(inputs, 8), build.basic, 8, (1, 1, 1, 1))
    x = keras.layers.Dense(5)(keras.layers.GlobalMaxPooling2D()(x))
    return saved(keras, folder, inputs, x, refusal="GlobalMaxPooling2D")


@kind("Keras: images rescaled inside the model", "tutorials: Rescaling(1/255)", slow=True)
def rescaled(folder):
    keras = imported()
    build, inputs = Builder(keras), keras.Input((64, 64, 3))
    x = build.stages(build.stem(keras.layers.Rescaling(1 / 255)(inputs), 8), build.basic, 8, (1, 1, 1, 1))
    x = keras.layers.Dense(5)(keras.layers.GlobalAveragePooling2D()(x))
    return saved(keras, folder, inputs, x, refusal="Rescaling")
