"""Which channel of a plate plays which role."""

from __future__ import annotations

from lysoquant.params import Params


class Channels(Params):
    """Channel labels, as the plate's own metadata name them, by role."""

    lysosome: str
    """Channel of the limiting membrane (LAMP1, RAB7)."""
    cargo: str
    """Channel of the cargo (SEC62, ATZ, FAM134B, ...); with it the endolysosomes are found."""
    other_cargoes: tuple[str, ...] = ()
    """Channels of further cargoes, such as [LC3]: each classifies the same endolysosomes once more."""
    nucleus: str | None = None
    """Channel of the nuclei; null where the plate has none (then choose another `cells.method`)."""

    @property
    def cargoes(self) -> tuple[str, ...]:
        """Labels of all cargoes, the one that finds the endolysosomes first."""
        return (self.cargo, *self.other_cargoes)

    def with_one_cargo(self) -> Channels:
        """The same without the other cargoes, for what does not depend on them."""
        return self.model_copy(update={"other_cargoes": ()})

    def by_role(self) -> dict[str, str]:
        """Label by role, without roles that the plate lacks; of the cargoes the first."""
        roles = {"lysosome": self.lysosome, "cargo": self.cargo, "nucleus": self.nucleus}
        return {role: label for role, label in roles.items() if label is not None}
