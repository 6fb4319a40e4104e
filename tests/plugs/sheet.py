"""A writer: all numbers of a result as a CSV file for a spreadsheet."""

import csv

from cimsim.api import AbstractWriter


class Sheet(AbstractWriter):
    """Writes numbers.csv into the folder of the run."""

    def write(self, result, folder):
        """Write a line for each number."""
        path = folder / "numbers.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            lines = csv.writer(file)
            lines.writerow(["number", "value", "unit", "low", "high", "meaning"])
            for name, one in result.numbers().items():
                low, high = one.interval or ("", "")
                lines.writerow([name, one.value, one.unit, low, high, one.meaning])
        return f"sheet: {path.name}"
