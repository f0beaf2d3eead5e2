"""Files of weights that are not read, told by their first bytes (or their shape), each with the way to convert it."""

import re
from collections.abc import Callable

UNPACK = "unpack it first"
TENSORFLOW = "load it with tf.keras and save the model as .h5, or export it with tf2onnx"

STARTS = (  # where, bytes, what it is and what to do
    (0, b"GGUF", "a GGUF file (llama.cpp); read it with the package gguf and save its arrays as .safetensors"),
    (4, b"TFL3", "a TensorFlow Lite model; convert it to .onnx with tf2onnx --tflite"),
    (4, b"ET12", "an ExecuTorch program; save the state_dict() of the model that it was exported from"),
    (4, b"ET11", "an ExecuTorch program; save the state_dict() of the model that it was exported from"),
    (0, b"ptrt", "a TensorRT engine, which fits one GPU; take the .onnx that it was built from"),
    (0, b"ftrt", "a TensorRT engine, which fits one GPU; take the .onnx that it was built from"),
    (0, b"\x93NUMPY", "a single NumPy array; save a network's arrays by name with np.savez"),
    (0, b"MATLAB 5.0", "a MATLAB file; read it with scipy.io.loadmat and save its arrays with np.savez"),
    (0, b"\4\0\0\0\1\0\0\0", "a Torch7 (Lua) file; read it with torchfile and save its arrays with np.savez"),
    (0, b"BZh", f"a bzip2 archive; {UNPACK}"),
    (0, b"\xfd7zXZ", f"an xz archive; {UNPACK}"),
    (0, b"7z\xbc\xaf", f"a 7-Zip archive; {UNPACK}"),
    (0, b"Rar!", f"a RAR archive; {UNPACK}"),
    (0, b"\x28\xb5\x2f\xfd", f"a Zstandard archive; {UNPACK}"),
    (0, b"version https://git-lfs", "it is a Git LFS pointer; fetch the real file with git lfs pull"),
    (0, b"%PDF", "it is a PDF document"),
)


def printable_name(data: bytes, at: int) -> int:
    """Where a protobuf string of one length byte ends that holds a printable name; 0 where none stands there."""
    size = data[at] if at < len(data) else 0
    name = data[at + 1 : at + 1 + size]
    return at + 1 + size if 0 < size < 128 and re.fullmatch(rb"[\w ./:-]+", name) else 0


def is_caffe(data: bytes) -> bool:
    """NetParameter: its name, field 1, then layers, field 2 (0x12) or 100 (0xa2 0x06), or inputs, field 3."""
    end = printable_name(data, 1) if data[:1] == b"\x0a" else 0
    return end > 0 and (data[end : end + 1] in (b"\x12", b"\x1a") or data[end : end + 2] == b"\xa2\x06")


def is_tensorflow_graph(data: bytes) -> bool:
    """GraphDef: nodes, field 1, each of a name, field 1, and an operation, field 2."""
    start = next((i for i in range(2, 5) if data[i : i + 1] == b"\x0a"), 0) if data[:1] == b"\x0a" else 0
    end = printable_name(data, start + 1) if start else 0
    return end > 0 and data[end : end + 1] == b"\x12"


def is_saved_model(data: bytes) -> bool:
    """SavedModel: its version, field 1, which is 1, and a large message, field 2, that begins with its own field 1."""
    return re.match(rb"\x08\x01\x12[\x80-\xff]+[\0-\x7f]\x0a", data) is not None


def is_core_ml(data: bytes) -> bool:
    """Model: its version, field 1, its description, field 2, in that the first input, field 1, in that its name."""
    return (
        re.match(rb"\x08[\x01-\x1f]\x12[\x80-\xff]*[\0-\x7f]\x0a[\x80-\xff]*[\0-\x7f]\x0a.[\w ./:-]", data, re.DOTALL)
        is not None
    )


SHAPES: tuple[tuple[Callable[[bytes], bool], str], ...] = (
    (is_core_ml, "a Core ML model; take the PyTorch or Keras file that it was converted from"),
    (is_saved_model, f"a TensorFlow SavedModel; {TENSORFLOW}"),
    (is_tensorflow_graph, f"a TensorFlow graph; {TENSORFLOW}"),
    (is_caffe, "a Caffe model; convert it to .onnx with caffe2onnx, or save its blobs by name with np.savez"),
)


def likely(start: bytes, end: bytes = b"") -> str:
    """What a file with such first and last bytes probably is, in words."""
    for at, magic, words in STARTS:
        if start[at : at + len(magic)] == magic:
            return words
    if end.endswith(b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"):
        return f"the index of a TensorFlow checkpoint; {TENSORFLOW}"
    if start.lstrip()[:4] in (b"<net", b"<?xm"):
        return "it is an XML file, as OpenVINO's beside its .bin; take the .onnx that it was converted from"
    if start.lstrip()[:1] == b"<":
        return "it looks like a web page, so the download went wrong"
    if start.lstrip()[:1] in (b"{", b"["):
        return "it is a text in JSON, as a configuration or an index of weights; name the file of weights"
    found = next((words for test, words in SHAPES if len(start) > 8 and test(start)), None)
    return found or f"it starts with {start[:8]!r}"
