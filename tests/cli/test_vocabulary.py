"""One vocabulary of options over all commands."""

import io
import sys

import pytest

from npresnet.cli import COMMANDS, Parser, main
from npresnet.cli.arguments import add_alias
from npresnet.cli.progress import progress


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


def test_an_alias_is_hidden_and_sets_the_same(capsys):
    parser = Parser("test")
    add_alias(parser, "--old-name", parser.add_argument("--new", type=int, default=3))
    assert [parser.parse_args(words).new for words in ([], ["--old-name", "5"], ["--new", "7"])] == [3, 5, 7]
    assert "--old-name" not in parser.format_help() and "--new" in parser.format_help()
    with pytest.raises(SystemExit):
        parser.parse_args(["--old-name", "x"])


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
