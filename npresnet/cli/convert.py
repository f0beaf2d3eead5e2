"""Convert a checkpoint to another format, or for another library.

IN is any checkpoint that --weights takes elsewhere; the suffix of OUT chooses .safetensors, .npz or .pth (which
torch.load reads with weights_only=True).  The arrays get torchvision's names and float32.  Architecture, preprocessing
and class names are stored beside them, as far as IN says them; give --model where it fits several networks.  Arrays of
an unknown architecture are written as they are.

--to DIALECT writes the names and layout of another library instead: torchvision, timm, huggingface, pytorch-tutorial,
or keras (OUT.h5, for model.load_weights).  It is refused where that library would compute other numbers.

A quantized IN, such as npresnet quantize writes, stays so, as .safetensors, .npz, .pth or, in the form QDQ, .onnx.

OUT.onnx holds the whole network, which ONNX Runtime, OpenVINO, TensorRT and others run: images (N, channels, height,
width) in, scores out, N free; height and width are free, too, unless --size fixes them.
"""

import argparse
import os

from ..printer import note, say
from .arguments import add_classes_argument, add_select_argument, open_model, parse_size, positive
from .output import add_force_argument, check_output

EXAMPLES = """examples:
  npresnet convert resnet20-12fca82f.th resnet20.safetensors
  npresnet convert old.pth.tar new.pth --model resnet50
  npresnet convert resnet50-0676ba61.pth model.safetensors --to huggingface
  npresnet convert resnet50-0676ba61.pth resnet50.onnx --fold
  npresnet convert resnet50-int8.safetensors resnet50-int8.onnx"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="IN", help="a checkpoint")
    parser.add_argument(
        "output", metavar="OUT", help="a new file: .safetensors, .npz, .pth or .onnx; .h5 with --to keras"
    )
    parser.add_argument("--model", metavar="NAME", help="the network in IN, where the checkpoint does not say it")
    parser.add_argument("--to", metavar="DIALECT", help="the library that will load OUT")
    add_select_argument(parser)
    add_classes_argument(parser, "what IN says")
    onnx = parser.add_argument_group("for OUT.onnx")
    onnx.add_argument("--fold", action="store_true", help="multiply batch norms into the convolutions before them")
    onnx.add_argument("--size", type=parse_size, metavar="HxW", help="the images' only size, such as 224 or 224x224")
    onnx.add_argument("--opset", type=positive, metavar="N", help="the version of ONNX's operators (default: 17)")
    add_force_argument(parser)


def run(args: argparse.Namespace) -> int:
    from ..formats.containers import WRITERS
    from ..quantized.file import holds_quantized
    from ..weights import WeightsError, export_weights, read_weights, save_weights

    check_output(args.output, args.input, force=args.force)
    if os.path.isfile(args.input) and holds_quantized(args.input):
        return convert_quantized(args)
    if args.output.lower().endswith(".onnx"):
        return write_onnx(args)
    if args.fold or args.size or args.opset:
        raise ValueError("--fold, --size and --opset are for an OUT that ends in .onnx")
    if not args.to and os.path.splitext(args.output)[1].lower() not in WRITERS:
        raise ValueError(f"{args.output}: OUT ends in {', '.join(WRITERS)} or .onnx; .h5 is for --to keras")
    if args.to:
        model, _ = open_model(args.model, args.input, args.select, args.classes)
        say(f"{export_weights(model, args.output, args.to)}: {model.spec.name} for {args.to}")
        return 0
    try:
        content, _ = open_model(args.model, args.input, args.select, args.classes)
        arrays = len(content.state_dict())
    except WeightsError as error:
        content = read_weights(args.input, select=args.select)  # raises again where the file is the problem
        if args.model:
            raise  # what was asked for is not what it holds
        arrays = len(content)
        note(f"no known architecture, the arrays keep their names: {str(error).splitlines()[0]}")
    save_weights(content, args.output)
    say(f"{args.output}: {arrays} arrays")
    return 0


def write_onnx(args: argparse.Namespace) -> int:
    from ..weights.export_onnx import OPSET, save_onnx

    if args.to:
        raise ValueError("an OUT that ends in .onnx is for no library alone; leave out --to")
    model, _ = open_model(args.model, args.input, args.select, args.classes)
    save_onnx(model, args.output, fold=args.fold, size=args.size, opset=args.opset or OPSET)
    say(f"{args.output}: {model.spec.name} as ONNX")
    return 0


def convert_quantized(args: argparse.Namespace) -> int:
    """Write a quantized network in another format."""
    from ..quantized import load_quantized, save_quantized

    for option in ("to", "classes", "model", "select", "fold"):
        if getattr(args, option):
            raise ValueError(f"{args.input} is quantized; --{option} is for float networks")
    if (args.size or args.opset) and not args.output.lower().endswith(".onnx"):
        raise ValueError("--size and --opset are for an OUT that ends in .onnx")
    network = load_quantized(args.input)
    save_quantized(network, args.output, size=args.size, opset=args.opset)
    say(f"{args.output}: {network!r}")
    return 0
