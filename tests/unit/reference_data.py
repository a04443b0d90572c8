"""Small published data sets whose results other programs have printed; sources beside each."""

from __future__ import annotations

import numpy as np


def numbers(text: str) -> np.ndarray:
    return np.array([float(word) for word in text.split()])


# R's datasets::sleep (Cushny AR, Peebles AR 1905, J Physiol 32:501): extra hours of sleep, groups 1 and 2.
SLEEP = (
    numbers("0.7 -1.6 -0.2 -1.2 -0.1 3.4 3.7 0.8 0.0 2.0"),
    numbers("1.9 0.8 1.1 0.1 -0.1 4.4 5.5 1.6 4.6 3.4"),
)

# R's datasets::PlantGrowth (Dobson AJ 1983, An Introduction to Statistical Modelling): dried weight of plants.
PLANT_GROWTH = {
    "ctrl": numbers("4.17 5.58 5.18 6.11 4.50 4.61 5.17 4.53 5.33 5.14"),
    "trt1": numbers("4.81 4.17 4.41 3.59 5.87 3.83 6.03 4.89 4.32 4.69"),
    "trt2": numbers("6.31 5.12 5.54 5.50 5.37 5.29 4.92 6.15 5.80 5.26"),
}

# R's datasets::ToothGrowth (Crampton EW 1947, J Nutr 33:491): length of odontoblasts by supplement and dose.
TOOTH_GROWTH = {
    ("VC", "0.5"): numbers("4.2 11.5 7.3 5.8 6.4 10 11.2 11.2 5.2 7"),
    ("VC", "1"): numbers("16.5 16.5 15.2 17.3 22.5 17.3 13.6 14.5 18.8 15.5"),
    ("VC", "2"): numbers("23.6 18.5 33.9 25.5 26.4 32.5 26.7 21.5 23.3 29.5"),
    ("OJ", "0.5"): numbers("15.2 21.5 17.6 9.7 14.5 10 8.2 9.4 16.5 9.7"),
    ("OJ", "1"): numbers("19.7 23.3 23.6 26.4 20 25.2 25.8 21.2 14.5 27.3"),
    ("OJ", "2"): numbers("25.5 26.4 22.4 24.5 24.8 30.9 26.4 27.3 29.4 23"),
}

# lme4's Dyestuff (Davies OL, Goldsmith PL 1972, Statistical Methods in Research and Production): yield of six batches.
DYESTUFF = [
    numbers("1545 1440 1440 1520 1580"),
    numbers("1540 1555 1490 1560 1495"),
    numbers("1595 1550 1605 1510 1560"),
    numbers("1445 1440 1595 1465 1545"),
    numbers("1595 1630 1515 1635 1625"),
    numbers("1520 1455 1450 1480 1445"),
]

# lme4's Pastes (the same book): strength by batch, three casks each, two assays of each cask.
PASTES = {
    "A": "62.8 62.6 60.1 62.3 62.7 63.1",
    "B": "60 61.4 57.5 56.9 61.1 58.9",
    "C": "58.7 57.5 63.9 63.1 65.4 63.7",
    "D": "57.1 56.4 56.9 58.6 64.7 64.5",
    "E": "55.1 55.1 54.7 54.2 58.8 57.5",
    "F": "63.4 64.9 59.3 58.1 60.5 60",
    "G": "62.5 62.6 61 58.7 56.9 57.7",
    "H": "59.2 59.4 65.2 66 64.8 64.1",
    "I": "54.8 54.8 64 64 57.7 56.8",
    "J": "58.3 59.3 59.2 59.2 58.9 56.6",
}

# NIST StRD, analysis of variance: AtmWtAg (average difficulty: seven constant leading digits) and SiRstv (low).
ATM_WT_AG = (
    107.868
    + 1e-7
    * numbers(
        "1568 1465 1572 1785 1446 1903 1526 1494 1616 1587 1519 1486 1419 1569 1508 1672 1385 1518 1662 1424 1360"
        " 1333 1610 1477"
    ),
    107.868
    + 1e-7
    * numbers(
        "1079 1344 1513 1197 1604 1385 1642 1365 1151 1082 1517 1448 1198 1482 1334 1609 1101 1512 1469 1360 1254"
        " 1261 1450 1368"
    ),
)
SI_RSTV = (
    numbers("196.3052 196.1240 196.1890 196.2569 196.3403"),
    numbers("196.3042 196.3825 196.1669 196.3257 196.0422"),
    numbers("196.1303 196.2005 196.2889 196.0343 196.1811"),
    numbers("196.2795 196.1748 196.1494 196.1485 195.9885"),
    numbers("196.2119 196.1051 196.1850 196.0052 196.2090"),
)

# Boys among the first 12 children of 6115 families of 13 in Saxony (Geissler 1889; Lindsey JK, Altham PME 1998).
BOYS_OF_TWELVE = (3, 24, 104, 286, 670, 1033, 1343, 1112, 829, 478, 181, 45, 7)

WELLS_ON_PLATES = (
    ("c1", "0.45 0.24 0.27 0.24 0.37 0.29"),
    ("c1", "0.12 0.53 0.33 0.42"),
    ("d1", "0.50 0.54 0.42 0.42 0.53 0.34"),
    ("d1", "0.42 0.29 0.14"),
    ("c2", "0.20 0.16 0.34 0.45 0.31"),
    ("c2", "0.39 0.43 0.31"),
    ("d2", "0.53 0.46 0.60"),
    ("d2", "0.67 0.39 0.46"),
    ("d2", "0.50 0.55 0.40 0.65 0.59"),
    ("c3", "0.33 0.40 0.12 0.36"),
    ("c3", "0.32 0.25 0.37 0.23"),
    ("d3", "0.44 0.29 0.47"),
    ("d3", "0.33 0.53 0.47 0.37 0.47"),
)
"""Cells of wells of a control (c) and a drug (d) on plates 1 to 3; drawn by us, R computed what tests compare with."""
