"""What the machine gives and what of it is used: parts of ``lysoquant benchmark speed``."""
