"""Stage ``cells``: see ``docs/architecture.md``."""
