"""The first two tutorials' networks, written from their descriptions for either Keras.

``builders(keras)`` returns the builders; ``keras`` is Keras 3 or TensorFlow's legacy Keras, which share these layers.
"""

DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}


def builders(keras):
    """(sequential, functional, second): the first tutorial's two constructions and the second's network."""
    layers = keras.layers

    class ConvNorm(layers.Layer):
        def __init__(self, filters, kernel, stride=1):
            super().__init__()
            padding = "valid" if kernel == 1 else "same"
            self.parts = keras.Sequential(
                [layers.Conv2D(filters, kernel, stride, padding=padding, use_bias=False), layers.BatchNormalization()]
            )

        def call(self, x):
            return self.parts(x)

    class Leading(layers.Layer):
        def __init__(self, filters, stride, lead):
            super().__init__()
            self.shortcut = ConvNorm(4 * filters, 1, stride) if lead else None
            self.body = keras.Sequential(
                [
                    ConvNorm(filters, 1),
                    layers.ReLU(),
                    ConvNorm(filters, 3, stride),
                    layers.ReLU(),
                    ConvNorm(4 * filters, 1),
                ]
            )
            self.add, self.relu = layers.Add(), layers.ReLU()

        def call(self, x):
            return self.relu(self.add([x if self.shortcut is None else self.shortcut(x), self.body(x)]))

    class Sequentially(keras.Model):
        def __init__(self, classes, depths=DEPTHS["resnet50"]):
            super().__init__()
            self.net = keras.Sequential(
                [
                    layers.Conv2D(64, 7, 2, padding="same", use_bias=False),
                    layers.BatchNormalization(),
                    layers.ReLU(),
                    layers.MaxPool2D(3, 2, padding="same"),
                ]
            )
            for stage, depth in enumerate(depths):
                self.net.add(
                    keras.Sequential(
                        [Leading(64 * 2**stage, 2 if stage and not i else 1, i == 0) for i in range(depth)]
                    )
                )
            self.net.add(layers.GlobalAvgPool2D())
            self.net.add(layers.Dense(classes))

        def call(self, x):
            return self.net(x)

    def functionally(classes, shape, depths=DEPTHS["resnet50"]):
        def conv_norm(x, filters, kernel, stride=1, act=True):
            padding = "valid" if kernel == 1 else "same"
            x = layers.Conv2D(filters, kernel, stride, padding=padding, use_bias=False)(x)
            x = layers.BatchNormalization()(x)
            return layers.ReLU()(x) if act else x

        inputs = layers.Input(shape)
        x = layers.MaxPool2D(3, 2, padding="same")(conv_norm(inputs, 64, 7, 2))
        for stage, depth in enumerate(depths):
            for i in range(depth):
                filters, stride = 64 * 2**stage, 2 if stage and not i else 1
                identity = conv_norm(x, 4 * filters, 1, stride, act=False) if i == 0 else x
                x = conv_norm(conv_norm(x, filters, 1), filters, 3, stride)
                x = layers.ReLU()(layers.Add()([identity, conv_norm(x, 4 * filters, 1, act=False)]))
        return keras.Model(inputs, layers.Dense(classes)(layers.GlobalAvgPool2D()(x)))

    class Block(keras.Model):
        """Two 3×3, or three convolutions with a ReLU after the last batch norm; all biased."""

        def __init__(self, filters, downsample, bottleneck):
            super().__init__()
            self.out, self.downsample, self.bottleneck = filters * (4 if bottleneck else 1), downsample, bottleneck
            stride, self.shortcut = 2 if downsample else 1, None
            if bottleneck:
                self.conv1, self.bn1 = layers.Conv2D(filters, 1), layers.BatchNormalization()
                self.conv2, self.bn2 = layers.Conv2D(filters, 3, stride, "same"), layers.BatchNormalization()
                self.conv3, self.bn3 = layers.Conv2D(self.out, 1), layers.BatchNormalization()
            else:
                self.conv1, self.bn1 = layers.Conv2D(filters, 3, stride, "same"), layers.BatchNormalization()
                self.conv2, self.bn2 = layers.Conv2D(filters, 3, 1, "same"), layers.BatchNormalization()
            self.relu, self.add = layers.ReLU(), layers.Add()

        def build(self, shape):
            if self.downsample or shape[-1] != self.out:
                stride = 2 if self.downsample else 1
                self.shortcut = keras.Sequential(
                    [layers.Conv2D(self.out, 1, stride, padding="same"), layers.BatchNormalization()]
                )
            super().build(shape)

        def call(self, x):
            identity = x if self.shortcut is None else self.shortcut(x)
            x = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            if self.bottleneck:
                x = self.relu(self.bn3(self.conv3(self.relu(x))))
            return self.relu(self.add([x, identity]))

    class Second(keras.Model):
        def __init__(self, name, classes):
            super().__init__()
            self.layer0 = keras.Sequential(
                [
                    layers.Conv2D(64, 7, 2, padding="same"),
                    layers.MaxPool2D(3, 2, padding="same"),
                    layers.BatchNormalization(),
                    layers.ReLU(),
                ],
                name="layer0",
            )
            for stage, depth in enumerate(DEPTHS[name]):
                blocks = [Block(64 * 2**stage, stage > 0 and i == 0, name == "resnet50") for i in range(depth)]
                setattr(self, f"layer{stage + 1}", keras.Sequential(blocks, name=f"layer{stage + 1}"))
            self.gap, self.fc = layers.GlobalAveragePooling2D(), layers.Dense(classes, activation="softmax")

        def call(self, x):
            for stage in (self.layer0, self.layer1, self.layer2, self.layer3, self.layer4):
                x = stage(x)
            return self.fc(self.gap(x))

    return Sequentially, functionally, Second
