"""Stage ``convert``: see ``docs/architecture.md``."""
