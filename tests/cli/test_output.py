"""No command replaces a file unasked, and none ever what it reads."""

import os
import shutil

import pytest

from npresnet.cli.output import check_output

COMMANDS = {  # what each command reads, and its line
    "convert": ("net.npz", ["convert", "net.npz", "OUT"]),
    "convert --to": ("net.npz", ["convert", "net.npz", "OUT", "--to", "torchvision"]),
    "cam IMAGE": ("photo.png", ["cam", "photo.png", "--weights", "net.npz", "--out", "OUT"]),
    "explore": ("photo.png", ["explore", "photo.png", "--weights", "net.npz", "--out", "OUT"]),
    "cam --weights": ("net.png", ["cam", "photo.png", "--weights", "net.png", "--out", "OUT"]),
}


@pytest.fixture
def folder(weights, photo, tmp_path, monkeypatch):
    """A folder with a network, under two names, and a photo; the command runs there."""
    from npresnet import load_model, save_weights

    save_weights(load_model(weights), tmp_path / "net.npz")
    shutil.copy(tmp_path / "net.npz", tmp_path / "net.png")
    shutil.copy(photo, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def spellings(name, suffix):
    """Names of one file: itself, a detour, a symbolic link, a link to that, a hard link, a folder that is a link."""
    os.symlink(name, f"soft{suffix}")
    os.symlink(f"soft{suffix}", f"softer{suffix}")
    os.link(name, f"hard{suffix}")
    os.symlink(".", "here")
    return [
        name,
        f"./{name}",
        os.path.abspath(name),
        f"soft{suffix}",
        f"softer{suffix}",
        f"hard{suffix}",
        f"here/{name}",
    ]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("force", [[], ["--force"]])
def test_no_command_writes_over_what_it_reads(command, force, run, folder):
    name, line = COMMANDS[command]
    before = (folder / name).read_bytes()
    for out in spellings(name, os.path.splitext(name)[1]):
        result = run(*[out if word == "OUT" else word for word in line], *force)
        assert result.status == 2 and "is what this command reads" in result.complaint, out
        assert (folder / name).read_bytes() == before


@pytest.mark.parametrize(
    "out, line",
    [("b.npz", COMMANDS["convert"][1]), ("b.npz", COMMANDS["convert --to"][1]), ("b.png", COMMANDS["cam IMAGE"][1])],
)
def test_another_file_is_replaced_only_with_force(out, line, run, folder):
    (folder / out).write_bytes(b"mine")
    line = [out if word == "OUT" else word for word in line]
    refused = run(*line)
    if "--to" not in line:  # which writes no .npz in any case
        assert refused.status == 2 and refused.complaint.endswith("replace it with --force")
    assert (folder / out).read_bytes() == b"mine"
    assert run(*line, "--force").status == 0 and (folder / out).read_bytes() != b"mine"


def test_a_link_to_another_file_counts_as_one_and_a_dangling_one_too(tmp_path):
    (tmp_path / "mine").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    for name in ("mine", "link", "lost"):
        with pytest.raises(FileExistsError, match="--force"):
            check_output(tmp_path / name)
        check_output(tmp_path / name, force=True)


def test_files_of_a_folder_that_is_read_are_inputs(tmp_path):
    (tmp_path / "config.json").write_bytes(b"{}")
    with pytest.raises(FileExistsError, match="what this command reads"):
        check_output(tmp_path / "config.json", tmp_path, force=True)


def test_what_is_no_regular_file_is_never_replaced(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "fifo", tmp_path / "folder", "/dev/null"):
        with pytest.raises(OSError, match=r"no regular file|may not be written"):
            check_output(path, force=True)


@pytest.mark.parametrize("out, complaint", [("none/b.npz", "No such folder"), ("net.npz/b.npz", "No such folder")])
def test_the_folder_is_looked_at_before_the_work(out, complaint, run, folder, monkeypatch):
    monkeypatch.setattr("npresnet.weights.read_weights", None)
    result = run("convert", "net.npz", out)
    assert result.status == 2 and complaint in result.complaint and out in result.complaint


def test_long_names_that_the_file_system_takes(run, folder):
    for out in ("a" * 249 + ".npz", "ä" * 125 + ".npz"):
        assert run("convert", "net.npz", out).status == 0 and (folder / out).exists()
    result = run("convert", "net.npz", "a" * 260 + ".npz")
    assert result.status == 2 and "File name too long" in result.complaint
    assert not list(folder.glob("*.tmp"))
