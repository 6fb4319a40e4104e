from hypothesis import given, settings
from hypothesis import strategies as st

from cimsim.mapping.candidates import candidates
from cimsim.mapping.layout import count
from cimsim.mapping.strategies import STRATEGIES, strategy
from tests.mapping.layers import arrays, chip, layer, layers


@settings(max_examples=40)
@given(
    op=layers(most=4), size=arrays(), cell_bits=st.sampled_from([3, 7]),
    dac_bits=st.sampled_from([2, 8]),
)  # fmt: skip
def test_a_candidate_costs_what_its_layout_does(op, size, cell_bits, dac_bits):
    hw = chip(size[0], 3 + size[1], weights__cell_bits=cell_bits, dac__bits=dac_bits)
    seen = {}
    for found in candidates(op, hw):
        assert found.strategy not in seen
        seen[found.strategy] = found
        layout = strategy(found.strategy).place(op, hw)
        counted = count(op, layout, hw)
        assert found.parameters["windows_per_activation"] == layout.windows_per_activation
        assert found.parameters.get("window_shape") == layout.window_shape
        assert (found.arrays, found.activations) == (counted.arrays, counted.activations)
        assert found.conversions == counted.conversions
        assert found.dac_conversions == counted.dac_conversions
        assert found.utilisation == layout.utilisation
        assert found.firings == layout.activations(op.window_grid)
    # the defaults of all strategies are among them
    for how in STRATEGIES.values():
        counted = count(op, how.place(op, hw), hw)
        assert any(
            (c.arrays, c.activations, c.conversions)
            == (counted.arrays, counted.activations, counted.conversions)
            for c in seen.values()
        ), how


def test_signed_inputs_on_two_rows_halve_the_array():
    from dataclasses import replace

    op = replace(layer(12, 3, 4, 4), signed=True)
    hw = chip(72, 40, inputs__signed="rows")
    first, *others = candidates(op, hw)
    assert (first.strategy, first.arrays, first.dac_conversions) == ("im2col", 1, 100 * 72)
    assert all(c.arrays > 1 for c in others if c.strategy.startswith(("omm", "sdk")))


def test_thousands_are_counted_in_a_second():
    import time

    hw = chip(512, 512)
    op = layer(56, 3, 64, 128)
    start = time.process_time()
    n = sum(1 for _ in candidates(op, hw))
    assert n > 1000
    assert n / (time.process_time() - start) > 1000
