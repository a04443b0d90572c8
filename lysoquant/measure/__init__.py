"""Stage ``measure``: see ``docs/architecture.md``."""
