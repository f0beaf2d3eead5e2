"""Networks on integers of 8 bits: calibrated from a float model, or read from torchvision's quantized files."""
