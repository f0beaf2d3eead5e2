"""Faster equivalents of the references in :mod:`npresnet.ops`, one folder per device.  No new math."""
