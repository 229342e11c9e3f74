"""Groups are connected components, whatever the order of the edges."""

import networkx
from hypothesis import given
from hypothesis import strategies as st

from umbel.base.union_find import connected_components

EDGES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=60)


@given(EDGES)
def test_the_groups_are_those_of_networkx(edges: list[tuple[int, int]]) -> None:
    expected = {frozenset(group) for group in networkx.connected_components(networkx.Graph(edges))}
    assert {frozenset(group) for group in connected_components(edges)} == expected


@given(EDGES)
def test_every_node_is_in_exactly_one_group(edges: list[tuple[int, int]]) -> None:
    members = [node for group in connected_components(edges) for node in group]
    assert sorted(members) == sorted({node for edge in edges for node in edge})


@given(EDGES, st.randoms(use_true_random=False))
def test_order_and_direction_change_nothing(edges: list[tuple[int, int]], random: object) -> None:
    turned = [(other, one) for one, other in edges]
    random.shuffle(turned)  # type: ignore[attr-defined]
    groups = [{frozenset(group) for group in connected_components(some)} for some in (edges, turned)]
    assert groups[0] == groups[1]


def test_a_long_chain_is_one_group() -> None:
    assert len(connected_components((n, n + 1) for n in range(100_000))) == 1
