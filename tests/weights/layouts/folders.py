"""Folders, archives of several files and formats of other programs."""

import bz2
import json
import lzma
import struct

import numpy as np
import torch

from .containers import as_numpy, filed, saved, tarred, zipped
from .foreign import arrays, gluon_name
from .kind import Layout, kind
from .nets import resnet


def folder_kind(name, source, fill, **expected):
    """A kind that is a folder; ``fill(folder, state)`` writes it."""

    @kind(name, source)
    def make(folder):
        net = resnet()
        (folder / "run").mkdir()
        fill(folder / "run", net.state_dict())
        return Layout(net, file=folder / "run", **expected)


def trainer_folder(folder, state):
    """transformers' Trainer: weights, optimizer, random state, arguments."""
    from safetensors.torch import save_file

    save_file(state, folder / "model.safetensors")
    torch.save({"state": {}, "param_groups": []}, folder / "optimizer.pt")
    torch.save({"python": (3, (1, 2), None)}, folder / "rng_state.pth")
    (folder / "trainer_state.json").write_text(json.dumps({"epoch": 3}))


def deepspeed_folder(folder, state):
    (folder / "global_step10").mkdir()
    (folder / "latest").write_text("global_step10")
    torch.save({"module": state}, folder / "global_step10/mp_rank_00_model_states.pt")


def several(folder, state):
    torch.save(state, folder / "epoch_1.pth")
    torch.save(resnet().state_dict(), folder / "epoch_2.pth")


def one_file(folder, state):
    torch.save({"state_dict": state}, folder / "best.pth")
    (folder / "log.txt").write_text("loss 0.1")


def saved_model(folder, state):
    (folder / "variables").mkdir()
    (folder / "saved_model.pb").write_bytes(b"\x08\x01")
    (folder / "variables/variables.index").write_bytes(b"\0" * 16)


def distributed(folder, state):
    (folder / ".metadata").write_bytes(b"\x80\x02}.")
    (folder / "__0_0.distcp").write_bytes(b"PK\3\4")


folder_kind("folder: a checkpoint of transformers' Trainer", "transformers: checkpoint-500", trainer_folder)
folder_kind("folder: DeepSpeed", "microsoft/DeepSpeed: save_checkpoint", deepspeed_folder,
            refusal=r"(?i)mp_rank_00_model_states|deepspeed|give the file|no weights")
folder_kind("folder: one checkpoint and a log", "scripts", one_file)
folder_kind("folder: two checkpoints", "scripts", several, refusal=r"epoch_1\.pth.*epoch_2\.pth")
folder_kind("folder: empty", "scripts", lambda folder, state: None, refusal=r"(?i)no weights|empty|no file")
folder_kind("folder: TensorFlow's SavedModel", "tf.saved_model.save", saved_model, refusal=r"(?i)saved_?model")
folder_kind("folder: torch.distributed.checkpoint", "dcp.save", distributed, refusal=r"(?i)distributed|distcp|dcp")

filed("bzip2 around it", "scripts", "net.pth.bz2", lambda s: bz2.compress(saved(s)), refusal=r"(?i)bzip2|bz2")
filed("xz around it", "scripts", "net.pth.xz", lambda s: lzma.compress(saved(s)), refusal=r"(?i)\bxz|lzma")
filed("a zip of two checkpoints", "releases", "nets.zip",
      lambda s: zipped({"a.pth": saved(s), "b.pth": saved(resnet().state_dict())}), refusal=r"a\.pth.*b\.pth")
filed("TorchServe's .mar", "pytorch/serve", "net.mar", lambda s: zipped(
    {"MAR-INF/MANIFEST.json": b"{}", "model.pth": saved(s), "handler.py": b"pass"}))
filed("a tar of a folder, weights two folders down", "releases", "net.tar.gz",
      lambda s: tarred({"run/args.json": b"{}", "run/weights/best.pth": saved({"state_dict": s})}, "w:gz"))
filed("7-Zip", "releases", "net.7z", lambda s: b"7z\xbc\xaf\x27\x1c" + bytes(64),
    refusal=r"(?i)7-?zip|7z|unpack|not a file of weights")
filed("RAR", "releases", "net.rar", lambda s: b"Rar!\x1a\7\1\0" + bytes(64), refusal=r"(?i)rar|not a file of weights")
filed("JSON of nested lists", "tensorflow.js-like exports", "net.json",
      lambda s: json.dumps({k: v.tolist() for k,
          v in list(s.items())[:3]}).encode(), refusal=r"(?i)JSON|not a file of weights")
filed("source code", "the wrong file", "resnet.py", lambda s: b"import torch\n\nclass ResNet:\n    pass\n",
      refusal=r"(?i)text|source|not a file of weights")
filed("zeros", "a sparse file of a broken download", "net.pth", lambda s: bytes(4096),
    refusal=r"(?i)zero|not a file of weights")


@kind("MATLAB's .mat", "scipy.io.savemat", slow=True)
def mat(folder):
    from scipy.io import savemat

    savemat(folder / "net.mat", {f"a{i}": v for i, v in enumerate(as_numpy(resnet().state_dict()).values())})
    return Layout(file=folder / "net.mat", refusal="(?i)matlab|\\.mat")


def mxnet(tree) -> bytes:
    """An MXNet file of arrays: magic, count, arrays (magic, dense, shape, device, float32, data), names."""
    out = struct.pack("<QQQ", 0x112, 0, len(tree))
    for value in tree.values():
        out += struct.pack(f"<IiI{value.ndim}qiii", 0xF993FAC9, 0, value.ndim, *value.shape, 1, 0, 0) + value.tobytes()
    names = [f"{'aux' if 'running' in key else 'arg'}:{key}".encode() for key in tree]
    return out + struct.pack("<Q", len(names)) + b"".join(struct.pack("<Q", len(name)) + name for name in names)


@kind("MXNet's .params", "apache/mxnet: export")
def params(folder):
    net = resnet(depths=(2, 2, 1, 1))
    (folder / "net-0000.params").write_bytes(mxnet(arrays(net, gluon_name)))
    return Layout(net, file=folder / "net-0000.params")


@kind("HDF5 written by h5py, a dataset for each name", "h5py scripts")
def hdf5(folder):
    import h5py

    net = resnet()
    with h5py.File(folder / "net.h5", "w") as file:
        for key, value in net.state_dict().items():
            file[key] = value.numpy()
    return Layout(net, file=folder / "net.h5")


@kind("HDF5 written by h5py, a group for each part of a name, and texts", "h5py scripts")
def hdf5_groups(folder):
    import h5py

    net = resnet(depths=(2, 1, 1, 1))
    with h5py.File(folder / "net.h5", "w") as file:
        file.attrs["epoch"], file["log"], file["loss"] = 3, "loss 0.1", 0.1
        for key, value in net.state_dict().items():
            file["weights/" + key.replace(".", "/")] = value.numpy()
    return Layout(net, file=folder / "net.h5")


def npz_of(name, convert):
    @kind(f".npz {name}", "NumPy scripts")
    def make():
        net = resnet()
        return Layout(net, {k: convert(v.numpy()) for k, v in net.state_dict().items()}, "net.npz")


npz_of("in Fortran order", np.asfortranarray)
npz_of("of big-endian numbers", lambda a: a.astype(a.dtype.newbyteorder(">")))
npz_of("of float64", lambda a: a.astype(np.float64) if a.dtype.kind == "f" else a)


@kind(".npz of one dictionary", "np.savez(path, state)")
def npz_object(folder):
    np.savez(folder / "net.npz", np.array(as_numpy(resnet().state_dict()), dtype=object))
    return Layout(file=folder / "net.npz", refusal=r"(?i)object|pickle")


@kind("convolutions float16, norms float32", "mixed precision exports")
def mixed():
    net = resnet()
    state = {k: v.half() if v.ndim > 1 else v for k, v in net.state_dict().items()}
    net.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    return Layout(net, state)
