"""Layers on bfloat16, numbers of 16 bits, with sums in float32."""
