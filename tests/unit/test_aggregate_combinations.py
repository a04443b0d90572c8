"""Boolean combinations of cargoes: what is understood, what is refused, and what they add to the tables."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lysoquant.aggregate.combinations import TAKEN, Combination, problems
from lysoquant.aggregate.params import AggregateParams, AggregateSettings
from lysoquant.aggregate.shares import combined, share_columns, shares_of
from lysoquant.aggregate.wells import COLUMNS
from lysoquant.measure.columns import cells_schema, endolysosomes_schema, fields_schema

A = np.array([False, False, False, False, True, True, True, True])
B = np.array([False, False, True, True, False, False, True, True])
C = np.array([False, True, False, True, False, True, False, True])
LOADED = {"SEC62": A, "LC3": B, "p62 (647)": C}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SEC62", A),
        ("not SEC62", ~A),
        ("SEC62 and not LC3", A & ~B),
        ("SEC62 or LC3 and 'p62 (647)'", A | (B & C)),
        ("(SEC62 or LC3) and 'p62 (647)'", (A | B) & C),
        ('not (SEC62 and LC3 and "p62 (647)")', ~(A & B & C)),
        ("not not SEC62 or not LC3", A | ~B),
        ("  SEC62 and\tLC3 ", A & B),
        ("(SEC62 and\n not LC3)", A & ~B),
        ("SEC62 and not LC3 or LC3 and not SEC62", A ^ B),
    ],
)
def test_a_combination_is_true_where_its_words_say(text: str, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(Combination(text).of(LOADED), expected)


EXPRESSIONS = st.recursive(
    st.sampled_from([("SEC62", A), ("'LC3'", B), ('"p62 (647)"', C)]),
    lambda inner: st.one_of(
        inner.map(lambda x: (f"not ({x[0]})", ~x[1])),
        st.tuples(inner, inner).map(lambda x: (f"({x[0][0]}) and ({x[1][0]})", x[0][1] & x[1][1])),
        st.tuples(inner, inner).map(lambda x: (f"({x[0][0]} or ({x[1][0]}))", x[0][1] | x[1][1])),
    ),
    max_leaves=12,
)


@given(EXPRESSIONS)
@settings(max_examples=100, deadline=None)
def test_any_combination_is_true_where_its_words_say(expression: tuple[str, np.ndarray]) -> None:
    text, expected = expression
    np.testing.assert_array_equal(Combination(text).of(LOADED), expected)


@given(st.text(st.sampled_from("ab _'\"()[]{}.,:=+*\\\n\t#andortlmbfxyz019\x00é𝒂"), max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_combination_or_a_value_error(text: str) -> None:
    cargoes: tuple[str, ...] = ()
    told = ""
    try:
        cargoes = Combination(text).cargoes
    except ValueError as error:
        told = str(error)
    assert bool(cargoes) != ("is no combination of cargoes" in told)


def test_a_combination_names_each_of_its_cargoes_once() -> None:
    assert Combination("SEC62 and not LC3 or LC3 and not 'p62 (647)'").cargoes == ("SEC62", "LC3", "p62 (647)")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SEC62 and",
        "SEC62 AND LC3",
        "SEC62, LC3",
        "SEC62 & LC3",
        "SEC62 == LC3",
        "-SEC62",
        "SEC62.LC3",
        "SEC62[0]",
        "__import__('os').system('true')",
        "(lambda: SEC62)()",
        "SEC62 if LC3 else SEC62",
        "[x for x in SEC62]",
        "(SEC62 := LC3)",
        "f'{SEC62}'",
        "b'SEC62'",
        "True",
        "None",
        "1",
        "SEC62 and 0",
        "p62 (647)",
        "SEC62\nLC3",
        "SEC62\x00",
        "SEC62) or (LC3",
        "(" * 400 + "SEC62" + ")" * 400,
        "# SEC62",
    ],
)
def test_anything_else_is_one_line_that_says_what_is_expected(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no combination of cargoes; expected labels of cargoes joined by and, or"):
        Combination(text)
    (told,) = problems({"both": text}, cargoes=["SEC62", "LC3"])
    assert told.startswith("aggregate.combinations.both: ")
    assert "\n" not in told


@pytest.mark.filterwarnings("error")
def test_a_label_with_a_backslash_is_a_label() -> None:
    assert Combination("'\\q' or not LC3").cargoes == ("\\q", "LC3")


def test_an_endless_expression_is_refused_by_its_length() -> None:
    with pytest.raises(ValueError, match="an expression of 8999 characters; expected at most 1000"):
        Combination("not " * 2249 + "LC3")
    assert Combination("not " * 248 + "LC3").of({"LC3": A}).tolist() == A.tolist()


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("both", "SEC62 and LC3", None),
        ("both", "SEC62 and LC-3", "is no combination of cargoes"),
        ("both", "SEC62 and lc3", "'SEC62 and lc3' names 'lc3'; expected cargoes of this project, 'SEC62', 'LC3'"),
        ("a b", "SEC62", "expected a name of at most 64 letters, digits and underscores that begins with a letter"),
        ("_a", "SEC62", "expected a name"),
        ("", "SEC62", "expected a name"),
        ("a" * 65, "SEC62", "expected a name"),
        ("loaded", "SEC62", "the tables have columns of this name already"),
        ("LC3", "SEC62", "the columns of cargo 'LC3' have this name"),
        ("loaded_LC3", "SEC62", "the columns of cargo 'LC3' have this name"),
        ("SEC62", "not SEC62", None),
    ],
)
def test_names_and_cargoes_are_checked(name: str, text: str, told: str | None) -> None:
    found = list(problems({name: text}, cargoes=["SEC62", "LC3"]))
    assert len(found) == (told is not None)
    assert all(told in line and line.startswith(f"aggregate.combinations.{name}: ") for line in found if told)


def test_names_of_the_tables_own_columns_are_taken() -> None:
    """A new column of this form must be added to the names that are taken."""
    tables = [endolysosomes_schema([]).names, cells_schema([]).names, fields_schema([]).names, [*COLUMNS]]
    columns = {*(name for names in tables for name in names), "is_expressing"}
    forms = re.compile("(?:is|n|occupancy|occupancy_mean|occupancy_pooled)_(.+)")
    assert {match[1] for name in columns if (match := forms.fullmatch(name))} == TAKEN


def chosen(other_cargoes: tuple[str, ...] = (), **combinations: str) -> AggregateSettings:
    return AggregateSettings(
        params=AggregateParams(combinations=combinations), cargo="SEC62", other_cargoes=other_cargoes
    )


def test_columns_are_those_of_cargoes_then_of_combinations_by_name() -> None:
    shares = shares_of(chosen(("p62", "LC3"), neither="not SEC62", both="SEC62 and LC3"))
    assert list(share_columns(shares)) == [
        f"{kind}_{name}"
        for name, kinds in (
            ("p62", ("n_loaded", "occupancy_mean", "occupancy_pooled")),
            ("LC3", ("n_loaded", "occupancy_mean", "occupancy_pooled")),
            ("both", ("n", "occupancy_mean", "occupancy_pooled")),
            ("neither", ("n", "occupancy_mean", "occupancy_pooled")),
        )
        for kind in kinds
    ]


def test_regions_and_cells_get_their_columns() -> None:
    regions, cells = combined(
        loaded={"SEC62": A, "LC3": B},
        cell_of_region=np.array([0, 0, 0, 0, 0, 0, 2, 2]),
        n_of_cells=np.array([6, 0, 2]),
        shares=shares_of(chosen(("LC3",), both="SEC62 and LC3", only="SEC62 and not LC3")),
    )
    np.testing.assert_array_equal(regions["is_both"], A & B)
    np.testing.assert_array_equal(regions["is_only"], A & ~B)
    assert cells["n_both"].tolist() == [0, 0, 2]
    assert cells["n_only"].tolist() == [2, 0, 0]
    np.testing.assert_array_equal(cells["occupancy_both"], [0, np.nan, 1])
    np.testing.assert_array_equal(cells["occupancy_only"], [1 / 3, np.nan, 0])
    assert set(regions) | set(cells) == {f"{kind}_{x}" for kind in ("is", "n", "occupancy") for x in ("both", "only")}


def test_a_wells_numbers_are_of_its_cells_that_have_an_endolysosome() -> None:
    (share,) = shares_of(chosen(("LC3",)))
    found = share.of_well(n_all=np.array([4, 0, 1]), n_share=np.array([1, 0, 1]))
    assert found == {"n_loaded_LC3": 2, "occupancy_mean_LC3": 0.625, "occupancy_pooled_LC3": 0.4}
    nothing = share.of_well(n_all=np.zeros(2, np.int64), n_share=np.zeros(2, np.int64))
    assert nothing["n_loaded_LC3"] == 0
    assert np.isnan([nothing["occupancy_mean_LC3"], nothing["occupancy_pooled_LC3"]]).all()
