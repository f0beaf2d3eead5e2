"""What kernels are made of: vector instructions, tiles, and how machine code is compiled and kept."""
