"""Checks of gradients against finite differences, and of networks against PyTorch."""
