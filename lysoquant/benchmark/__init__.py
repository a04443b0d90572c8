"""Comparisons: accuracy beside the methods of the paper's Figure 1."""
