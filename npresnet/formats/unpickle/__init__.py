"""A pickle read as data: a stack machine that knows a few opcodes and calls nothing."""
