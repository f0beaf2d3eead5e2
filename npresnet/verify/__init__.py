"""Proofs: gradients against differences, whole networks against PyTorch."""
