"""The command line as a whole: help, version, quick start, interruption, pipes, progress."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import npresnet
from npresnet.cli import COMMANDS, main, parser
from npresnet.cli.progress import progress

ROOT = Path(__file__).parents[2]


def python(*argv, **options):
    return subprocess.run([sys.executable, *argv], cwd=ROOT, capture_output=True, text=True, timeout=120, **options)


def test_version_and_help(run):
    assert run("--version").out == f"npresnet {npresnet.__version__}\n"
    text = run("--help").out
    for command in COMMANDS:
        assert command in text
        result = run(command, "--help")
        assert result.status == 0 and "examples:" in result.out and f"npresnet {command}" in result.out


def test_only_the_command_that_runs_gets_its_options():
    words = ["summary", "resnet20", "--json"]
    assert parser().parse_args(words).json and parser("summary").parse_args(words).json
    with pytest.raises(SystemExit):
        parser("train").parse_args(words)


def test_help_needs_no_library():
    code = (
        "import sys, npresnet.cli as c; c.main(['--help']); c.main(['summary', '--help']); "
        "print(sorted({'numpy', 'PIL', 'rich', 'numba', 'scipy'} & set(sys.modules)), file=sys.stderr)"
    )
    result = python("-c", code)
    assert result.returncode == 0 and result.stderr == "[]\n"


def test_python_dash_m():
    result = python("-m", "npresnet", "summary", "resnet20", "--json")
    assert result.returncode == 0 and '"macs": 40551040' in result.stdout and result.stderr == ""
    assert python("-m", "npresnet", "summary", "nothing").returncode == 2


def test_plain_text_without_rich():
    code = "import sys; sys.modules['rich'] = None; import npresnet.cli as c; sys.exit(c.main(['summary', 'resnet20']))"
    assert python("-c", code).returncode == 0


@pytest.mark.parametrize("argv", [["summary", "resnet1202"], ["--help"], ["download", "--json"]])
def test_a_closed_pipe_is_no_error(argv):
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run([sys.executable, "-m", "npresnet", *argv], cwd=ROOT, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert result.stderr == b"" and result.returncode in ((0, 141) if argv == ["--help"] else (141,))


@pytest.mark.skipif(os.name != "posix", reason="a shell of POSIX")
@pytest.mark.parametrize("closed, words", [("<&-", "BasicBlock"), (">&-", ""), ("2>&-", "BasicBlock")])
def test_a_closed_standard_stream_is_no_error(closed, words):
    line = f'"$0" -m npresnet models resnet18 {closed}'
    result = subprocess.run(["sh", "-c", line, sys.executable], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0 and words in result.stdout and result.stderr == ""


def test_a_name_that_is_no_text_is_printed_all_the_same(weights, photo, tmp_path):
    name = os.fsencode(tmp_path) + b"/\xff.png"
    try:
        shutil.copy(photo, name)
    except OSError:
        pytest.skip("this file system has no such names")
    result = python("-m", "npresnet", "classify", os.fsdecode(name), "--weights", str(weights), "--top", "1")
    assert result.returncode == 0 and "udcff.png" in result.stdout


def test_interruption_is_one_line(monkeypatch, capsys):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("npresnet.analysis.summary.summary", interrupt)
    assert main(["summary", "resnet18"]) == 130
    assert capsys.readouterr().err == "npresnet: interrupted\n"


def test_a_traceback_can_be_asked_for(monkeypatch):
    monkeypatch.setenv("NPRESNET_TRACEBACK", "1")
    with pytest.raises(ValueError, match="did you mean"):
        main(["summary", "resnet19"])


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_drawn_on_a_terminal_only(monkeypatch):
    for stream, drawn in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr("sys.stderr", stream)
        with progress("reading", 10) as show:
            for done in range(1, 11):
                show(done)
        with progress("fetching", unit="bytes") as show:
            show(1000, 2000)
        assert ("reading" in stream.getvalue() and "fetching" in stream.getvalue()) == drawn
        assert drawn or stream.getvalue() == ""
