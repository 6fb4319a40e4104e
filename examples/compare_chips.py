"""One network on several chips: time and energy, and what each energy leaves out."""

import cimsim

CHIPS = ("eflash40nm", "sonos40nm", "example_minimal")


def main(size: int = 64) -> dict[str, cimsim.Result]:
    """Print a line for each chip; return the results."""
    network = cimsim.load_network("cimnet", {"stride": 8}, "random")  # weights do not matter here
    graph = cimsim.trace(network.module, network.example(size, size))
    results = {}
    for name in CHIPS:
        mapping = cimsim.map_graph(graph, cimsim.load_hw(name))
        results[name] = result = cimsim.simulate(mapping, None)
        energy = result.numbers()["energy.per_frame"]
        low, high = (f"{end * 1e6:.3g}" for end in energy.interval)
        print(
            f"{name:16} {mapping.arrays_used:3} arrays {result.timing.frames_per_second:8.0f} "
            f"frames/s {energy.value * 1e6:7.3g} µJ ({low} .. {high})"
        )
        print(f"{'':16} not counted: {', '.join(result.left_out) or 'nothing that has a name'}")
    return results


if __name__ == "__main__":
    main()
