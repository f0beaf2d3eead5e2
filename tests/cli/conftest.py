"""A way to run commands, a small network's file, a few images."""

from ..support.commands import cifar_test, network, photo, pretrained, run, weights  # noqa: F401
