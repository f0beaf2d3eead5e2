"""--model and --weights: the options that several subcommands share, and the network they mean."""

import argparse
import sys


def add_model_arguments(parser):
    parser.add_argument("--model", metavar="NAME", help="the network's name; not needed where the file tells")
    add_weights_argument(parser)


def add_weights_argument(parser):
    parser.add_argument("--weights", metavar="FILE", help="a checkpoint: .pth (any of PyTorch's), .safetensors or .npz")


def positive(text):
    """An argument that counts something."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def open_model(name, weights):
    """The network in the file ``weights``, read as ``name`` if that is given; and what is known about it.

    That is {"model", "weights", "notes"}; the same goes to standard error, so that nobody trusts a guess unseen.
    """
    from ..zoo import create_model, load_model
    if not weights:
        fetch = f", or fetch one: npresnet download {name}" if name else ""
        raise ValueError(f"which weights? give a file with --weights FILE{fetch}")
    model = create_model(name, weights=weights) if name else load_model(weights)
    spec, notes = model.spec, list(model.notes)
    print(f"{spec.name} with {spec.num_classes} classes, weights from {weights}", *notes, sep="\n  ", file=sys.stderr)
    return model, {"model": spec.name, "weights": str(weights), "notes": notes}
