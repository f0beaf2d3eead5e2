"""Reads torch.export's archives (.pt2) [E]: a member of raw bytes for each storage and a table of tensors in JSON.

The graph is not looked at; buffers that are no part of the state dict and constants are left out.  What was written as
a pickle is refused.  Archives before PyTorch 2.8 hold ``serialized_state_dict.pt``, a file of torch.save.

[E] torch/export/pt2_archive and torch/_export/serde/schema.py
"""

from typing import Any

from ..errors import WeightsError, error_context, quoted
from ..stream import Budget, parse_json
from ..tensors import Storage, Tensor, itemsize
from ..zip_archive import ZipArchive

CONFIG = "data/weights/model_weights_config.json"
OLD_STATE = "serialized_state_dict.pt"
SCALARS = {  # ScalarType
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    10: "complex64",
    11: "complex128",
    12: "bool",
    13: "bfloat16",
    28: "uint16",
    29: "float8_e4m3fn",
    30: "float8_e5m2",
    31: "float8_e4m3fnuz",
    32: "float8_e5m2fnuz",
    33: "float8_e8m0fnu",
    34: "uint32",
    35: "uint64",
}


def config_of(names: list[str]) -> str | None:
    """The member that lists the arrays, in an archive of torch.export."""
    return next((name for name in names if name == CONFIG or name.endswith(f"/{CONFIG}")), None)


def read_torch_export(archive: ZipArchive, config: str, budget: Budget) -> dict[str, Tensor]:
    """name → Tensor, in the order of the table."""
    folder = config.rpartition("/")[0]
    document = parse_json(bytes(archive.read(config)), "the table of arrays", budget)
    table = document.get("config") if isinstance(document, dict) else None
    if not isinstance(table, dict):
        raise WeightsError("the table of arrays is no JSON object with a 'config'")
    tensors, members = {}, {}
    for name, entry in table.items():
        with error_context(quoted(name)):
            if not isinstance(entry, dict) or entry.get("use_pickle"):
                raise WeightsError("is no entry, or stored as a pickle; save the exported module's state_dict instead")
            member = f"{folder}/{entry['path_name']}"
            if member not in members:  # several arrays may be of one storage
                members[member] = archive.read(member)
            tensors[name] = tensor(entry["tensor_meta"], members[member])
    return tensors


def tensor(meta: dict[str, Any], data: memoryview) -> Tensor:
    dtype = SCALARS.get(meta["dtype"])
    if dtype is None:
        raise WeightsError(f"the dtype {quoted(meta['dtype'])} is not read; save it as float32")
    storage = Storage(dtype, len(data) // itemsize(dtype)).fill(data)
    size, stride = (tuple(number(n) for n in meta[field]) for field in ("sizes", "strides"))
    return Tensor(storage, number(meta["storage_offset"]), size, stride)


def number(value: Any) -> Any:
    """{"as_int": 3} or 3; Tensor checks that it is one."""
    return value.get("as_int") if isinstance(value, dict) else value
