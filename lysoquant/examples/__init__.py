"""Cells whose endolysosomes are known: simulated, or outlined by people; for training, evaluation and baselines."""
