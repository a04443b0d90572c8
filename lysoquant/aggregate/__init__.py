"""Stage ``aggregate``: see ``docs/architecture.md``."""
