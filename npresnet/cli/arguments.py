"""--model and --weights: the options that several subcommands share, and the network they mean."""

import argparse

from ..printer import note


def add_model_arguments(parser, without="the network that comes with npresnet"):
    parser.add_argument("--model", metavar="NAME", help="the network's name; not needed where the file tells")
    add_weights_argument(parser, without)


def add_weights_argument(parser, without):
    parser.add_argument("--weights", metavar="FILE", help="a checkpoint: .pth (any of PyTorch's), .safetensors, .npz or"
                                                          f" Keras's (default: {without})")


def positive(text):
    """An argument that counts something."""
    if not text.isdecimal() or len(text) > 18 or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def seed(text):
    """An argument that random numbers are drawn with."""
    if not text.isdecimal() or len(text) > 18:
        raise argparse.ArgumentTypeError(f"a seed is a whole number of at least 0, not {text!r}")
    return int(text)


def open_model(name, weights):
    """The network in the file ``weights``, read as ``name`` if that is given; and what is known about it.

    Without a file it is the network that comes with the package, if ``name`` does not ask for another.

    That is {"model", "weights", "notes"}; the same goes to standard error, so that nobody trusts a guess unseen.
    """
    from ..zoo import SHIPPED, create_model, load_model, shipped
    if weights is None and name not in (None, SHIPPED):
        raise ValueError(f"which weights? give a file with --weights FILE{published(name)}")
    notes = []
    if weights is None:
        weights = shipped()
        notes.append("the network that comes with npresnet knows CIFAR-10's ten classes; for ImageNet's thousand: "
                     "npresnet download resnet50, and --weights FILE")
    model = create_model(name, weights=weights) if name else load_model(weights)
    spec, notes = model.spec, notes + list(model.notes)
    note(f"{spec.name} with {spec.num_classes} classes, weights from {weights}", *(f"  {text}" for text in notes))
    return model, {"model": spec.name, "weights": str(weights), "notes": notes}


def published(name):
    """How to fetch weights for a network of the family, where there are some."""
    from ..models.registry import find
    from ..weights.catalogue import ENTRIES
    find(name)                                                       # an unknown name is answered with the nearest
    return f", or fetch one: npresnet download {name}" if f"{name}:V1" in ENTRIES else "; none are published for it"
