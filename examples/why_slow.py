"""The bottleneck of a network, and what copies of its layers on spare arrays change."""

import cimsim
from cimsim.api import Timeline, simulate_timing


def main(size: int = 64) -> dict[str, Timeline]:
    """Print the timeline of both mappings and its busiest stages."""
    network = cimsim.load_network("cimnet", {"stride": 8}, "random")
    graph = cimsim.trace(network.module, network.example(size, size))
    chip = cimsim.load_hw("eflash40nm")
    found = {}
    for allocation in ("in_order", "replicated"):
        mapping = cimsim.map_graph(graph, chip, "im2col", allocation)
        found[allocation] = timeline = simulate_timing(mapping)
        print(f"{allocation}: {mapping.arrays_used} arrays, {timeline}")
        for row in timeline.rows():
            print(
                f"  {row['unit']:28} {row['replicas']} x, {row['stage']:8} busy {row['busy']:4.0%} "
                f"waiting {row['waiting']:4.0%} blocked {row['blocked']:4.0%}"
            )
    return found


if __name__ == "__main__":
    main()
