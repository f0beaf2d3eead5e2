"""One vocabulary of options over all commands."""

import io
import json
import sys
from pathlib import Path

import pytest

import npresnet
from npresnet.cli import COMMANDS, Parser, main
from npresnet.cli.arguments import add_alias
from npresnet.cli.progress import progress
from npresnet.data import class_names

from ..scripts import commands

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("argv", "answer"),
    [
        (["clasify", "a.jpg"], "no command 'clasify'; did you mean classify? (see npresnet --help)"),
        (["xyz"], f"npresnet: no command 'xyz'; they are {', '.join(COMMANDS)} (see npresnet --help)"),
        (["bench", "--thread", "2", "--rouns=3"], "npresnet bench: no option --rouns; did you mean --rounds?"),
        (["summary", "resnet18", "--learning-rate", "1"], "npresnet summary: no option --learning-rate (see"),
        (["bench", "5"], "npresnet bench: takes no further argument, such as '5' (see npresnet bench --help)"),
    ],
)
def test_a_mistyped_word_is_answered_with_the_nearest(argv, answer, capsys):
    assert main(argv) == 2
    assert answer in capsys.readouterr().err


def test_the_table_of_options_over_commands():
    """An option has one value's name everywhere but --out, and the table in the docs is the commands' own."""
    found = {}
    for command in COMMANDS:
        for option, value in commands.options(command).items():
            found.setdefault(option, set()).add(value)
    assert {option: values for option, values in found.items() if len(values) > 1} == {"--out": {"FILE", "DIR", "PATH"}}
    assert found.keys().isdisjoint({"--batch-size", "--input", "--side"})
    assert (ROOT / "docs/commands.md").read_text() == commands.table()


def test_an_alias_is_hidden_and_sets_the_same(capsys):
    parser = Parser("test")
    add_alias(parser, "--old-name", parser.add_argument("--new", type=int, default=3))
    assert [parser.parse_args(words).new for words in ([], ["--old-name", "5"], ["--new", "7"])] == [3, 5, 7]
    assert "--old-name" not in parser.format_help() and "--new" in parser.format_help()
    with pytest.raises(SystemExit):
        parser.parse_args(["--old-name", "x"])


def test_the_names_of_the_classes(run, network, photo, tmp_path):
    """A checkpoint of 1000 classes without names is taken for ImageNet's, with a line; --classes says otherwise."""
    thousand = npresnet.create_model("resnet20", num_classes=1000)
    path, names = npresnet.save_weights(thousand, tmp_path / "net.npz"), tmp_path / "names.txt"
    result = run("classify", photo, "--weights", path, "--top", 1000)
    assert all(name in result.out for name in class_names("imagenet")) and "ImageNet's are assumed" in result.err
    names.write_text("".join(f"kind {k}\n" for k in range(1000)))
    result = run("classify", photo, "--weights", path, "--top", 1000, "--classes", names)
    assert "kind 999\n" in result.out and "assumed" not in result.err
    result = run("convert", path, tmp_path / "named.npz", "--classes", names)
    assert result.status == 0 and npresnet.load_model(tmp_path / "named.npz").classes[7] == "kind 7"
    result = run("classify", photo, "--classes", names)
    assert result.status == 2 and result.complaint.endswith("1000 class names for a network of 10 classes")


def test_one_model_is_named(run):
    assert run("summary", "--model", "resnet20", "--json").out == run("summary", "resnet20", "--json").out
    assert run("gradcheck", "resnet20", "--model", "resnet32").complaint.endswith("give one")
    assert run("gradcheck").complaint.endswith("name a model")


def test_the_shape_of_an_input(run):
    shapes = [
        json.loads(run("summary", "resnet20", *words, "--json").out)["input_shape"]
        for words in ((), ("--batch", 2), ("--size", "40x48"), ("--input", "2x3x16x8"))
    ]
    assert shapes == [[1, 3, 32, 32], [2, 3, 32, 32], [1, 3, 40, 48], [2, 3, 16, 8]]


def test_models_are_listed(run):
    found = json.loads(run("models", "--json").out)
    assert [model["name"] for model in found["models"]] == npresnet.list_models()
    (wide,) = json.loads(run("models", "wide*50*", "--json").out)["models"]
    assert wide["depths"] == [3, 4, 6, 3] and wide["base_width"] == 128 and wide["size"] == [224, 224]
    assert "1x128d" in run("models", "wide*").out and "resnet20:V1" in run("models").out
    assert run("models", "vgg*").complaint.endswith("npresnet models lists them all")


def test_sixteen_bits_are_refused_on_a_cpu(run):
    assert "needs --backend cupy" in run("bench", "--precision", "float16").complaint


def test_progress_is_a_line_now_and_then_where_it_is_piped(monkeypatch):
    now, stream = [100.0], io.StringIO()
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(sys, "stderr", stream)
    with progress("reading", 1000) as show:
        for done in range(1, 1001):
            now[0] += 0.25
            show(done)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "reading: 8 of 1,000 images, 2 s" and 5 < len(lines) < 15
