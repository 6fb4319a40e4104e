"""Rows of a study as its file keeps them."""

UNITS = {"psnr": ("quality.chip_psnr", "dB"), "energy": ("energy.per_frame", "J"),
         "fps": ("timing.frames_per_second", "1/s")}  # fmt: skip


def row(settings, error=None, doubts=(), **numbers):
    held = {}
    for name, value in numbers.items():
        full, unit = UNITS[name]
        value, ends = value if isinstance(value, tuple) else (value, None)
        held[full] = {"value": value, "unit": unit, "meaning": "", "interval": ends}
    return {"id": repr(settings), "key": None, "settings": settings, "numbers": held,
            "error": error, "doubts": list(doubts), "network": None, "frame": None}  # fmt: skip
