"""Other libraries' arrays are taken where NumPy's are, without a copy, and answered in NumPy's."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import npresnet
from npresnet import nn, ops
from npresnet.analysis.cam import occlusion, saliency
from npresnet.backend import as_array, use

from ..support import fake_cupy


def rng():
    return np.random.default_rng(0)


def speaker(*protocols):
    """A class whose objects hold an array and speak only these of its protocols."""

    known = {name: property(lambda self, name=name: getattr(self.values, name)) for name in protocols}
    return type("Other", (), known | {"__init__": lambda self, values: setattr(self, "values", values)})


SPEAKERS = {
    "__array_interface__": speaker("__array_interface__"),
    "__array__": speaker("__array__"),
    "__dlpack__": speaker("__dlpack__", "__dlpack_device__"),
}


@pytest.mark.parametrize("protocol", SPEAKERS)
@pytest.mark.parametrize("layout", [lambda a: a, lambda a: a[:, ::2], lambda a: a.transpose(2, 0, 1)])
def test_each_protocol_shares_the_memory(protocol, layout):
    values = layout(np.arange(24.0).reshape(2, 4, 3))
    array = as_array(SPEAKERS[protocol](values))
    assert type(array) is np.ndarray and array.ctypes.data == values.ctypes.data
    assert (array.shape, array.strides, array.dtype) == (values.shape, values.strides, values.dtype)


@pytest.mark.parametrize("thing", [None, 3, 1.5, [1.0, 2.0], "text", (1, 2)])
def test_what_is_no_array_comes_back_as_it_is(thing):
    assert as_array(thing) is thing


def test_numpys_own_arrays_come_back_as_they_are():
    for array in (np.ones(3), np.ma.ones(3), np.ones((2, 2)).view(np.recarray)):
        assert as_array(array) is array
    assert as_array(np.float32(2)).shape == ()


class OnGpu:
    """A tensor in a GPU's memory."""

    def __init__(self, values):
        self.values = values

    def __dlpack_device__(self):
        return (2, 0)

    def __dlpack__(self, **options):
        raise BufferError("Cannot export tensors on a GPU to NumPy")


def test_a_gpus_tensor_goes_to_cupy_where_that_is_loaded(monkeypatch):
    with pytest.raises(TypeError, match=r"^x is a OnGpu that NumPy cannot read: move it to the CPU's memory"):
        as_array(OnGpu(np.ones(2)))
    with fake_cupy.installed() as cupy:
        monkeypatch.setattr(cupy, "from_dlpack", lambda value: cupy.asarray(value.values), raising=False)
        assert isinstance(as_array(OnGpu(np.ones(2))), cupy.ndarray)
        mine = cupy.asarray(np.ones(2))
        assert as_array(mine) is mine


def ways(model):
    """(name, call on arrays made by ``to``) for each place that takes arrays; what it gives is NumPy's."""
    x, labels = rng().standard_normal((2, 3, 32, 32)).astype(np.float32), np.array([1, 2])
    w, b = rng().standard_normal((4, 3, 3, 3)).astype(np.float32), np.ones(4, np.float32)
    yield "model", lambda to: model(to(x))
    yield "vjp", lambda to: model.vjp(to(x))[1](to(np.ones((2, 10), np.float32)))
    yield "train", lambda to: model.copy().train().vjp(to(x))[0]
    yield "same", lambda to: nn.Conv2d(3, 4, 3, stride=2, padding="same")(to(x))
    yield "norm first", lambda to: nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()).train().vjp(to(x))[0]
    yield "residual", lambda to: nn.Residual(nn.ReLU(), nn.Identity()).vjp(to(x))[1](to(x))
    yield "conv2d", lambda to: ops.conv2d(to(x), to(w), to(b), padding=1)[0]
    yield "dw", lambda to: ops.conv2d(to(x), to(w), b)[1](to(np.ones((2, 4, 30, 30), np.float32)))[1]
    yield "loss", lambda to: ops.softmax_cross_entropy(to(x[:, :, 0, 0]), to(labels))[1](to(np.array(2, np.float32)))
    yield "grad_cam", lambda to: npresnet.grad_cam(model, to(x), to(labels))
    yield "saliency", lambda to: saliency(model, to(x), to(labels))
    yield "occlusion", lambda to: occlusion(model, to(x), to(labels), patch=16, stride=16)
    yield "features", lambda to: npresnet.features(model, to(x))
    yield "engine's features", lambda to: npresnet.optimize(model).features(to(x))
    yield "to_device", lambda to: npresnet.to_device(to(x), "cpu")
    yield "optimize", lambda to: npresnet.optimize(model)(to(x))
    yield "gradcheck", lambda to: np.array([bool(npresnet.gradcheck(nn.Conv2d(3, 2, 3), to(x[:1, :, :4, :4])))])
    yield "state", lambda to: loaded(to(w), to(b))
    pixels = np.arange(40 * 40 * 3, dtype=np.uint8).reshape(40, 40, 3)
    yield "preprocess", lambda to: npresnet.preprocess(to(pixels), model)
    yield "preprocess many", lambda to: npresnet.preprocess(to(np.stack([pixels] * 2)), model)


def loaded(w, b):
    layer = nn.Conv2d(3, 4, 3, bias=True)
    layer.load_state_dict({"weight": w, "bias": b})
    assert not np.shares_memory(layer.weight.value, as_array(w))
    return layer.weight.value


MODEL = npresnet.create_model("resnet20")


WITHOUT_A_SHAPE = ("conv2d", "dw", "loss", "optimize", "state", "gradcheck", "to_device")  # where x needs none yet
CALLS = [(library, way) for library in ("torch", "jax") for way, _ in ways(MODEL)]
CALLS += [(protocol, way) for protocol in SPEAKERS for way in WITHOUT_A_SHAPE]


@pytest.mark.parametrize("library, way", CALLS)
def test_every_door_takes_them(library, way):
    call = dict(ways(MODEL))[way]

    def to(array):
        if library in SPEAKERS:
            return SPEAKERS[library](array)
        module = pytest.importorskip(library)
        return module.from_numpy(np.array(array)) if library == "torch" else module.numpy.asarray(array)

    with use("numpy"):
        wanted, found = call(lambda array: array), call(to)
    assert type(found) in (np.ndarray, np.float32)
    np.testing.assert_array_equal(found, wanted)


def test_torch_tensors_are_read_in_place_whatever_their_layout():
    torch = pytest.importorskip("torch")
    for tensor in (torch.randn(2, 3, 4), torch.randn(2, 3, 4).permute(2, 0, 1), torch.randn(2, 8)[:, ::2]):
        array = as_array(tensor)
        assert array.ctypes.data == tensor.data_ptr() and array.shape == tuple(tensor.shape)
        np.testing.assert_array_equal(array, tensor.numpy())
    x = torch.randn(1, 3, 5, 5)
    _, pullback = ops.conv2d.reference(as_array(x), np.ones((1, 3, 3, 3), np.float32))
    held = [cell.cell_contents for cell in pullback.__closure__ if isinstance(cell.cell_contents, np.ndarray)]
    assert any(array.ctypes.data == x.data_ptr() for array in held)


def test_jax_arrays_are_read_in_place():
    jax = pytest.importorskip("jax")
    x = jax.numpy.arange(6.0).reshape(2, 3)
    assert as_array(x).ctypes.data == x.unsafe_buffer_pointer()
    with pytest.raises(TypeError, match=r"^x is a ArrayImpl that NumPy cannot read: convert it to float32"):
        as_array(x.astype("bfloat16"))


@pytest.mark.parametrize(
    "make, cure",
    [
        (lambda x: x.requires_grad_(), "give w.detach.., as"),
        (lambda x: x.bfloat16(), "convert it to float32, as NumPy has no bfloat16"),
        (lambda x: x.to_sparse(), "move it to the CPU's memory, or make it a NumPy array"),
        (lambda x: x.to("meta"), "move it to the CPU's memory, or make it a NumPy array"),
    ],
)
def test_tensors_that_cannot_be_read_are_answered_in_one_line(make, cure):
    torch = pytest.importorskip("torch")
    x, w = np.ones((1, 1, 3, 3), np.float32), make(torch.ones(1, 1, 2, 2))
    with pytest.raises(TypeError, match=f"^w is a Tensor that NumPy cannot read: {cure}[^\n]*$"):
        ops.conv2d(x, w)
    with pytest.raises(TypeError, match=f"^x is a Tensor that NumPy cannot read: {cure.replace('w.', 'x.')}"):
        npresnet.optimize(MODEL)(make(torch.ones(1, 3, 32, 32)))


def test_pil_images_stay_images():
    image = Image.new("L", (40, 40), 7)  # it speaks __array_interface__ too
    assert npresnet.preprocess(image, MODEL).shape == (1, 3, 32, 32)


def test_no_library_is_imported_for_it():
    code = "import sys, npresnet.backend as b; b.as_array([1]); b.as_array(memoryview(b'a')); "
    code += "print({'torch', 'jax', 'cupy', 'tensorflow'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
