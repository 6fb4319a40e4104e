"""Single-bit pulses: the looked-up pass gives the bits of the multiplied one."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.crossbar.adc import AdcRange
from cimsim.kernels import bitwise, fused, lookup
from tests.kernels.fused_case import PULSES, Case

needs_lookup = pytest.mark.skipif(not lookup.HAS_LOOKUP, reason="no AVX-512 BW")
SINGLE = {
    "all bits": PULSES["bit-serial"],
    "one": ((3, 1),),
    "three": ((0, 1), (1, 1), (2, 1)),
    "high bits": ((5, 1), (6, 1), (7, 1)),
    "sixteen": tuple((s, 1) for s in range(16)),
}


@needs_lookup
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("read_noise", [True, False])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("common", [None, 0.7])
@pytest.mark.parametrize("name", SINGLE)
def test_every_bit_is_that_of_the_multiplied_pass(name, common, whole, read_noise, dtype):
    codes = np.uint16 if name == "sixteen" else np.uint8
    case = Case(6, rows=300, cols=70, vectors=201, codes=codes, whole=whole)
    adc = AdcRange(-900.0, 12.0, 127)
    options = {"read_noise": read_noise, "power": 2, "common": common}
    slow = case.fast(SINGLE[name], adc, 0.4, dtype, **options)
    quick = case.fast(SINGLE[name], adc, 0.4, dtype, by_bits=True, **options)
    np.testing.assert_array_equal(quick[0], slow[0])
    np.testing.assert_array_equal(quick[1], slow[1])
    assert quick[2] == slow[2] > 0


@needs_lookup
@pytest.mark.parametrize("common", [None, 0.7])
@pytest.mark.parametrize("read_noise", [True, False])
def test_few_vectors_of_few_rows_have_the_bits_of_the_multiplied_pass(read_noise, common):
    """More than one block of vectors, more than one group of conversions, rows left over."""
    case = Case(6, rows=13, cols=18, vectors=bitwise.block_of(3) + 9)
    adc = AdcRange(-90.0, 2.0, 63)
    options = {"read_noise": read_noise, "power": 1, "common": common}
    slow = case.fast(SINGLE["three"], adc, 0.4, np.float32, **options)
    quick = case.fast(SINGLE["three"], adc, 0.4, np.float32, by_bits=True, **options)
    np.testing.assert_array_equal(quick[0], slow[0])
    np.testing.assert_array_equal(quick[1], slow[1])
    assert quick[2] == slow[2] > 0


@needs_lookup
@pytest.mark.parametrize(("rows", "cols", "vectors"), [(1, 1, 1), (5, 16, 48), (70, 33, 97)])
def test_an_ideal_converter_passes_currents_and_their_noise_on(draw, rows, cols, vectors):
    case = Case(7, rows, cols, vectors)
    pulses = SINGLE["all bits"]
    acc, sums, clipped = case.fast(pulses, AdcRange.ideal(), 3.0, np.float64, by_bits=True)
    expected, tally, _ = case.naive(draw, pulses, AdcRange.ideal(), 3.0)
    np.testing.assert_array_equal(sums, tally)
    # 2**-15 of the largest cell and 1/254 of the largest variance
    assert np.abs(acc - expected).max() < 3e-3 * np.abs(expected).max()
    assert clipped == 0


@needs_lookup
def test_columns_may_be_cut_into_stretches_that_go_anywhere():
    """Slices of several weights: columns of one array that add to the same outputs."""
    case = Case(8, cols=66)
    case.target = np.concatenate([np.arange(5, 38), np.arange(5, 38)])
    adc = AdcRange(-3000.0, 20.0, 255)
    pulses = SINGLE["all bits"]
    slow = case.fast(pulses, adc, 0.3, np.float32)[0]
    assert (slow[:, 5:38] != 0).any()
    assert not slow[:, :5].any()
    np.testing.assert_array_equal(case.fast(pulses, adc, 0.3, np.float32, by_bits=True)[0], slow)


@needs_lookup
@pytest.mark.parametrize("name", ["all bits", "three", "high bits"])
def test_whole_cells_without_noise_of_the_converter_are_exact(draw, name):
    case, adc = Case(0, rows=61, whole=True), AdcRange(-150.0, 3.0, 127)
    options = {"read_noise": False, "power": 2}
    acc, sums, clipped = case.fast(SINGLE[name], adc, 0.0, np.float64, by_bits=True, **options)
    expected = case.naive(draw, SINGLE[name], adc, 0.0, **options)
    np.testing.assert_array_equal(acc, expected[0])
    np.testing.assert_array_equal(sums, expected[1])
    assert clipped == expected[2] > 0


@given(st.lists(st.tuples(st.integers(0, 199), st.integers(1, 40), st.integers(0, 9)), max_size=9))
def test_panels_that_add_to_the_same_outputs_are_found(cuts):
    """As connected components of panels of 16 columns and outputs."""
    stretches, column, n_cols = [], 0, 240
    for to, length, gap in cuts:
        stretches.append((column + gap, to, length))
        column += gap + length
    panels = column // 16 + 1
    graph = nx.Graph()
    graph.add_nodes_from(range(panels))
    for source, to, length in stretches:
        graph.add_edges_from(((source + k) // 16, ("output", to + k)) for k in range(length))
    sets = [[n for n in found if isinstance(n, int)] for found in nx.connected_components(graph)]
    first = {panel: min(found) for found in sets for panel in found}
    table = np.array(stretches, np.int64).reshape(-1, 3)
    shared, largest = bitwise._sharing(table, panels, n_cols)
    assert shared.tolist() == [first[panel] for panel in range(panels)]
    assert largest == max(map(len, sets))


def test_only_single_bits_are_looked_up():
    pulses = fused.pulse_bits(SINGLE["high bits"])
    assert (bitwise.why_not(pulses, lookup.MOST_ROWS) is None) == lookup.HAS_LOOKUP
    assert bitwise.why_not(pulses, lookup.MOST_ROWS + 1) is not None
    for name in ("one pulse", "two pulses", "uneven"):
        assert bitwise.why_not(fused.pulse_bits(PULSES[name]), 100) is not None
