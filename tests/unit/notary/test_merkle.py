"""Merkle trees: the roots are those of RFC 6962, and a path shows one leaf and no other."""

from hashlib import sha256

import pytest

from core.notary import merkle

LEAVES = [sha256(bytes([0, number])).digest() for number in range(40)]


def of_rfc(leaves: list[bytes]) -> bytes:
    """The definition of RFC 6962, section 2.1, over hashes of leaves."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return sha256(b"\x01" + of_rfc(leaves[:half]) + of_rfc(leaves[half:])).digest()


@pytest.mark.parametrize("size", range(40))
def test_a_root_is_that_of_the_rfc(size: int) -> None:
    assert merkle.root(LEAVES[:size]) == of_rfc(LEAVES[:size])


@pytest.mark.parametrize("size", range(40))
@pytest.mark.parametrize("height", [1, 2, 3])
def test_the_nodes_of_a_level_are_roots_and_have_the_root(size: int, height: int) -> None:
    leaves, block = LEAVES[:size], 1 << height
    nodes = merkle.level(leaves, height)
    assert nodes == [of_rfc(leaves[start : start + block]) for start in range(0, size, block)]
    assert merkle.root(nodes) == of_rfc(leaves)
    for index in range(size):
        start = index // block * block
        joined = merkle.path(leaves[start : start + block], index % block) + merkle.path(nodes, index // block)
        assert joined == merkle.path(leaves, index)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 8, 9, 31, 33])
def test_a_path_leads_from_its_leaf_to_the_root_and_from_no_other(size: int) -> None:
    leaves = LEAVES[:size]
    root = merkle.root(leaves)
    for index, leaf in enumerate(leaves):
        path = merkle.path(leaves, index)
        assert merkle.root_of(leaf, index, size, path) == root
        assert merkle.root_of(LEAVES[39], index, size, path) != root
        for wrong in (index - 1, index + 1, size):
            assert merkle.root_of(leaf, wrong, size, path) != root
        assert merkle.root_of(leaf, index, size, [*path, LEAVES[0]]) is None
        if path:
            assert merkle.root_of(leaf, index, size, path[:-1]) is None
            assert merkle.root_of(leaf, index, size, [*path[:-1], LEAVES[39]]) != root
        assert merkle.root_of(leaf, index, 2 * size + 1, path) != root
