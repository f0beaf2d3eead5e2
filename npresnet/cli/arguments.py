"""Options that several subcommands share, and what they mean: the network, the backend, numbers and shapes."""

import argparse
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from ..printer import note

BACKENDS = ("numpy", "numba", "cupy")


def positive(text: str) -> int:
    """The value of an option that counts something."""
    if not text.isdecimal() or len(text) > 18 or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def seed(text: str) -> int:
    """The value of an option that random numbers are drawn with."""
    if not text.isdecimal() or len(text) > 18:
        raise argparse.ArgumentTypeError(f"a seed is a whole number of at least 0, not {text!r}")
    return int(text)


def parse_shape(text: str) -> tuple[int, ...]:
    """ "1x3x224x224" → (1, 3, 224, 224)"""
    sizes = text.lower().replace("×", "x").replace(",", "x").split("x")
    if len(sizes) != 4 or not all(size.strip().isdecimal() and len(size) < 10 for size in sizes):
        raise ValueError(f"--input {text[:80]}: write batch, channels, height and width, such as 1x3x224x224")
    return tuple(map(int, sizes))


def parse_size(text: str) -> tuple[int, int]:
    """ "224" → (224, 224),  "224x320" → (224, 320): height and width"""
    sides = text.lower().replace("×", "x").split("x")
    if len(sides) > 2 or not all(side.isdecimal() and len(side) < 6 and int(side) for side in sides):
        raise argparse.ArgumentTypeError(
            f"{text[:80]!r} is no size; write a side, or height and width, such as 224x224"
        )
    return int(sides[0]), int(sides[-1])


def add_alias(parser: Any, old: str, option: argparse.Action) -> None:
    """Accept ``old``, the name of an ``option`` in an earlier version, which no help text shows any more."""
    parser.add_argument(
        old,
        dest=option.dest,
        type=option.type,
        choices=option.choices,
        default=argparse.SUPPRESS,
        help=argparse.SUPPRESS,
    )


def add_json_argument(parser: Any) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def usual_size(model: Any) -> tuple[int, int]:
    """The height and width that the model's preprocessing makes."""
    from ..data import preprocessing_of

    side = preprocessing_of(model).crop or 224
    return side, side


def add_input_arguments(parser: Any, batch: int) -> None:
    """--batch and --size, the shape of an input."""
    parser.add_argument(
        "--batch", type=positive, default=batch, metavar="N", help=f"images in the input (default: {batch})"
    )
    add_size_argument(parser)
    parser.add_argument("--input", help=argparse.SUPPRESS)  # NxCxHxW, as earlier versions had it


def add_size_argument(parser: Any, what: str = "height and width of the images, such as 224 or 224x320") -> None:
    """--size."""
    parser.add_argument("--size", type=parse_size, metavar="HxW", help=f"{what} (default: the network's usual size)")


def input_shape(args: argparse.Namespace, model: Any) -> tuple[int, ...]:
    """The shape of an input of --batch images of --size."""
    if args.input:
        return parse_shape(args.input)
    return args.batch, model.spec.in_channels, *(args.size or usual_size(model))


# --- --model and --weights --------------------------------------------------------------------------------------------


def add_model_arguments(parser: Any, without: str = "the network that comes with npresnet") -> None:
    """--model and --weights; ``without`` says what runs where no weights are given."""
    parser.add_argument("--model", metavar="NAME", help="the network's name, where the checkpoint does not say it")
    add_weights_argument(parser, without)


def only_model(positional: str | None, option: str | None) -> str:
    """The model's name, given as an argument or by --model."""
    if (positional is None) == (option is None):
        raise ValueError(f"two models are named, {positional} and {option}; give one" if option else "name a model")
    return positional or option or ""


def add_weights_argument(parser: Any, without: str) -> None:
    """--weights alone."""
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help=f"a checkpoint: .pth (any of PyTorch's), .safetensors, .npz, .onnx, Keras's or a folder of one "
        f"(default: {without})",
    )
    add_select_argument(parser)


def add_select_argument(parser: Any) -> None:
    """--select."""
    parser.add_argument(
        "--select", metavar="PART", help="which of several networks in the file, by a part of its name: ema, teacher …"
    )


def add_classes_argument(parser: Any, without: str = "the checkpoint's; ImageNet's for 1000 classes") -> None:
    """--classes; ``without`` says which names there are where it is not given."""
    parser.add_argument(
        "--classes",
        metavar="FILE",
        help=f"the names of the classes: a text file with one a line, or JSON (default: {without})",
    )


def open_model(
    name: str | None, weights: str | None, select: str | None = None, classes: str | None = None
) -> tuple[Any, dict[str, Any]]:
    """The network in the checkpoint ``weights``, read as ``name`` if that is given; and what is known about it.

    ``select`` is a part of the name of one of several networks in it.  Without a checkpoint it is the network that
    comes with the package, if ``name`` does not ask for another.  ``classes`` is a file with the names of its classes.

    What is known is {"model", "weights", "notes"}; the same goes to standard error, so that every guess is seen.
    """
    from ..zoo import SHIPPED, create_model, load_model, shipped

    if weights is None and name not in (None, SHIPPED):
        raise ValueError(f"which weights? give a file with --weights FILE{published(name)}")
    file, notes, origin = weights, [], f"weights from {weights}"
    if file is None:
        file, origin = shipped(), "the network that comes with npresnet"
        notes.append(
            "it knows CIFAR-10's ten classes; for ImageNet's thousand: npresnet download resnet50, then --weights FILE"
        )
    model = create_model(name, weights=file, select=select) if name else load_model(file, select=select)
    model.classes = given_classes(model, classes)
    spec, notes = model.spec, notes + list(model.notes)
    note(f"{spec.name} with {spec.num_classes} classes, {origin}", *(f"  {text}" for text in notes))
    return model, {"model": spec.name, "weights": str(file), "notes": notes}


def given_classes(model: Any, file: str | None) -> Any:
    """The names of the classes in a file, or the model's own."""
    from ..data.labels import read_class_names

    return model.classes if file is None else read_class_names(file, model.spec.num_classes)


def open_network(
    name: str | None, weights: str | None, select: str | None = None, classes: str | None = None
) -> tuple[Any, dict[str, Any]]:
    """:func:`open_model`, or the quantized network in the file ``weights``, as it is."""
    from ..formats.errors import WeightsError

    try:
        return open_model(name, weights, select, classes)
    except WeightsError:
        from ..quantized import holds_quantized, load_quantized

        if weights is None or name is not None or not holds_quantized(weights):
            raise
        network: Any = load_quantized(weights)
    if network.spec is None:
        raise ValueError(f"{weights}: this quantized network does not say what it is; write it with npresnet quantize")
    network.classes = given_classes(network, classes)
    note(f"{network.spec.name} in 8 bits with {network.spec.num_classes} classes, weights from {weights}")
    return network, {"model": network.spec.name, "weights": str(weights), "notes": []}


def published(name: str) -> str:
    """How to fetch weights for a network of the family, where there are some."""
    from ..models.registry import find
    from ..weights.catalogue import ENTRIES

    find(name)  # raises for an unknown name, with the nearest ones
    return f", or fetch one: npresnet download {name}" if f"{name}:V1" in ENTRIES else "; none are published for it"


def assume_classes(model: Any) -> bool:
    """Give a network of 1000 classes without names those of ImageNet, with a line that says so."""
    from ..data import class_names

    if model.classes or model.spec.num_classes != 1000:
        return False
    model.classes = class_names("imagenet")
    note("  the checkpoint names no classes: ImageNet's are assumed; --classes FILE gives others")
    return True


# --- --backend --------------------------------------------------------------------------------------------------------


def add_backend_argument(parser: Any, default: str = "the fastest here, without a GPU") -> None:
    """--backend; ``default`` says what computes where it is not given."""
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        metavar="NAME",
        help=f"what computes: numpy (the reference), numba, or cupy (a GPU) (default: {default})",
    )


def add_precision_argument(parser: Any) -> None:
    """--precision, of a network's numbers on the CPU."""
    parser.add_argument(
        "--precision",
        choices=("bfloat16",),
        metavar="NAME",
        help="bfloat16: weights and images in 16 bits (default: float32; 8 bits are a file's, see quantize)",
    )


def backend_context(backend: str | None) -> AbstractContextManager[Any]:
    """A context in which ``backend`` computes.  Raises ImportError or OSError where it cannot be used here."""
    from ..backend import gpu, use

    if backend == "cupy":
        gpu()
    return use(backend) if backend in ("numpy", "numba") else nullcontext()


def cpu_context(command: str, backend: str | None) -> AbstractContextManager[Any]:
    """:func:`backend_context` for a command that computes in float64; ValueError for a GPU."""
    if backend == "cupy":
        raise ValueError(f"{command} computes in float64 on the CPU: choose --backend numpy or numba")
    return backend_context(backend)


def on_backend(backend: str | None, *things: Any) -> tuple[Any, ...]:
    """Models and arrays where ``backend`` computes: copies on the GPU for cupy, else themselves."""
    from ..backend import to_device

    return tuple(to_device(thing, "cuda") for thing in things) if backend == "cupy" else things
