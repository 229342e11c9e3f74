"""Connected components of a graph that comes edge by edge."""

from collections.abc import Hashable, Iterable
from typing import TypeVar

Node = TypeVar("Node", bound=Hashable)


def connected_components(edges: Iterable[tuple[Node, Node]]) -> list[list[Node]]:
    """The nodes of `edges` in groups: two are in one group if edges lead from one to the other, in any direction.

    Groups and their nodes come in the order in which they first appear. An edge from a node to itself makes it a group.
    Nearly linear in the number of edges. Source: R. E. Tarjan and J. van Leeuwen, "Worst-case analysis of set union
    algorithms", JACM 1984: union by size, path halving.
    """
    parents: dict[Node, Node] = {}
    sizes: dict[Node, int] = {}

    def root(node: Node) -> Node:
        if node not in parents:
            parents[node], sizes[node] = node, 1
            return node
        while (parent := parents[node]) != node:
            parents[node] = node = parents[parent]
        return node

    for one, other in edges:
        larger, smaller = root(one), root(other)
        if larger != smaller:
            if sizes[larger] < sizes[smaller]:
                larger, smaller = smaller, larger
            parents[smaller] = larger
            sizes[larger] += sizes.pop(smaller)
    groups: dict[Node, list[Node]] = {}
    for node in parents:
        groups.setdefault(root(node), []).append(node)
    return list(groups.values())
