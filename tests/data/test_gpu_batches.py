"""Batches that a GPU makes of images it keeps: the host's, bit for bit."""

from dataclasses import replace

import numpy as np
import pytest

from npresnet import to_device, use
from npresnet.data import Preprocessing, gpu_batches
from npresnet.data.augment import crop_and_flip, uniforms
from npresnet.data.gpu_batches import GpuBatches, batches_for
from npresnet.training import Batches, predict, split

from ..support import fake_cupy
from ..support.drawn import SIDE, drawn_source, small_model

UNIT = Preprocessing(SIDE, SIDE)
PREPROCESSINGS = [
    UNIT,
    replace(UNIT, channels="BGR", scale="caffe", mean=(103.939, 116.779, 123.68), std=(1, 1, 1)),
    Preprocessing(None, SIDE, scale="tf", mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7)),
]


@pytest.fixture
def cupy():
    with fake_cupy.installed() as found, use("numpy"):
        yield found


def assert_same(found, due):
    found, due = [[(x.get(), labels.get()) for x, labels in found], list(due)]
    assert len(found) == len(due)
    for (x, labels), batch in zip(found, due):
        assert x.dtype == batch.x.dtype == np.float32 and labels.dtype == batch.labels.dtype
        np.testing.assert_array_equal(x, batch.x)
        np.testing.assert_array_equal(labels, batch.labels)


@pytest.mark.parametrize("preprocessing", PREPROCESSINGS, ids=["unit", "caffe", "tf"])
@pytest.mark.parametrize("augment", ["none", "crop-flip"])
def test_they_are_the_hosts_bit_for_bit(cupy, preprocessing, augment):
    source, _ = split(drawn_source(60), 10, seed=3)  # its images keep their numbers
    there, here = (
        kind(*which, source, preprocessing, 16, augment, seed=7)
        for kind, which in ((GpuBatches, [cupy]), (Batches, []))
    )
    assert len(there) == len(here) == 4
    for epoch, start in ((0, 0), (1, 0), (1, 2), (5, 3)):  # the last batch has two images
        assert_same(there.epoch(epoch, start), here.epoch(epoch, start))
    assert list(there.make.graphs.values()).count(None) == 0  # both sizes went through their graphs
    assert_same(there.in_order(), here.in_order())


def test_the_host_only_sends_the_order(cupy):
    there = GpuBatches(cupy, drawn_source(), UNIT, 8, "crop-flip")
    fake_cupy.transfers.clear()
    for _ in range(2):
        assert len(list(there.epoch(0))) == 6
    assert fake_cupy.transfers == []


def test_chance_is_the_same_function_on_a_gpu(cupy):
    images = np.array([0, 5, 2**40])
    u = uniforms(2**50, 3, images, 5)
    np.testing.assert_array_equal(uniforms(2**50, 3, cupy.asarray(images), 5).get(), u)
    pixels = drawn_source(3).pixels
    found = crop_and_flip(cupy.asarray(pixels), cupy.asarray(u[:, :3]), pad=2)
    np.testing.assert_array_equal(found.get(), crop_and_flip(pixels, u[:, :3], pad=2))


def test_which_images_stay_on_the_gpu(cupy, monkeypatch):
    here, source = small_model(), drawn_source()
    there = to_device(here, "cuda")

    def kind(model=there, source=source, **options):
        return type(batches_for(model, source, 16, **options))

    assert kind() is kind(augment="crop-flip") is GpuBatches
    assert kind(model=here) is kind(augment="photo") is kind(augment="crop-flip", jitter=0.1) is Batches
    assert kind(policy="trivial") is kind(erase=0.1) is kind(augment="scale") is Batches
    assert kind(source=drawn_source(side=SIDE + 2)) is Batches, "they must be resized"
    monkeypatch.setattr(gpu_batches, "LARGEST", source.pixels.nbytes - 1)
    assert kind() is Batches and kind(source=source.subset(np.arange(47))) is GpuBatches


def test_predictions_wait_for_the_gpu_once(cupy):
    here, source = small_model(), drawn_source(50)
    there = to_device(here, "cuda")
    due = predict(here, source, 16)
    fake_cupy.transfers.clear()
    loss, predicted = predict(there, source, 16)
    assert sorted(fake_cupy.transfers) == ["float", "get"]
    assert loss == due[0]
    np.testing.assert_array_equal(predicted, due[1])
