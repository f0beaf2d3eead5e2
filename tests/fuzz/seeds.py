"""The seed corpus: a tiny state dict in every container that the readers know.

    python -m tests.fuzz.seeds        # writes tests/fuzz/corpus; needs torch and h5py

The files are committed, so that fuzzing needs neither.  Their names say what they are and mean nothing to the readers.
"""

import gzip
import io
import json
import pickle
import struct
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support import containers, onnx_graphs, pickles

from . import networks, quantized_networks

CORPUS = Path(__file__).parent / "corpus"
STATE = {
    "conv1.weight": np.arange(6, dtype=np.float32).reshape(2, 3, 1, 1),
    "bn1.running_var": np.ones(2, np.float64),
    "bn1.num_batches_tracked": np.array(7),
    "fc.weight": np.eye(2, dtype=np.float16),
}
SPEC = {
    "version": 1,
    "spec": {
        "name": "resnet18",
        "num_classes": 2,
        "in_channels": 3,
        "dialect": "torchvision",
        "options": {"conv_bias": True},
    },
    "preprocessing": "imagenet-v1",
    "classes": ["a", "b"],
}
KERAS = {"conv1_conv/kernel": (1, 1, 3, 2), "conv1_conv/bias": (2,), "predictions/kernel": (2, 2)}
KINDS = {"conv1_conv": "conv2d", "predictions": "dense"}


DEEP = {**SPEC, "spec": {**SPEC["spec"], "dialect": "timm", "options": {"stem": "deep", "stem_width": 1}}}
STAGES = "resnet.encoder.stages."


def deep_stem(arrays):
    """The thin network with three convolutions in the place of its first."""
    stem = {
        f"conv1.{i}.weight": np.ones(shape, np.float16)
        for i, shape in ((0, (1, 3, 3, 3)), (3, (1, 1, 3, 3)), (6, (2, 1, 3, 3)))
    }
    return stem | {name: array for name, array in arrays.items() if name != "conv1.weight"}


def thin_resnet18():
    """The keys by which a ResNet-18 is recognised, one filter wide."""
    blocks = {f"layer{i}.{j}.conv2.weight": (2 ** (i - 1), 2 ** (i - 1), 1, 1) for i in range(1, 5) for j in range(2)}
    shapes = {"conv1.weight": (1, 3, 7, 7), **blocks, "layer2.0.downsample.0.weight": (2, 1, 1, 1), "fc.weight": (2, 8)}
    return {name: np.ones(shape, np.float16) for name, shape in shapes.items()}


def buffered(write, *args, **options):
    buffer = io.BytesIO()
    write(buffer, *args, **options)
    return buffer.getvalue()


def torch_files():
    import torch

    tensors = containers.as_tensors(STATE)
    halves = {name: tensor.bfloat16() for name, tensor in tensors.items()}
    shared = {"a": tensors["conv1.weight"], "b": tensors["conv1.weight"][1:].transpose(0, 1)}
    trees = {
        "plain": tensors,
        "parameters": containers.with_parameters(STATE),
        "shared": shared,
        "wrapped": {"epoch": 3, "lr": 0.1, "state_dict": {f"module.{name}": t for name, t in halves.items()}},
    }
    for name, tree in trees.items():
        yield f"torch-zip-{name}", buffered(lambda f, tree=tree: torch.save(tree, f))
        yield (
            f"torch-legacy-{name}",
            buffered(lambda f, tree=tree: torch.save(tree, f, _use_new_zipfile_serialization=False)),
        )


def tar_files():
    for name, parameters in (("torch-tar-plain", False), ("torch-tar-parameters", True)):
        with tempfile.TemporaryDirectory() as folder:
            containers.write_tar(Path(folder) / name, STATE, parameters)
            yield name, (Path(folder) / name).read_bytes()


def pickle_files():
    """Instructions that torch.save no longer writes: protocols 0 and 4, sets, long integers, Python 2's strings."""
    old = pickles.legacy(
        pickles.program({"w": pickles.tensor(source=pickles.storage(view=(("v", 1, 2),)), size=(2,), stride=(1,))})
    )
    others = (
        b"(lp0\nI5\naF1.5\naL7L\naS'a'\naVb\nag0\n0",
        b"\x95\x04\0\0\0\0\0\0\0\x8f(K\1\x90\x940",
        b"U\1aT\1\0\0\0bC\1cB\1\0\0\0d\x8c\1eccollections\nOrderedDict\n)\x81000000",
        b"(1N\x88\x89\x85\x8620",
    )
    yield "torch-legacy-view", old
    yield (
        "torch-zip-integer-keys",
        pickles.pth(
            pickles.program({"w": pickles.tensor(), 0: "a", 12345: None, -1: (1, 2), "state": {1: [], 2**40: {}}})
        ),
    )
    metadata = pickles.value({"npresnet": json.dumps(DEEP)})
    yield (
        "torch-zip-attributes",
        pickles.pth(b"\x80\2" + pickles.ORDERED + pickles.text("w") + pickles.tensor() + b"s" + metadata + b"b."),
    )
    for i, program in enumerate(others):
        yield f"torch-zip-opcodes-{i}", pickles.pth(b"\x80\4" + program + pickles.program({"w": pickles.tensor()})[2:])


def record_files():
    """Objects of any class beside arrays, and networks as pickled modules and as TorchScript has them."""
    parts = {"_parameters": {"w": pickles.tensor()}, "_buffers": {}, "_modules": {}, "stride": (2, 2)}
    made = pickles.glob("my Net") + b")\x81" + pickles.value({**parts, "_modules": {"a": pickles.text("b")}}) + b"b"
    script = pickles.glob("__torch__.my Net") + b")\x81" + pickles.value({"w": pickles.tensor(), "training": False})
    number = (
        pickles.call("numpy dtype", "f4", False, True) + pickles.value((3, "<", None, None, None, -1, -1, 0)) + b"b"
    )
    number = pickles.glob("numpy.core.multiarray scalar") + number + b"C\4\0\0\x80\x3f\x86R"
    beside = pickles.call("my.module Thing", 1, "a") + b"(K\1K\2e" + pickles.value("k") + b"Ns"
    yield "torch-zip-module", pickles.pth(pickles.program({"model": made, "args": beside}))
    yield "torch-zip-script", pickles.pth(pickles.PROTO2 + script + b"b.")
    yield (
        "torch-zip-records",
        pickles.pth(pickles.program({"state_dict": {"w": pickles.tensor()}, "x": beside, "n": number})),
    )
    yield "pickle-arrays", pickle.dumps({"weights": dict(STATE), "note": "a"}, 4)
    yield "pickle-protocol-2", pickle.dumps({"w": np.ones(3, ">f4"), "n": np.float64(1.5)}, 2)


def archive_files():
    """A checkpoint in gzip, zip and tar."""
    whole = pickles.pth(pickles.program({"w": pickles.tensor()}))
    yield "archive-gzip", gzip.compress(whole, mtime=0)
    yield "archive-zip", pickles.raw_zip([("run/w.pth", whole), ("run/README.md", b"x")])
    yield "archive-tar", pickles.tar([("run/w.pth", whole)])


def export_files():
    """torch.export's archives, of today and before PyTorch 2.8."""
    sizes = {"sizes": [{"as_int": 2}, {"as_int": 2}], "strides": [{"as_int": 2}, {"as_int": 1}]}
    metas = {
        "w": {"dtype": 7, "storage_offset": {"as_int": 0}, **sizes},
        "half": {"dtype": 13, "storage_offset": 4, "sizes": [4], "strides": [1]},
    }
    table = {
        name: {"path_name": str(i), "is_param": True, "use_pickle": False, "tensor_meta": meta}
        for i, (name, meta) in enumerate(metas.items())
    }
    weights = "e/data/weights/"
    members = [(weights + "model_weights_config.json", json.dumps({"config": table}).encode())]
    yield (
        "export-new",
        pickles.raw_zip([*members, *((f"{weights}{i}", bytes(16)) for i in range(2)), ("e/version", b"1")]),
    )
    whole = pickles.pth(pickles.program({"w": pickles.tensor()}))
    yield "export-old", pickles.raw_zip([("serialized_state_dict.pt", whole), ("version", b"7.1")])


def array_files():
    """What MXNet and flax write: arrays of several dtypes and versions, chunks, numbers."""
    one = np.ones(2, "<f4").tobytes()
    newest = struct.pack("<IiI2q3i", 0xF993FAC9, 0, 2, 1, 2, 1, 0, 0) + one
    first = struct.pack("<II2q3i", 0xF993FAC8, 2, 2, 1, 1, 0, 3) + b"ab"
    old = struct.pack("<I2I3i", 2, 2, 1, 1, 0, 5) + b"ab"
    empty = struct.pack("<IiI3i", 0xF993FACA, 0, 0, 1, 0, 2) + b"ab"
    yield "mxnet", struct.pack("<3Q", 0x112, 0, 1) + newest + struct.pack("<2Q", 1, 5) + b"arg:w"
    yield "mxnet-versions", struct.pack("<3Q", 0x112, 0, 4) + newest + first + old + empty + struct.pack("<Q", 0)
    content = b"\x93\x92\1\2\xa7float32\xc4\x08" + one
    leaf = b"\xc7" + bytes([len(content)]) + b"\1" + content
    yield "msgpack", b"\x82\xa4step\xcd\1\0\xa6params\x81\xa1a\x81\xa6kernel" + leaf
    part, shape = np.ones(2, np.float16), {"0": 2, "1": 2}
    chunks = {"__msgpack_chunked_array__": 1, "shape": shape, "chunks": {"0": part, "1": part}}
    number = b"\xc7\x0a\3\x93\x90\xa4int8\xc4\1\1"
    plain = b"\xa1l\x95\xc0\xc2\xc3\xd1\xff\xff\xcb" + bytes(8)
    yield "msgpack-chunks", b"\x83\xa1w" + networks.packed(chunks) + plain + b"\xa1n" + number


def network_files():
    """A whole network in each format that says more than names and arrays, or says them in other ways."""
    yield "network-module", networks.pickled()
    yield "network-script", networks.pickled(script=True)
    yield "network-export", networks.exported()
    yield "network-onnx", networks.onnx()
    yield "network-msgpack", networks.flax()
    yield "network-mxnet", networks.mxnet()
    plain = networks.arrays()
    renamed = {name.replace("layer", "stage_").replace("bn", "n").replace("fc", "z"): a for name, a in plain.items()}
    yield "network-safetensors", safetensors(plain, {})
    yield "network-names", safetensors(renamed, {})


def quantized_files():
    """Networks on integers: torchvision's, as a state dict and whole; our own; ONNX."""
    yield "quantized-state-dict", quantized_networks.state_dict()
    yield "quantized-module", quantized_networks.whole()
    yield "quantized-safetensors", quantized_networks.own(".safetensors")
    yield "quantized-npz", quantized_networks.own(".npz")
    yield "quantized-onnx", quantized_networks.onnx()
    yield "quantized-onnx-graph", quantized_networks.onnx_of_others()


def folder_files():
    """What lies in a folder, as the members of a zip: weights, and the configurations beside them."""
    sizes = {"depths": [1] * 4, "hidden_sizes": [1, 2, 4, 8], "embedding_size": 1, "layer_type": "basic"}
    huggingface = {
        "model_type": "resnet",
        **sizes,
        "hidden_act": "silu",
        "downsample_in_first_stage": False,
        "downsample_in_bottleneck": True,
        "num_channels": 3,
        "id2label": {"0": "a", "1": "b", "2": "c"},
    }
    prepared = {"size": {"shortest_edge": 224}, "crop_pct": 0.875, "do_resize": True, "resample": 3, "do_rescale": True}
    prepared |= {"rescale_factor": 1 / 255, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    cfg = {"input_size": [3, 224, 224], "crop_pct": 0.95, "crop_mode": "center", "interpolation": "bicubic"}
    timm = {
        "architecture": "resnet18",
        "num_classes": 3,
        "model_args": {"layers": [1, 1, 1, 1], "act_layer": "relu", "output_stride": 16},
        "pretrained_cfg": {**cfg, "mean": [0.5] * 3, "std": [0.5] * 3, "tag": "a1_in1k"},
        "label_names": ["a", "b", "c"],
        "label_descriptions": {"a": "A"},
    }
    index = {"metadata": {"total_size": 4}, "weight_map": {"a": "m-00001-of-00002.safetensors", "b": "m-2.bin"}}
    files = {
        "folder-huggingface": (
            networks.huggingface(),
            {"config.json": huggingface, "preprocessor_config.json": prepared},
        ),
        "folder-timm": (networks.arrays(networks.FOUR), {"config.json": timm}),
        "folder-index": ({}, {"model.safetensors.index.json": index, "config.json": timm}),
    }
    for name, (arrays, texts) in files.items():
        members = [(name, json.dumps(text).encode()) for name, text in texts.items()]
        yield name, pickles.raw_zip([*members, ("model.safetensors", safetensors(arrays, {}))])


def other_files():
    yield "npz", buffered(np.savez, **STATE, npresnet=np.array(json.dumps(SPEC)))
    yield (
        "npz-packed",
        buffered(
            np.savez_compressed, big=np.arange(3, dtype=">f4"), order=np.ones((2, 3), order="F"), flag=np.array([True])
        ),
    )
    yield "npz-text", buffered(np.savez, w=np.ones(2), npresnet=np.array("a\U0010ffff"), end=np.array("b", ">U1"))
    hugging = {f"{STAGES}{i}.layers.10.layer.0.convolution.weight": np.ones(1, np.float16) for i in range(2)}
    hugging["resnet.embedder.embedder.convolution.weight"] = np.ones((1, 3, 7, 7), np.float16)
    for name, state, metadata in (
        ("metadata", STATE, {"npresnet": json.dumps(SPEC)}),
        ("thin", thin_resnet18(), {}),
        ("deep", deep_stem(thin_resnet18()), {}),
        ("huggingface", hugging, {}),
        ("deep-metadata", deep_stem(thin_resnet18()), {"npresnet": json.dumps(DEEP)}),
    ):
        yield f"safetensors-{name}", safetensors(state, metadata)


def safetensors(state, metadata):
    header, body = {"__metadata__": metadata}, b""
    for name, array in state.items():
        kind = {"f": "F", "i": "I"}[array.dtype.kind] + str(8 * array.itemsize)
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": [len(body), len(body) + array.nbytes]}
        body += array.tobytes()
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def keras_files():
    arrays = {name: np.ones(shape, np.float32) for name, shape in KERAS.items()}
    config = {
        "config": {
            "layers": [
                {"class_name": kind, "config": {"name": name, "activation": "linear"}}
                for kind, name in (("Conv2D", "conv1_conv"), ("Dense", "predictions"))
            ]
        }
    }
    yield "keras-h5", buffered(legacy_h5, arrays, json.dumps(config))
    weights = buffered(weights_h5, arrays)
    yield "keras-weights-h5", weights
    members = [("config.json", json.dumps(graph_config()).encode()), ("model.weights.h5", weights)]
    yield "keras-graph", pickles.raw_zip(members)
    yield "keras-zip", pickles.raw_zip([("config.json", json.dumps(config).encode()), ("model.weights.h5", weights)])


def graph_config():
    """A functional model with a sequential one in it, in the brackets of Keras 3 and of Keras 2."""

    def layer(kind, name, *reads, **options):
        old = [[[read, 0, 0, {}] for read in reads]] if reads else []
        new = [
            {"args": [{"class_name": "__keras_tensor__", "config": {"keras_history": [read, 0, 0]}} for read in reads]}
        ]
        nodes = new if kind == "Conv2D" else old
        return {
            "module": "keras.layers",
            "class_name": kind,
            "config": {"name": name, **options},
            "inbound_nodes": nodes,
        }

    window = {"padding": "same", "strides": [2, 2]}
    inner = [layer("ZeroPadding2D", "pad", padding=[[0, 1], [0, 1]]), layer("MaxPooling2D", "pool", pool_size=[2, 2])]
    layers = [
        layer("InputLayer", "in"),
        layer("Conv2D", "conv1_conv", "in", kernel_size=[1, 1], activation="linear", groups=1, **window),
        layer("ReLU", "relu", "conv1_conv", max_value=6.0, negative_slope=0.0),
        layer("Sequential", "part", "relu", layers=inner),
        layer("Activation", "act", "part", activation={"class_name": "LeakyReLU", "config": {"negative_slope": 0.1}}),
        layer("Add", "sum", "act", "part"),
        layer("GlobalAveragePooling2D", "mean", "sum"),
        layer("Dense", "predictions", "mean", activation="softmax"),
    ]
    ends = {"input_layers": [["in", 0, 0]], "output_layers": ["predictions", 0, 0]}
    return {"class_name": "Functional", "config": {"name": "net", "layers": layers, **ends}}


def legacy_h5(buffer, arrays, config):
    import h5py

    with h5py.File(buffer, "w") as file:
        layers = list(dict.fromkeys(name.split("/")[0] for name in arrays))
        file.attrs["layer_names"] = [layer.encode() for layer in layers]
        file.attrs["model_config"] = config
        for layer in layers:
            mine = [name for name in arrays if name.startswith(f"{layer}/")]
            file.create_group(layer).attrs["weight_names"] = [f"{name}:0".encode() for name in mine]
            for name in mine:
                file[f"{layer}/{name}:0"] = arrays[name]


def weights_h5(buffer, arrays):
    import h5py

    with h5py.File(buffer, "w") as file:
        counts = {}
        for name, array in arrays.items():
            layer = KINDS[name.split("/")[0]]
            counts[layer] = counts.get(layer, -1) + 1
            file[f"layers/{layer}/vars/{counts[layer]}"] = array


def onnx_files():
    yield "onnx-own", onnx_graphs.own(STATE, {"npresnet": json.dumps(SPEC)})
    for name, write in onnx_graphs.GRAPHS.items():
        yield f"onnx-{name}", write()


def cifar_files():
    """Archives of two images, in both versions."""
    rows, pixels = bytes(2 * 3073), np.zeros((2, 3072), np.uint8)
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    tree = {b"data": pixels, b"labels": [0, 1]}
    binary = [(f"a/{name}.bin", rows) for name in names]
    pickled = [(f"a/{name}", pickle.dumps(tree, 4)) for name in names]
    yield "cifar-binary", gzip.compress(pickles.tar(binary), mtime=0)
    yield "cifar-pickled", gzip.compress(pickles.tar(pickled), mtime=0)


def image_files():
    """Four by three pixels in every format."""
    image = Image.fromarray(np.arange(36, dtype=np.uint8).reshape(3, 4, 3))
    for name in ("png", "jpeg", "gif", "bmp", "ppm", "webp", "tiff", "jpeg2000"):
        yield f"image-{name}", buffered(image.save, name)


def main():
    CORPUS.mkdir(exist_ok=True)
    for files in (
        torch_files,
        tar_files,
        pickle_files,
        record_files,
        archive_files,
        export_files,
        array_files,
        network_files,
        quantized_files,
        folder_files,
        other_files,
        keras_files,
        onnx_files,
        cifar_files,
        image_files,
    ):
        for name, data in files():
            (CORPUS / name).write_bytes(data)


if __name__ == "__main__":
    main()
