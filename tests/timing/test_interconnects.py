"""Interconnects as implementations of one role: built in and of one's own."""

import pytest

import cimsim
from cimsim.api import AbstractInterconnect, Hop
from cimsim.chip.interconnects import INTERCONNECTS, interconnect_of
from cimsim.chip.load import NAMED, chip_hash, dump, load_hw
from cimsim.chip.parts.system import Interconnect
from cimsim.errors import ConfigError
from cimsim.testing import check_interconnect
from cimsim.timing.simulate import simulate
from tests.timing.nets import Net

PATH = f"{__name__}:"


class SecondBus(AbstractInterconnect):
    """The bus once more."""

    is_one_wire = True

    def way(self, source, targets):
        return (Hop((), tiles=targets),)


class SecondMesh(AbstractInterconnect):
    """The mesh, with ways found otherwise: step by step towards the target."""

    def way(self, source, targets):
        columns = next(n for n in range(1, 999) if n * n >= self.chip.tile.count)
        hops, last = [], {source: -1}
        for target in targets:
            here = source
            while here != target:
                aside = target % columns - here % columns
                there = here + ((aside > 0) - (aside < 0) if aside else
                                columns if target > here else -columns)  # fmt: skip
                if there not in last:
                    last[there] = len(hops)
                    hops.append(Hop((here, there), last[here], (there,)))
                here = there
        return tuple(hops)


class Halfway(SecondMesh):
    """A byte on every second link is dear, and the whole is as large as its tiles are many."""

    def energy_j_b(self, link):
        return 5e-12 if link[0] % 2 else 0.0

    @property
    def area_m2(self):
        return 1e-9 * self.chip.tile.count


class Nowhere(AbstractInterconnect):
    """Reaches nothing."""

    def way(self, source, targets):
        return ()


@pytest.fixture
def named(monkeypatch):
    module = __import__("sys").modules.get(__name__) or __import__("types").ModuleType("own")
    for kind in (SecondBus, SecondMesh, Halfway, Nowhere):
        setattr(module, kind.__name__, kind)
    monkeypatch.setitem(__import__("sys").modules, __name__, module)


def network():
    net = Net(8, 12, 12)
    a = net.conv("x", 40)
    net.conv(net.conv(a, 24), 8)
    return net.graph()


def timed(kind, **more):
    over = {"interconnect.kind": kind, "array.rows": 64, "array.cols": 64, "tile.count": 30,
            "interconnect.bytes_per_cycle": 4, "adc.count": 16, **more}  # fmt: skip
    placed = cimsim.map_graph(network(), load_hw("eflash40nm", over))
    return cimsim.simulate(placed, None), simulate(placed)


@pytest.mark.parametrize(("own", "built_in"), [("SecondBus", "bus"), ("SecondMesh", "mesh")])
@pytest.mark.parametrize("chips", [1, 3])
def test_one_of_ones_own_has_the_cycles_of_the_built_in_one(named, own, built_in, chips):
    more = {"system.chips": chips}
    (result, line), (wanted, known) = timed(PATH + own, **more), timed(built_in, **more)
    assert line.cycles == known.cycles
    assert line.interval == known.interval
    assert result.energy.by_component == wanted.energy.by_component
    assert result.hash != wanted.hash


def test_energy_of_a_link_and_area_are_what_it_says(named):
    (result, _), (mesh, _) = timed(PATH + "Halfway"), timed("mesh")
    energy = result.energy.by_component["interconnect"]
    assert 0 < energy != mesh.energy.by_component["interconnect"]
    chip = load_hw("eflash40nm", {"interconnect.kind": PATH + "Halfway", "tile.count": 30})
    before = load_hw("eflash40nm", {"interconnect.kind": "mesh", "tile.count": 30})
    areas = [cimsim.simulate(cimsim.map_graph(network(), c), None).hardware.area_m2
             for c in (chip, before)]  # fmt: skip
    assert areas[0] - areas[1] == pytest.approx(30e-9 - before.interconnect.area_m2, rel=1e-6)


def test_a_way_that_ends_nowhere_is_named(named):
    with pytest.raises(ConfigError, match=r"Nowhere\.way\(0, \(\d+,\)\): tile \d+ is not reached"):
        timed(PATH + "Nowhere")


@pytest.mark.parametrize("kind", INTERCONNECTS.values())
def test_the_built_in_ones_keep_the_contract(kind):
    check_interconnect(kind)


def test_the_names_of_the_field_are_those_of_the_classes():
    assert set(NAMED["interconnect"].names) == set(INTERCONNECTS)
    assert Interconnect().kind in INTERCONNECTS


def test_the_text_of_the_class_is_part_of_the_chip(named):
    chip = load_hw("eflash40nm", {"interconnect.kind": PATH + "SecondBus"})
    assert dump(chip)["interconnect"]["kind"].startswith(f"{PATH}SecondBus sha256:")
    assert dump(load_hw("eflash40nm"))["interconnect"]["kind"] == "bus"
    other = load_hw("eflash40nm", {"interconnect.kind": PATH + "SecondMesh"})
    assert chip_hash(chip) != chip_hash(other)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("mess", r"interconnect\.kind: expected 'bus', 'mesh', 'ideal' or package\.module:Class, "
                 r"got 'mess' \(did you mean mesh\?\)"),
        ("no.where:Net", r"interconnect\.kind: .*cannot import 'no\.where'"),
        ("pathlib:Path", r"derives from cimsim\.api\.AbstractInterconnect"),
        (3, r"interconnect\.kind: expected a valid string, got 3"),
    ],
)  # fmt: skip
def test_what_is_no_interconnect_is_refused(kind, told):
    with pytest.raises(ConfigError, match=told):
        interconnect_of(load_hw("eflash40nm", {"interconnect.kind": kind}))
