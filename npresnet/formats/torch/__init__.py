"""PyTorch's three containers, and a writer of the newest."""
