"""Accuracy of a model or of any other method on cells whose endolysosomes are known."""
