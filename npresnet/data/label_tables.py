"""Labels in a table instead of class folders: a CSV, or the annotations of Tiny-ImageNet's validation images.

    labels.csv                          val/val_annotations.txt
      image,label                         val_0.JPEG  n03444034  0  32  44  62
      a.png,cat
      more/b.png,dog

Commas, semicolons or tabs separate the columns.  The first line may name them; without it the first holds the image,
the second its label.  An image may lack its suffix (000bec180, as in many competitions).  Paths are relative to the
table, or to images/ beside it, and lead nowhere else: a table is read like any other file that somebody may have made
up.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from pathlib import PurePosixPath
from typing import NamedTuple

from ..formats.errors import printable
from .class_folders import class_level, is_image_name, part_named, words_of
from .errors import ImageError

MAX_TABLE = 1 << 26  # bytes
IMAGE = (
    "image",
    "filename",
    "file",
    "file_name",
    "path",
    "filepath",
    "image_path",
    "image_name",
    "name",
    "img",
    "image_id",
    "id",
)
LABEL = ("label", "class", "category", "class_name", "label_name", "labels", "target")


class Labelled(NamedTuple):
    """What a table says of the images that are there."""

    labels: dict[str, str]  # {path of the image: its label}
    missing: list[str]  # images that are not there
    others: int  # images without a line in it


def is_table(name: str) -> bool:
    """Whether a path has the name of a table of labels."""
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)
    return not hidden and name.lower().endswith((".csv", ".tsv", "_annotations.txt"))


def table_for(part: str | None, images: Sequence[str], found: Iterable[str], path: str) -> tuple[str, dict[str, str]]:
    """(the table that labels the images of a part, or "" where class folders do; {part: table} of several).

    ``found`` are the paths of all files.  A table is one in a folder that holds all images, where these lie in no class
    folders: side by side, in one folder, or in folders named after the parts of a dataset.
    """
    parents = [PurePosixPath(name).parts[:-1] for name in images]
    level = class_level(parents)
    tops = {parent[level] for parent in parents} if level >= 0 else set()
    shared = [a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(min(parents), max(parents)))]
    folders = [tuple(shared[:k]) for k in range(len(shared) + 1)]
    tables = sorted(name for name in found if is_table(name) and PurePosixPath(name).parent.parts in folders)
    if not tables or (len(tops) > 1 and not all(map(part_named, tops))):
        return "", {}
    parts = {named: table for table in tables if (named := part_of_table(table))}
    if len(tables) == 1 and (not parts or part in (None, *parts)):
        return tables[0], {}
    part = part or next((named for named in ("test", "val", "train") if named in parts), "train")
    if part not in parts or len(parts) < len(tables):
        raise ImageError(f"{path} holds {', '.join(tables[:5])}: name the table that labels the {part} images")
    return parts[part], parts


def part_of_table(name: str) -> str | None:
    """The part of a dataset that one word in a table's name means, if any: val_labels.csv → val."""
    parts = {part for word in words_of(PurePosixPath(name).stem) if (part := part_named(word))}
    return parts.pop() if len(parts) == 1 else None


def labelled(table: str, data: bytes, images: Iterable[str], path: str) -> Labelled | None:
    """The labels of ``images`` in the table's bytes; None where it is no table of labels.

    Raises ImageError, which names the line, for one that cannot be used; ``path`` is where the table lies.
    """
    where = f"{path}/{table}"
    rows = read_table(data, where)
    if rows is None:
        return None
    there, folder, labels, missing = set(images), PurePosixPath(table).parent, {}, []
    stems = {str(PurePosixPath(name).with_suffix("")): name for name in sorted(there)}
    for name, label in rows.items():
        places = [str(folder / name), str(folder / "images" / name)]
        place = next((found for place in places if (found := place if place in there else stems.get(place))), None)
        if place is None:
            missing.append(name)
        else:
            labels[place] = label
    if not labels:
        raise ImageError(
            f"{where}: none of its {len(rows)} images is there, such as {printable(next(iter(rows), 'none'))}; "
            "paths are relative to the table"
        )
    return Labelled(labels, missing, len(there) - len(labels))


def read_table(data: bytes, where: str) -> dict[str, str] | None:
    """{image: label} of a table; None where its first line neither names the columns nor starts with an image."""
    if len(data) > MAX_TABLE:
        raise ImageError(f"{where}: {len(data):,} bytes are more than a table of labels has")
    text = data.decode("utf-8-sig", "surrogateescape")
    start = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",\t;", key=start.count))
    rows: dict[str, str] = {}
    try:
        first = next(reader, [])
        columns, header = columns_of(first)
        if columns is None:
            return None
        for row in reader if header else (row for part in ([first], reader) for row in part):
            if any(cell.strip() for cell in row):
                name, label = cells(row, columns, f"{where}, line {reader.line_num}")
                if rows.setdefault(name, label) != label:
                    raise ImageError(
                        f"{where}, line {reader.line_num}: {printable(name)} is {printable(rows[name])} above and "
                        f"{printable(label)} here"
                    )
    except csv.Error as error:
        raise ImageError(f"{where}, line {reader.line_num}: {error}") from None
    return rows


def columns_of(first: Sequence[str]) -> tuple[tuple[int, int] | None, bool]:
    """((the image's column, the label's) or None, whether the first line names them)."""
    names = [cell.strip().lower() for cell in first]
    image = next((names.index(name) for name in IMAGE if name in names), None)
    label = next((names.index(name) for name in LABEL if name in names), None)
    if image is not None and label is None and len(names) == 2:
        label = 1 - image
    if image is not None and label is not None:
        return (image, label), True
    return ((0, 1) if len(first) > 1 and is_image_name(first[0].strip()) else None), False


def cells(row: Sequence[str], columns: tuple[int, int], where: str) -> tuple[str, str]:
    """(the image, its label) in a line of a table.  Raises ImageError, which begins with ``where``."""
    name, label = (row[column].strip() if column < len(row) else "" for column in columns)
    if not name or not label:
        raise ImageError(f"{where}: {f'{printable(name)} has no label' if name else 'no image is named'}")
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or path.parts[0].endswith(":"):
        raise ImageError(f"{where}: {printable(name)} leads out of the table's folder; paths are relative to it")
    return str(path), label


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """The different labels in sorted order; numbers by their value."""
    different = set(labels)
    numbers = all(label.isdecimal() and len(label) < 10 for label in different)
    return tuple(sorted(different, key=(lambda label: (int(label), label)) if numbers else None))


def word_names(data: bytes) -> Mapping[str, str]:
    """{WordNet's identifier: the first of its names} of Tiny-ImageNet's words.txt."""
    lines = (line.split("\t", 1) for line in data.decode("utf-8", "replace").splitlines() if "\t" in line)
    return {key.strip(): names.split(",")[0].strip() for key, names in lines}
