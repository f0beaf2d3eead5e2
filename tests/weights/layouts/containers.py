"""The files themselves: archives around archives, old and new pickles, dtypes, parametrisations, damage."""

import gzip
import io
import pickle
import tarfile
import zipfile

import numpy as np
import torch
from torch import nn

from .kind import Layout, kind
from .nets import resnet
from .wrappers import wrapped

DEFLATED = zipfile.ZIP_DEFLATED


def saved(tree, **options) -> bytes:
    stream = io.BytesIO()
    torch.save(tree, stream, **options)
    return stream.getvalue()


def filed(name, source, file, encode, **expected):
    """A kind whose file holds ``encode(state dict)``, bytes."""

    @kind(name, source)
    def make(folder):
        net = resnet()
        (folder / file).write_bytes(encode(net.state_dict()))
        return Layout(net, file=folder / file, **expected)


def zipped(members) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def tarred(members, mode="w") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def rezipped(state) -> bytes:
    with zipfile.ZipFile(io.BytesIO(saved(state))) as old:
        return zipped({"w/": b""} | {name: old.read(name) for name in old.namelist()})


def as_numpy(state):
    return {key: value.numpy() for key, value in state.items()}


filed("gzip around it", "download scripts", "net.pth.gz", lambda s: gzip.compress(saved(s)))
filed(
    "zip around it",
    "releases, drives",
    "net.zip",
    lambda s: zipped({"best/net.pth": saved(s), "best/README.txt": b"hi"}),
)
filed("tar around it", "releases", "net.tar", lambda s: tarred({"net.pth": saved(s)}))
filed("tar.gz around it", "SageMaker's model.tar.gz", "model.tar.gz", lambda s: tarred({"model.pth": saved(s)}, "w:gz"))
filed("unpacked and zipped again, with a folder entry", "by hand", "again.pth", rezipped)
filed("legacy pickle", "torch.save before 1.6", "net.pth", lambda s: saved(s, _use_new_zipfile_serialization=False))
filed("pickle protocol 4", "torch.save(pickle_protocol=4)", "net.pth", lambda s: saved(s, pickle_protocol=4))
filed("pickle protocol 5", "torch.save(pickle_protocol=5)", "net.pth", lambda s: saved(s, pickle_protocol=5))
for _protocol in (2, 4, 5):
    filed(f"a plain pickle of NumPy arrays, protocol {_protocol}", "pickle.dump; detectron2's .pkl", "net.pkl",
          lambda s, p=_protocol: pickle.dumps({"model": as_numpy(s), "__author__": "me"}, p))
filed("a plain pickle of tensors", "pickle.dump(net.state_dict())", "net.pkl", lambda s: pickle.dumps(s, 4))
filed(
    "half of the file",
    "a broken download",
    "net.pth",
    lambda s: saved(s)[:40000],
    refusal=r"(?i)truncat|end|incomplete|central",
)
filed("an empty file", "a full disk", "net.pth", lambda s: b"", refusal=r"(?i)empty")
filed("a web page", "a download that went wrong", "net.pth", lambda s: b"<!DOCTYPE html><html>", refusal="web page")
filed("a Git LFS pointer", "git clone without LFS", "net.pth",
      lambda s: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", refusal="git lfs pull")
filed("GGUF", "llama.cpp", "net.gguf", lambda s: b"GGUF\3\0\0\0" + bytes(64), refusal=r"GGUF.*(?i:convert|save|export)")
filed(
    "TFLite",
    "TensorFlow Lite",
    "net.tflite",
    lambda s: b"\x1c\0\0\0TFL3" + bytes(64),
    refusal="(?i)(tflite|tensorflow lite).*(convert|save|export)",
)
filed("ExecuTorch", "PyTorch on devices", "net.pte", lambda s: b"\x1c\0\0\0ET12" + bytes(64), refusal="(?i)executorch")
filed(
    "an image",
    "the wrong file",
    "net.png",
    lambda s: b"\x89PNG\r\n\x1a\n" + bytes(64),
    refusal="(?i)image|not a file of weights",
)
filed("JSON", "a configuration", "config.json", lambda s: b'{"a": 1}', refusal=r"(?i)JSON|not a file of weights|config")

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float64": torch.float64}
for _name, _dtype in DTYPES.items():
    for _suffix in ("pth", "safetensors"):

        @kind(f"{_name} in .{_suffix}", "net.half(), .bfloat16(), .double()")
        def of_dtype(dtype=_dtype, suffix=_suffix):
            net = resnet().to(dtype)
            state = net.state_dict()
            return Layout(net.float(), state, f"net.{suffix}")


@kind("bfloat16 in .npz", "ml_dtypes, JAX")
def npz_bfloat16():
    net = resnet().bfloat16()
    tree = {
        k: v.view(torch.int16).numpy().view("V2") if v.dtype == torch.bfloat16 else v
        for k, v in net.state_dict().items()
    }
    return Layout(net.float(), tree, "net.npz", refusal=r"(?i)bfloat16|V2|two bytes")


filed("a .npz with compression", "np.savez_compressed", "net.npz", lambda s: npz(np.savez_compressed, as_numpy(s)))
filed("a .npy that holds a dictionary", "np.save(path, state)", "net.npy",
      lambda s: npz(np.save, as_numpy(s), plain=True), refusal=r"(?i)\.npy|objects|NumPy")


def npz(write, tree, plain=False) -> bytes:
    stream = io.BytesIO()
    write(stream, np.array(tree, dtype=object), allow_pickle=True) if plain else write(stream, **tree)
    return stream.getvalue()


@kind("safetensors with metadata", "transformers, timm: format pt")
def metadata(folder):
    from safetensors.torch import save_file

    net = resnet()
    save_file(net.state_dict(), folder / "model.safetensors", metadata={"format": "pt", "note": "x"})
    return Layout(net, file=folder / "model.safetensors")


wrapped("Parameters for tensors", "dict(net.named_parameters()) and buffers",
        lambda s: {k: nn.Parameter(v) if v.is_floating_point() else v for k, v in s.items()})
wrapped("columns first in memory", "channels_last, transposed views",
        lambda s: {k: v.to(memory_format=torch.channels_last) if v.ndim == 4 else v for k, v in s.items()})
wrapped("two names for one storage", "tied weights", lambda s: {"model": s, "model_copy": dict(s)},
        refusal="model_copy")


def one_buffer(state):
    """Every float a view of one long storage, as after flattening."""
    flat = torch.cat([v.flatten() for v in state.values() if v.is_floating_point()])
    out, at = {}, 0
    for key, value in state.items():
        if value.is_floating_point():
            out[key] = flat[at : at + value.numel()].view(value.shape)
            at += value.numel()
        else:
            out[key] = value
    return out


wrapped("views of one storage", "apex, flattened parameters", one_buffer)
