"""How fast the parts of a run are, beside what else does the same work on the same machine."""
