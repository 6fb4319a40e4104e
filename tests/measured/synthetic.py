"""Cells with known parameters, as laboratories write them down. Shares no code with the fit."""

import numpy as np

ERASED_S = 0.0


def rows_to_csv(path, header, rows, separator=",", comma=False, bom=False):
    def told(value):
        text = value if isinstance(value, str) else f"{value:.9g}"
        return text.replace(".", ",") if comma and not isinstance(value, str) else text

    lines = [separator.join(header)]
    lines += [separator.join(told(v) for v in row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8-sig" if bom else "utf-8")
    return path


def rows_to_xlsx(path, header, rows, title=None):
    import openpyxl

    book = openpyxl.Workbook()
    notes = book.active
    notes.title = "Notes"
    notes.append(["measured by hand"])
    sheet = book.create_sheet("Readings")
    if title:
        sheet.append([title])
        sheet.append([])
    sheet.append(list(header))
    for row in rows:
        sheet.append(list(row))
    book.save(path)
    return path


def flash(path, seed, cells=100, loss=0.002, spread=0.5, start_s=3600.0, size=0.3e-9, knee=1.1e-9,
          read=0.02e-9):  # fmt: skip
    """Floating gates: saturating error, charge loss, four readings each time; an Excel CSV."""
    rng = np.random.default_rng(seed)
    targets = np.repeat(np.array([0.5, 1, 2, 4, 6, 8, 10, 11.5]) * 1e-9, cells)
    g0 = targets + size * (1 - np.exp(-targets / knee)) * rng.standard_normal(len(targets))
    g0 = np.maximum(g0, 1e-12)
    own = loss * np.exp(spread * rng.standard_normal(len(targets)))
    neutral, rows = 500 * 11.5e-9, []
    for hours in (0, 0.3, 1, 3, 10, 30, 100, 1000):
        lost = own * np.log10(1 + hours * 3600 / start_s)
        g = g0 ** (1 - lost) * neutral**lost
        for _ in range(4):
            seen = g + read * rng.standard_normal(len(g))
            rows += [(k, targets[k] * 1e9, seen[k] * 1e9, hours) for k in range(len(g))]
    return rows_to_csv(
        path, ["Cell", "Target [nS]", "Read [nS]", "Time [h]"], rows, ";", True, True
    )


FLASH = {
    "writing.size": 0.3e-9, "writing.knee": 1.1e-9, "reading.sigma": 0.02 / 11.5,
    "drift.charge_loss": 0.002, "drift.spread": 0.5, "drift.start": 3600.0,
}  # fmt: skip


def phase_change(path, seed, cells=150, nu=0.06, spread=0.02, t0=20.0):
    """Phase change: a power law with an exponent for each cell; a workbook of currents."""
    rng = np.random.default_rng(seed)
    targets = np.repeat(np.array([5, 10, 15, 20, 25]) * 1e-6, cells)
    g0 = targets + 0.8e-6 * rng.standard_normal(len(targets))
    own = nu + spread * rng.standard_normal(len(targets))
    rows = []
    for t in (0, 5, 20, 60, 200, 1000, 5000, 20000):
        seen = g0 * (1 + t / t0) ** -own + 0.02e-6 * rng.standard_normal(len(g0))
        # 0.2 V: microampere
        rows += [(k // 64, k % 64, targets[k] * 0.2e6, seen[k] * 0.2e6, t) for k in range(len(g0))]
    head = ["row", "col", "target (uA)", "current (uA)", "time (s)"]
    return rows_to_xlsx(path, head, rows, "PCM wafer 7")


PHASE_CHANGE = {
    "writing.size": 0.8e-6, "drift.exponent": 0.06, "drift.spread": 0.02, "drift.start": 20.0,
}  # fmt: skip


def write_log(path, seed, cells=200, gain=0.4, pulse=0.015, read=0.006, tolerance=0.02, most=15):
    """Write-verify: a pulse answers a noisy reading; targets 0 .. 10 uS, fractions of 10 uS."""
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(cells):
        target = float(rng.choice([0.0, 2.0, 4.0, 6.0, 8.0, 10.0])) + (2.0 if k % 2 else 0.0)
        target = min(target, 10.0) if target else 2.0
        g = 0.5 if k % 3 else 0.2
        for count in range(most + 1):
            seen = g + 10 * read * rng.standard_normal()
            rows.append((f"c{k}", target, seen, count))
            if abs(seen - target) <= 10 * tolerance or count == most:
                break
            g = g + gain * (target - seen) + 10 * pulse * rng.standard_normal()
    return rows_to_csv(path, ["cell", "target_uS", "read_uS", "pulse"], rows, "\t")


# of the range of targets, 2 .. 10 uS
WRITE_LOG = {
    "verify.gain": 0.4, "verify.pulse_sigma": 0.015 * 10 / 8, "verify.read_sigma": 0.006 * 10 / 8,
    "verify.tolerance": 0.02 * 10 / 8, "verify.max_pulses": 15,
}  # fmt: skip


def noisy(path, seed, corner=30.0, white=2e-9, rate=1000.0, length=1024, cells=6):
    """Records of white and 1/f noise, cut from series eight times as long."""
    rng = np.random.default_rng(seed)
    rows = []
    for state, target in enumerate((2.0, 10.0)):
        for k in range(cells):
            n = 8 * length
            hz = np.fft.rfftfreq(n, 1 / rate)
            density = np.zeros(len(hz))
            density[1:] = (white * (1 + state)) ** 2 * (1 + corner / hz[1:])
            z = rng.standard_normal(len(hz)) + 1j * rng.standard_normal(len(hz))
            series = np.fft.irfft(z * np.sqrt(density * rate * n) / 2, n)[:length]
            level = target * 1e-6 + 0.1e-6 * rng.standard_normal()
            rows += [
                (f"{state}-{k}", target, (level + v) * 1e6, j / rate)
                for j, v in enumerate(series.tolist())
            ]
    return rows_to_csv(path, ["id", "target [uS]", "g [uS]", "t [s]"], rows)


NOISY = {"noise.corner": 30.0, "noise.white": 4e-9 / 10e-6, "noise.slope": 1.0}


def averaged(path, seed, n=128, size=0.4e-6, knee=3e-6, d=0.02, start_s=600.0):
    """States that were averaged before: mean, sigma and number of cells, log drift."""
    rng = np.random.default_rng(seed)
    rows = []
    targets = np.array([1, 2, 3, 5, 8, 12, 16]) * 1e-6
    sigma = size * (1 - np.exp(-targets / knee))
    first = {g: g + s * rng.standard_normal() / np.sqrt(n) for g, s in zip(targets, sigma)}  # noqa: B905
    for minutes in (0, 2, 10, 60, 600, 6000):
        for g, s in zip(targets, sigma, strict=True):
            mean = first[g] * (1 - d * np.log10(1 + minutes * 60 / start_s))
            mean += 2e-4 * g * rng.standard_normal()
            seen = s * np.sqrt(rng.chisquare(n - 1) / (n - 1))
            rows.append((g * 1e6, mean * 1e6, seen * 1e6, n, minutes))
    head = ["target [uS]", "mean [uS]", "std [uS]", "n", "time [min]"]
    return rows_to_csv(path, head, rows, ";", comma=True)


AVERAGED = {
    "writing.size": 0.4e-6, "writing.knee": 3e-6, "drift.per_decade": 0.02, "drift.start": 600.0,
}  # fmt: skip

SETS = {
    "flash": (flash, FLASH, "flash.csv", {"kind": "eflash"}),
    "phase_change": (phase_change, PHASE_CHANGE, "pcm.xlsx", {"volts": 0.2, "law": "power"}),
    "write_log": (write_log, WRITE_LOG, "log.tsv", {}),
    "noisy": (noisy, NOISY, "noise.csv", {}),
    "averaged": (averaged, AVERAGED, "states.csv", {"law": "log"}),
}
