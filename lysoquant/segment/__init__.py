"""Stage ``segment``: see ``docs/architecture.md``."""
