"""Uneven light: flat fields that are given or estimated from a plate, and images corrected by them."""
