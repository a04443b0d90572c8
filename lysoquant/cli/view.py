"""``lysoquant view``."""
