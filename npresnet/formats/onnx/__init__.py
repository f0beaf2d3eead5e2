"""Reads and writes ONNX: networks of neural layers as graphs, without the library of that name."""
