"""Comparing conditions by their replicates. Arrays in, small dataclasses out; nothing here knows a file or a plate."""
