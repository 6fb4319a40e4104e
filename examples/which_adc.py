"""How many bits must the converters have: a study."""

import cimsim


def main(bits: str = "4..7", size: str = "64x64", frames: int = 1) -> list[dict]:
    """Sweep the bits, print a line for each, return what no other point beats."""
    study = cimsim.Study(
        networks="cimnet", set={"adc.bits": bits}, frames=frames, size=size, seeds=2
    )
    print(study)
    outcome = study.run(workers=1)
    for group in outcome.table.groups:
        psnr, energy = (
            group.cells[name].text for name in ("quality.chip_psnr", "energy.per_frame")
        )
        print(f"{group.settings['adc.bits']} bits: {psnr} dB, {energy}")
    return outcome.pareto("max psnr", "min energy")


if __name__ == "__main__":
    main()
