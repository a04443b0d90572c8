"""Plates as a screen: quality of each plate, hits over all plates, dose-response curves. Well rows in, rows out."""
