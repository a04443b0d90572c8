"""Whole high-content-screening plates to endolysosome occupancy."""

__version__ = "0.1.0"
