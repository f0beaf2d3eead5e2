"""Bytes to named arrays, and back, trusting nothing in a file; no model is known here."""
