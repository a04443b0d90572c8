"""The paper's measures of agreement: arrays in, numbers out."""
