"""A denoiser on a chip: quality, cycles, energy, and what to doubt."""

import cimsim
from cimsim.video.embedded import embedded_clip


def main(frames: int = 1, size: int = 64) -> cimsim.Result:
    """Denoise some frames of the clip that comes with cimsim."""
    network = cimsim.load_network("cimnet", {"stride": 8}, hw="eflash40nm")
    chip = cimsim.load_hw("eflash40nm")
    graph = cimsim.trace(network.module, network.example(size, size))
    mapping = cimsim.map_graph(graph, chip)
    print(mapping)

    clip = embedded_clip(frames=frames)[:, :size, :size]
    result = cimsim.simulate(mapping, clip, noise_sigma=15, title=network.title)
    quality = result.quality
    print(f"noisy     {quality.mean('noisy_psnr'):6.2f} dB")
    print(f"float32   {quality.mean('float_psnr'):6.2f} dB")
    print(f"on chip   {quality.mean('chip_psnr'):6.2f} dB")
    print(f"{result.timing.cycles_per_frame:,} cycles per frame")
    energy = result.numbers()["energy.per_frame"]
    low, high = energy.interval
    print(f"{energy.value * 1e6:.0f} µJ per frame, {low * 1e6:.0f} .. {high * 1e6:.0f} µJ")
    for doubt in result.doubts:
        print("doubt:", doubt)
    return result


if __name__ == "__main__":
    main()
