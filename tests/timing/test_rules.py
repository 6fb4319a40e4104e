import pytest

from cimsim.chip.load import load_hw
from cimsim.mapping.mapping import map_graph
from cimsim.timing.plan.plan import make_plan
from tests.timing.nets import Duplicates, Net, chip, linear, stage_times


def cycles(graph, hardware, strategy="im2col"):
    return stage_times(make_plan(map_graph(graph, hardware, strategy)).jobs[0].services[0])


def one_conv(channels=4, c_out=8, **options):
    net = Net(channels, 8, 8)
    net.conv("x", c_out, **options)
    return net.graph()


def test_load_takes_the_new_columns_of_the_fullest_array():
    # 3 x 3 x 12 = 108 rows on arrays of 64: 64 + 44; one column of three is new
    narrow = chip(buffer__bytes_per_cycle=4)
    found = cycles(one_conv(12), narrow)
    assert (found.load_first, found.load_next) == (16, 6)  # 64 / 4; ceil(64 / 3) = 22, / 4
    found = cycles(one_conv(12, stride=2), narrow)
    assert (found.load_first, found.load_next) == (16, 11)  # ceil(128 / 3) = 43
    found = cycles(one_conv(12, stride=3), narrow)
    assert (found.load_first, found.load_next) == (16, 16)
    found = cycles(one_conv(12, dilation=2), narrow)
    assert found.load_next == 6  # a dilated kernel, too, meets one new column per step
    found = cycles(one_conv(12), chip(buffer__bytes_per_cycle=4, tile__input_reuse="none"))
    assert (found.load_first, found.load_next) == (16, 16)
    found = cycles(one_conv(12), chip(buffer__bytes_per_cycle=4, inputs__bits=12))
    assert (found.load_first, found.load_next) == (32, 11)  # two bytes per value


def test_convert_counts_physical_columns_per_converter():
    wide = one_conv(4, 40, kernel=1)
    assert cycles(wide, chip(adc__count=16)).convert == 3 * 7  # 40 columns, 16 at a time
    sliced = chip(adc__count=16, weights__cell_bits=4)  # two slices: 32 weights per array
    assert cycles(wide, sliced).convert == 4 * 7
    tall = one_conv(12, 40)  # two row tiles of 40 columns
    assert cycles(tall, chip(adc__count=16, tile__arrays=2)).convert == 3 * 7
    shared = chip(adc__count=16, tile__arrays=2, adc__shared="tile")
    assert cycles(tall, shared).convert == 5 * 7  # 80 columns share 16
    alone = chip(adc__count=16, tile__arrays=1, adc__shared="tile")
    assert cycles(tall, alone).convert == 3 * 7


def test_a_ramp_takes_its_steps_on_top():
    ramp = {"adc__kind": "ramp", "adc__bits": 6, "adc__t_conversion": "7 ns"}
    assert cycles(one_conv(), chip(**ramp)).convert == 7
    assert cycles(one_conv(), chip(**ramp, adc__t_step="0.5 ns")).convert == 7 + 32


def test_single_cells_and_signed_inputs_take_their_columns_and_pulses():
    wide = one_conv(4, 40, kernel=1)
    offset = chip(adc__count=16, weights__encoding="offset", weights__cell_bits=4)
    # two slices and two references: 31 weights per array, 62 columns converted
    assert cycles(wide, offset).convert == 4 * 7
    complement = chip(adc__count=16, weights__encoding="twos_complement")
    assert cycles(wide, complement).convert == 4 * 7
    phases = chip(inputs__signed="phases", dac__bits=2)
    assert cycles(wide, phases).pulses == 8
    assert cycles(wide, chip(inputs__signed="rows", dac__bits=2)).pulses == 4
    assert cycles(wide, chip(inputs__signed="rows", dac__bits=7)).pulses == 1


def test_durations_round_up_to_cycles():
    found = cycles(one_conv(), chip(array__t_read="10.1 ns", adc__t_conversion="6.3 ns"))
    assert (found.drive, found.convert) == (11, 7)


def test_reduce_moves_the_partial_sums_of_other_tiles_only():
    tall = one_conv(20, 10)  # 180 rows: three row tiles, so 2 x 10 sums of 4 bytes
    hardware = {"adder__lanes": 8, "interconnect__latency_cycles": 5}
    apart = cycles(tall, chip(**hardware))
    assert (apart.reduce_bus, apart.reduce_own) == (5, 5 + 3)  # 80 / 16; latency, 20 / 8
    pairs = cycles(tall, chip(tile__arrays=2, **hardware))  # the second row tile is at home
    assert (pairs.reduce_bus, pairs.reduce_own) == (3, 5 + 3)  # 40 / 16
    together = cycles(tall, chip(tile__arrays=4, **hardware))
    assert (together.reduce_bus, together.reduce_own) == (0, 3)
    ideal = cycles(tall, chip(interconnect__kind="ideal", **hardware))
    assert (ideal.reduce_bus, ideal.reduce_own) == (0, 3)
    short = cycles(one_conv(4, 10), chip(**hardware))
    assert (short.reduce_bus, short.reduce_own) == (0, 0)


def test_post_and_store_count_every_value_of_a_block():
    net = Net(4, 8, 8)
    net.relu(net.conv("x", 5, block=2))  # 20 values per window, two operations on each
    found = cycles(net.graph(), chip(interconnect__latency_cycles=5))
    assert (found.post, found.store, found.latency) == (3, 2, 5)  # 40 / 16, 20 / 16
    twice = cycles(net.graph(), chip(), Duplicates(2))
    assert (twice.post, twice.store) == (5, 3)
    found = cycles(net.graph(), chip(interconnect__kind="ideal", interconnect__latency_cycles=5))
    assert (found.store, found.latency) == (0, 0)


@pytest.mark.parametrize(
    ("hold", "bits", "interval", "serial"),
    [
        ("double", 8, 10, 17), ("double", 2, 40, 47), ("single", 8, 17, 17), ("single", 2, 68, 68),
    ],
)  # fmt: skip
def test_pulses_set_the_analog_interval(hold, bits, interval, serial):
    found = cycles(one_conv(), chip(tile__sample_hold=hold, dac__bits=bits))
    assert (found.drive, found.convert) == (10, 7)
    assert found.analog == interval
    assert found.serial == found.load_first + serial + found.post + found.store


def test_a_full_tile_of_eflash40nm_takes_what_mythic_class_chips_publish():
    hardware = load_hw("eflash40nm", {"frames": "resident"})
    found = cycles(linear(1024, 1024, 4), hardware)
    assert found.interval == found.convert == 16 * 60
    assert 6.1e-6 <= found.interval / hardware.process.clock_hz <= 6.6e-6


def test_a_full_region_of_wtm2101_gives_its_published_throughput():
    hardware = load_hw("wtm2101", {"frames": "resident"})
    found = cycles(linear(896, 1024, 4), hardware)
    assert found.interval == 896
    gops = 2 * 896 * 1024 / (found.interval / hardware.process.clock_hz) / 1e9
    assert gops == pytest.approx(50, rel=0.02)


def test_an_array_of_isaac_keeps_its_published_pipeline():
    """Shafiee, ISCA 2016: 16 one-bit pulses of 100 ns; 128 columns converted at 1.28 GS/s."""
    hardware = load_hw("isaac32nm", {"frames": "resident"})
    found = cycles(linear(128, 16, 4), hardware)
    ns = 1e9 / hardware.process.clock_hz
    assert found.pulses == 16
    assert found.drive * ns == pytest.approx(100, rel=0.01)
    assert found.convert * ns == pytest.approx(100, rel=0.01)
    assert found.interval * ns == pytest.approx(16 * 100, rel=0.01)
    # one 100 ns stage more until the last pulse is converted
    assert (found.drive + found.pulses * found.convert) * ns == pytest.approx(1700, rel=0.01)
