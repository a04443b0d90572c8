"""Which channel of a plate plays which role."""

from __future__ import annotations

from lysoquant.params import Params


class Channels(Params):
    """Channel labels, as the plate's own metadata name them, by role."""

    lysosome: str
    """Channel of the limiting membrane (LAMP1, RAB7)."""
    cargo: str
    """Channel of the cargo (SEC62, ATZ, FAM134B, ...)."""
    nucleus: str | None = None
    """Channel of the nuclei; null where the plate has none (then choose another `cells.method`)."""

    def by_role(self) -> dict[str, str]:
        """Label by role, without roles that the plate lacks."""
        roles = {"lysosome": self.lysosome, "cargo": self.cargo, "nucleus": self.nucleus}
        return {role: label for role, label in roles.items() if label is not None}
