"""Energy of moving bytes: what passes the interconnect, links between chips, and ports."""

from __future__ import annotations

from collections import defaultdict

from cimsim.chip.interconnects import interconnect_of
from cimsim.chip.spec import Chip
from cimsim.mapping.mapping import Mapping
from cimsim.timing.analysis.bounds import services_per_frame
from cimsim.timing.plan.plan import Job, Spilled, make_plan
from cimsim.timing.spec.routes import Resource
from cimsim.timing.spec.stage import Served


def transport(mapping: Mapping, spilled: Spilled = ()) -> dict[str, dict[str, float]]:
    """Charge every reservation of every transfer of one frame.

    A byte costs ``interconnect.energy`` on a bus and on each link of a mesh (what the interconnect
    says, of one of the user's own), ``system.energy`` on
    each link between chips, ``global_buffer.read_energy`` or ``write_energy`` or ``dram.energy`` at
    a port. The reservations are those of the cycle engine, so time and energy move the same bytes.

    Parameters
    ----------
    mapping : Mapping
    spilled : mapping of (str, str) to str, or iterable of (str, str)
        Producer and consumer of line buffers that are kept in the global buffer or DRAM.

    Returns
    -------
    dict
        Node -> component -> J. Nodes that bring frames in and out are among them.
    """
    energy_j: dict[str, dict[str, float]] = {}
    for job in make_plan(mapping, spilled).jobs:
        row: dict[str, float] = defaultdict(float)
        for replica, services in enumerate(job.services):
            first, later = services_per_frame(job, replica)
            times = {Served.LOAD: first, Served.LOAD_NEXT: later}
            for served, service in zip(Served, services.stages, strict=True):
                share = _answered(mapping, job) if served is Served.STORE else 1.0
                for reservation in service.reservations:
                    each, component = _price(mapping.chip, job, served, reservation.resource)
                    n_bytes = times.get(served, first + later) * reservation.n_bytes * share
                    if component:
                        row[component] += n_bytes * each
        energy_j[job.node.name] = dict(row)
    return energy_j


def _answered(mapping: Mapping, job: Job) -> float:
    """Share of the windows of all activations that lie on the map: only these are stored."""
    if job.node.kind != "matrix":
        return 1.0
    together = mapping.layer_of[job.node.name].layout.windows_per_activation
    return job.answered / (job.activations * together)


def _price(chip: Chip, job: Job, stage: int, resource: Resource) -> tuple[float, str]:
    """Return J per byte and the component that a reservation is charged to; '': none."""
    net = interconnect_of(chip)
    if resource[0] == net.resource:
        return net.energy_j_b(resource[1:][1:]), "interconnect"
    reads = stage in (Served.LOAD, Served.LOAD_NEXT, Served.POST) or job.node.kind == "input"
    memory = chip.global_buffer
    prices = {
        "chips": (chip.system.energy_j_b, "interconnect"),
        "dram": (chip.dram.energy_j_b if chip.dram is not None else 0.0, "dram"),
        "global_buffer": (
            memory.read_energy_j_b if reads else memory.write_energy_j_b, "global_buffer",
        ),
    }  # fmt: skip
    return prices.get(resource[0], (0.0, ""))
