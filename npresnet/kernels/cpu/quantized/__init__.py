"""Networks on integers of 8 bits, channels last, equal to :mod:`npresnet.ops.quantized` bit for bit."""
