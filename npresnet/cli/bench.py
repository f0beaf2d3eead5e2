"""Compare npresnet's speed with other libraries' on this machine: the same network, weights, input and threads.

The libraries take turns in one process.  Shown are medians and quartiles, and the ratio of each library's time to
npresnet's (above 1: npresnet is faster).  Libraries that are not installed are named and left out.  Weights are drawn
at random: speed does not depend on them.  The last line is the bound that the multiply-adds of the cores and the bytes
of memory, measured in the same run, set to the network's convolutions.

Under mpiexec --mode train times a step over all ranks instead: what of it is spent waiting for others, what is sent,
and how a model of latency, bandwidth and kernels says that it will scale.
"""

import argparse
from typing import Any

from ..printer import note, say_report
from .arguments import add_backend_argument, add_size_argument, backend_context, positive, usual_size
from .progress import progress
from .ranks import over_ranks

EXAMPLES = """examples:
  npresnet bench --model resnet50 --batch 8
  npresnet bench --model resnet18 --batch 1 --against onnxruntime,ncnn --json
  npresnet bench --model resnet20 --batch 128 --mode train --against torch
  npresnet bench --model resnet50 --batch 8 --precision int8 --against onnxruntime,openvino
  npresnet bench --model resnet50 --batch 8 --precision bfloat16 --against torch,openvino
  npresnet bench --model resnet50 --batch 32 --memory
  mpiexec -n 2 npresnet bench --model resnet18 --batch 32 --mode train
  npresnet bench --model resnet50 --batch 64 --backend cupy --precision tf32"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="resnet50", metavar="NAME", help="the network (default: resnet50)")
    parser.add_argument("--batch", type=positive, default=8, metavar="N", help="images in a batch (default: 8)")
    parser.add_argument(
        "--mode", choices=("infer", "train"), default="infer", help="inference (the default), or a training step of SGD"
    )
    parser.add_argument(
        "--against",
        default="torch,onnxruntime",
        metavar="NAMES",
        help="some of torch, onnxruntime, openvino, ncnn (default: torch,onnxruntime)",
    )
    parser.add_argument("--threads", type=positive, metavar="N", help="threads of each library (default: all cores)")
    parser.add_argument(
        "--rounds", type=positive, default=9, metavar="N", help="measurements of each library (default: 9)"
    )
    add_size_argument(parser)
    add_backend_argument(parser, "the engine on the CPU")
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16", "int8", "tf32", "float16"),
        metavar="NAME",
        default="float32",
        help="of every library: float32 (the default), on a CPU bfloat16 or int8, on a GPU tf32 or float16",
    )
    parser.add_argument(
        "--memory",
        action="store_true",
        help="compare peak memory instead of time, each library in a process of its own (Linux)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def run(args: argparse.Namespace) -> int:
    with over_ranks() as ranks:
        if ranks.size == 1:
            return compare(args)
        if args.mode != "train" or args.memory or args.backend == "cupy":
            raise ValueError("over several ranks a training step on the CPU is timed: --mode train")
        return over(args, ranks)


def over(args: argparse.Namespace, ranks: Any) -> int:
    """Time a step that several ranks make together."""
    from ..bench.ranks import bench_ranks
    from ..zoo import create_model

    model = create_model(args.model)
    with backend_context(args.backend):
        report = bench_ranks(model, args.batch, args.size or usual_size(model), ranks, args.rounds)
    if ranks.rank == 0:
        say_report(report, args.json)
    return 0


def compare(args: argparse.Namespace) -> int:
    """Time the network in several libraries."""
    from ..bench.cpu import bench, check_names, cores
    from ..bench.fewer_bits import bench_fewer_bits
    from ..bench.memory import peaks
    from ..zoo import create_model

    if args.precision in ("tf32", "float16") and args.backend != "cupy":
        raise ValueError(
            f"--precision {args.precision} needs --backend cupy: on a CPU all libraries are timed in float32, "
            "bfloat16 or int8, since few CPUs compute in others"
        )
    fewer = args.precision in ("bfloat16", "int8")
    if fewer and (args.backend == "cupy" or args.mode == "train" or args.memory):
        raise ValueError(
            f"--precision {args.precision} times inference on a CPU: leave out --backend, --mode and --memory"
        )
    model = create_model(args.model)
    against = tuple(name.strip() for name in args.against.split(",") if name.strip())
    size = args.size or usual_size(model)
    with backend_context(args.backend):
        if args.backend == "cupy":
            from ..bench.gpu import bench_gpu

            report = bench_gpu(model, args.batch, args.mode, size, args.precision, args.rounds)
        elif args.memory:
            report = peaks(args.model, args.batch, args.mode, against, size, args.threads or cores())
        else:
            check_names(against, args.mode)
            note("preparing each library: exporting, compiling, comparing their outputs")
            with progress("measuring", unit="turns") as show:
                common = against, size, args.threads, args.rounds
                if fewer:
                    report = bench_fewer_bits(model, args.precision, args.batch, *common, show=show)
                else:
                    report = bench(model, args.batch, args.mode, *common, show=show)
    say_report(report, args.json)
    return 0
