"""What a forecast makes of the records of wells that are done."""

from __future__ import annotations

from lysoquant.channels import Channels
from lysoquant.project.forecast.costs import FieldCost, of_cargoes

COST = FieldCost(core_s=10, gpu_s=2, disk_bytes=5, files=1, n_wells=2, n_fields=4)


def test_segment_costs_as_many_passes_as_there_are_cargoes_now() -> None:
    one = {"parameters": {"channels": {"cargo": "SEC62"}}}
    two = {"parameters": {"channels": {"cargo": "SEC62", "other_cargoes": ["LC3"]}}}
    channels = Channels(lysosome="LAMP1", cargo="SEC62")
    three = channels.model_copy(update={"other_cargoes": ("LC3", "p62")})
    assert of_cargoes(COST, [one, one], channels) == COST
    grown = of_cargoes(COST, [one], three)
    assert (grown.core_s, grown.gpu_s, grown.disk_bytes) == (30, 6, 5)
    assert of_cargoes(COST, [one, two], three).core_s == 20
    assert of_cargoes(COST, [two], channels).core_s == 5
