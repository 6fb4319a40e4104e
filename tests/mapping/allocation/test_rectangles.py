import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cimsim.errors import MappingError
from cimsim.mapping.allocation.exact import pack_exact
from cimsim.mapping.allocation.rectangles import (
    Piece,
    Room,
    Spot,
    arrays_of,
    check_packing,
    in_order_loads,
    least_arrays,
    pack_first_fit,
)

# Bai et al., TCAD 2024, Fig. 7: weight rows x columns and bias rows of nine layers
FLASH = [
    (136, 196, 6), (862, 288, 6), (718, 224, 6), (706, 384, 4), (706, 126, 6), (128, 448, 6),
    (896, 144, 6), (720, 382, 6), (864, 64, 6),
]  # fmt: skip
NINE = [Piece(f"L{i}", *size) for i, size in enumerate(FLASH)]
SOC = Room(arrays=2, rows=896, cols=1024, common_rows=16)


def share(numbers):
    return sum((p.rows + p.common_rows) * p.cols for p in (NINE[n] for n in numbers)) / SOC.cells


def test_the_flash_soc_takes_two_loads_in_order():
    assert SOC.cells == 1_851_392
    first, second = in_order_loads(NINE, SOC)
    assert sorted(first) == [0, 1, 2, 3, 4, 5, 6]
    assert sorted(second) == [7, 8]
    assert f"{100 * share(first):.2f}" == "53.60"  # published: 53.6 %


def test_the_flash_soc_holds_all_nine_blocks_when_packed():
    solved = pack_exact(NINE, SOC)
    assert solved.packing is not None
    check_packing(NINE, solved.packing, SOC)
    assert sorted(solved.packing) == list(range(9))
    # published: 71.7 %; the sizes give 71.58 %
    assert f"{100 * share(solved.packing):.2f}" == "71.58"


def test_too_few_common_rows_are_proved_to_be_too_few():
    # L6 fills a region's height with 144 columns and 6 bias rows; so do two of its kind
    tall = [Piece("a", 896, 600, 9), Piece("b", 896, 600, 8)]
    solved = pack_exact(tall, SOC)
    assert solved.packing is None
    assert solved.proved
    assert pack_exact([tall[0], Piece("b", 896, 600, 7)], SOC).packing is not None


@settings(max_examples=150)
@given(sizes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=14))
def test_heuristics_place_every_piece_once_within_its_bounds(sizes):
    pieces = [Piece(f"p{i}", *size) for i, size in enumerate(sizes)]
    room = Room(len(pieces), 9, 9)
    packing = pack_first_fit(pieces, room)
    check_packing(pieces, packing, room)
    assert least_arrays(pieces, room) <= arrays_of(packing) <= len(pieces)


def brute_force(pieces, room):
    """Try every place of every piece."""

    def place(number, used):
        if number == len(pieces):
            return True
        piece = pieces[number]
        for a, r, c in itertools.product(
            range(room.arrays),
            range(room.rows - piece.rows + 1),
            range(room.cols - piece.cols + 1),
        ):
            cells = {(a, r + y, c + x) for y in range(piece.rows) for x in range(piece.cols)}
            if not cells & used and place(number + 1, used | cells):
                return True
        return False

    return place(0, frozenset())


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=5),
    arrays=st.integers(1, 2),
)
def test_exact_solver_agrees_with_brute_force(sizes, arrays):
    pieces = [Piece(f"p{i}", *size) for i, size in enumerate(sizes)]
    room = Room(arrays, 4, 4)
    solved = pack_exact(pieces, room)
    assert solved.proved
    assert (solved.packing is not None) == brute_force(pieces, room)


def test_exact_solver_beats_the_heuristics_where_they_fall_short():
    # a pinwheel: four 2 x 3 around a 1 x 1 fill 5 x 5; bottom-left never finds it
    pieces = [Piece("a", 2, 3), Piece("b", 3, 2), Piece("c", 2, 3), Piece("d", 3, 2)]
    room = Room(4, 5, 5)
    assert arrays_of(pack_exact(pieces, Room(1, 5, 5)).packing) == 1
    assert arrays_of(pack_first_fit(pieces, room)) >= 1


WRONG = [
    ({}, "has no place"),
    ({0: Spot(0, 0, 0)}, "'b' has no place"),
    ({0: Spot(0, 0, 0), 1: Spot(0, 1, 1)}, "overlap"),
    ({0: Spot(0, 0, 0), 1: Spot(0, 3, 0)}, "leaves its array"),
    ({0: Spot(1, 0, 0), 1: Spot(0, 0, 0)}, "leaves its array"),
    ({0: Spot(0, 0, 0), 1: Spot(0, 2, 0)}, "common rows"),
]


@pytest.mark.parametrize(("packing", "part"), WRONG)
def test_a_wrong_packing_is_found_out(packing, part):
    pieces = [Piece("a", 2, 2, 2), Piece("b", 2, 2, 2)]
    with pytest.raises(MappingError, match=part):
        check_packing(pieces, packing, Room(1, 4, 4, common_rows=3))


def test_a_piece_larger_than_an_array_is_refused_with_both_sizes():
    for pack in (pack_first_fit, pack_exact, in_order_loads):
        with pytest.raises(MappingError, match="'big' of 5 x 2 is larger than an array of 4 x 4"):
            pack([Piece("big", 5, 2)], Room(1, 4, 4))
