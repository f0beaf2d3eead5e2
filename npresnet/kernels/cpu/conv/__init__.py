"""Convolutions, one algorithm to a file, and the choice among them."""
