"""Simulated fields and plates with their truth."""
