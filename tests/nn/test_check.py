"""Wrong arguments: a layer that cannot be is refused when it is made, in one line that names the argument."""

from functools import partial

import numpy as np
import pytest

from npresnet import nn

from ..support.wrong import NOT_COUNTS, NOT_FLAGS, NOT_GROUPS, NOT_NUMBERS, NOT_PADDINGS, NOT_SIZES, full, unspoken

X = full(2, 8, 6, 6)
conv, norm = partial(nn.Conv2d, 8, 8, 3), partial(nn.BatchNorm2d, 8)

TABLE = [
    *(
        (f, name, NOT_SIZES)
        for f, name in (
            (nn.Subsample, "stride"),
            (partial(nn.Conv2d, 8, 8), "kernel"),
            (conv, "stride"),
            (conv, "dilation"),
            (partial(nn.MaxPool2d, 2), "stride"),
            (partial(nn.AvgPool2d, stride=2), "kernel"),
        )
    ),
    (nn.AdaptiveAvgPool2d, "output_size", NOT_SIZES),
    (nn.ZeroPad2d, "padding", NOT_PADDINGS),
    (nn.ConstantPad2d, "padding", (*NOT_PADDINGS, "same")),
    (partial(nn.ConstantPad2d, 1), "value", ("1", None, True, [0.1], 1j)),
    (nn.ZeroPad2d, "padding", ("same", "valid")),
    *((f, "padding", NOT_PADDINGS) for f in (conv, partial(nn.MaxPool2d, 2, 2))),
    (conv, "groups", NOT_GROUPS),
    *((partial(nn.Conv2d, c, f, 3), "groups", (2,)) for c, f in ((8, 9), (9, 8))),
    *(
        (f, name, NOT_COUNTS)
        for f, name in (
            (partial(nn.ZeroPadChannels, before=0), "after"),
            (partial(nn.Conv2d, filters=8, kernel=3), "channels"),
            (partial(nn.Conv2d, 8, kernel=3), "filters"),
            (nn.BatchNorm2d, "channels"),
            (partial(nn.Linear, 3), "outputs"),
            (partial(nn.Linear, outputs=3), "inputs"),
        )
    ),
    (partial(nn.GroupNorm, channels=8), "groups", NOT_GROUPS),
    (partial(nn.GroupNorm, 2), "channels", NOT_COUNTS),
    (nn.ChannelConv, "kernel", (*NOT_SIZES, (3, 3))),
    *((f, "eps", (*NOT_NUMBERS, -1e-5)) for f in (norm, partial(nn.GroupNorm, 2, 8))),
    (norm, "momentum", [v for v in NOT_NUMBERS if v is not None]),
    *(
        (f, name, NOT_FLAGS)
        for f, name in (
            (conv, "bias"),
            (norm, "unbiased"),
            (norm, "affine"),
            (norm, "track_running_stats"),
            (partial(nn.Linear, 3, 4), "bias"),
            (partial(nn.AvgPool2d, 2, 2), "ceil_mode"),
        )
    ),
]


def test_each_wrong_argument_is_named():
    found = unspoken(TABLE)
    assert not found, "\n".join(map(str, found))
    assert sum(len(values) for *_, values in TABLE) > 150


LAYERS = [
    nn.Conv2d(8, 8, 3),
    nn.Conv2d(8, 8, 3, padding="same"),
    nn.BatchNorm2d(8),
    nn.BatchNorm2d(8).train(),
    nn.Linear(8, 3),
    nn.ReLU(),
    nn.Softmax(),
    nn.GlobalAvgPool2d(),
    nn.MaxPool2d(3, 2),
    nn.MaxPool2d(3, 2, "same"),
    nn.AvgPool2d(3, 2, "same"),
    nn.ZeroPad2d(padding=1),
    nn.ConstantPad2d(1, 2.0),
    nn.AdaptiveAvgPool2d(2),
    nn.BatchNorm2d(8, affine=False),
    nn.BatchNorm2d(8, track_running_stats=False),
    nn.Subsample(stride=2),
]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
@pytest.mark.parametrize("x", [None, 3, "text", [[1.0]], X.astype(int), X[0], X[0, 0, 0], X[..., None]], ids=str)
def test_a_layer_says_what_it_takes(layer, x):
    if type(layer) is nn.ReLU and getattr(x, "dtype", None) == np.float32:
        return
    with pytest.raises((TypeError, ValueError), match=r"array|takes"):
        layer(x)


@pytest.mark.parametrize("x", [None, 3, X[0], X[..., None]], ids=str)
def test_a_norm_takes_images(x):
    for layer, name in (
        (nn.BatchNorm2d(8), "batch"),
        (nn.BatchNorm2d(8).train(), "batch"),
        (nn.GroupNorm(2, 8), "group"),
    ):
        with pytest.raises(ValueError, match=rf"^a {name} norm takes images \(N, C, H, W\), not "):
            layer(x)


def test_a_batch_norm_of_no_channels_trains():
    norm = nn.BatchNorm2d(0).train()
    y, pullback = norm.vjp(full(2, 0, 3, 3))
    assert y.shape == pullback(y).shape == (2, 0, 3, 3) and norm.num_batches_tracked.value == 1


@pytest.mark.parametrize("make", [lambda: nn.MaxPool2d(3, 2, dilate=2), lambda: nn.Subsample(), lambda: nn.ReLU(x=1)])
def test_options_that_a_layer_lacks_raise_when_it_is_made(make):
    with pytest.raises(TypeError, match=r"dilate|stride|x"):
        make()
