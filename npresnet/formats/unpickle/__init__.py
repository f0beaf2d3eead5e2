"""A pickle read as data: a stack machine that knows a few opcodes and calls only what an allow-list names."""
