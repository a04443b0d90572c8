"""People's outlines: consensus of operators, cells worth correcting, corrections taken back."""
