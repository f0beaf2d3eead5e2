"""Bytes to named arrays, and back.  Nothing in a file is trusted, nothing in it is executed; no model is known here."""
