"""A Sankey of text fits its width, shows each amount as lines, and can be followed without colours."""

from hypothesis import given
from hypothesis import strategies as st

from ops.cli.show.sankey import LINES, NARROWEST, Ribbon, lines_of, sankey

NODES = st.sampled_from(["@World", "@Sales", "Customers", "@Tax", "a ledger with a name that is far too long for it"])
WIDE = st.just("日本")
"""Each character takes two columns."""

AMOUNTS = st.integers(1, 20) | st.integers(1, 10**24)


def ribbons_of(nodes: st.SearchStrategy[str]) -> st.SearchStrategy[list[Ribbon]]:
    ribbon = st.builds(Ribbon, nodes, nodes, AMOUNTS)
    return st.lists(ribbon, min_size=1, max_size=20, unique_by=lambda each: (each.source, each.destination))


def drawn(ribbons: list[Ribbon], width: int) -> list[str]:
    names = {node: node for each in ribbons for node in (each.source, each.destination)}
    picture = sankey(ribbons, names, lambda minor: f"{minor:,}", width=width)
    assert picture is not None
    return picture.plain.split("\n")[:-1]


@given(ribbons=ribbons_of(NODES | WIDE), width=st.sampled_from([60, 80, 160]))
def test_any_flows_fit(ribbons: list[Ribbon], width: int) -> None:
    names = {node: node for each in ribbons for node in (each.source, each.destination)}
    picture = sankey(ribbons, names, lambda minor: f"{minor:,}", width=width)
    if picture is None:
        longest = max(len(f"{sum(each.amount for each in ribbons):,}"), width * 3 // 10)
        assert width - 2 * longest - 2 < NARROWEST
        return
    lines = picture.split("\n")
    assert all(line.cell_len <= width for line in lines)
    assert len(lines) <= LINES + len(ribbons) + 3 * len(names)


@given(ribbons=ribbons_of(NODES))
def test_as_many_lines_come_in_as_go_out_as_the_amounts_say(ribbons: list[Ribbon]) -> None:
    lines = [[(column, each) for column, each in enumerate(line) if each in "━┃┏┓┗┛╋"] for line in drawn(ribbons, 200)]
    wanted = sum(lines_of(ribbons).values())
    edges = [place(column for line in lines for column, _ in line) for place in (min, max)]
    for edge in edges:
        assert sum(edge in dict(line) for line in lines) == wanted


def test_a_ribbon_is_as_wide_as_its_amount() -> None:
    large, small, tiny = Ribbon("@A", "@X", 900), Ribbon("@A", "@Y", 300), Ribbon("@B", "@Y", 1)
    assert lines_of([large, small, tiny]) == {large: 13, small: 4, tiny: 1}
    assert lines_of([large]) == {large: 6}


def test_two_flows_that_cross_can_be_followed() -> None:
    assert drawn([Ribbon("@A", "@Y", 9), Ribbon("@A", "@X", 3), Ribbon("@B", "@X", 8)], 60) == PICTURE.splitlines()


def test_a_flow_within_a_node_is_straight() -> None:
    lines = drawn([Ribbon("Customers", "Customers", 5)], 80)
    assert len(lines) == 6
    assert lines[0] == f"Customers {'━' * 60} Customers"
    assert lines[1] == f"        5 {'━' * 60} 5"


PICTURE = """\
@A ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ @X
12 ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ 11
   ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
   ━━━━━━━━━━━━━━┓                        ┏━━━━━━━━━━━━━━
   ━━━━━━━━━━━━━┓┗━━━━━┓             ┏━━━━┛┏━━━━━━━━━━━━━
   ━━━━━━━━━━━━┓┗━━━━━┓┗━━━┓     ┏━━━┛┏━━━━┛┏━━━━━━━━━━━━
   ━━━━━━━━━━━┓┗━━━━━┓┗━━━┓┗━┏━━━┛┏━━━┛┏━━━━┛┏━━━━━━━━━━━
   ━━━━━━━━━━┓┗━━━━━┓┗━━━┓┏━━┛┏━━━┛┏━━━┛┏━━━━┛┏━━━━━━━━━━
   ━━━━━━━━━┓┗━━━━━┓┗━━┏━━┛┏━━┛┏━━━┛┏━━━┛┏━━━━┛┏━━━━━━━━━
   ━━━━━━━━┓┗━━━━━┓┏━━━┛┏━━┛┏━━┛┏━━━┛┏━━━┛┏━━━━┛┏━━━━━━━━
   ━━━━━━━┓┗━━━┏━━━┛┏━━━┛┏━━┛┏━━┛┏━━━┛┏━━━┛┏━━━━┛        
          ┏━━━━┛┏━━━┛┏━━━┛┏━━┛┏━━┛┏━━━┛┏━━━┛━━━┓┗━━━━━━━━ @Y
@B ━━━━━━━┛┏━━━━┛┏━━━┛┏━━━┛┏━━┛┏━━┛┏━━━┛┗━━━━━┓┗━━━━━━━━━ 9
 8 ━━━━━━━━┛┏━━━━┛┏━━━┛┏━━━┛┏━━┛┏━━┛━━┓┗━━━━━┓┗━━━━━━━━━━
   ━━━━━━━━━┛┏━━━━┛┏━━━┛┏━━━┛┏━━┛┗━━━┓┗━━━━━┓┗━━━━━━━━━━━
   ━━━━━━━━━━┛┏━━━━┛┏━━━┛┏━━━┛━┓┗━━━┓┗━━━━━┓┗━━━━━━━━━━━━
   ━━━━━━━━━━━┛┏━━━━┛┏━━━┛     ┗━━━┓┗━━━━━┓┗━━━━━━━━━━━━━
   ━━━━━━━━━━━━┛┏━━━━┛             ┗━━━━━┓┗━━━━━━━━━━━━━━
   ━━━━━━━━━━━━━┛                        ┗━━━━━━━━━━━━━━━
"""
