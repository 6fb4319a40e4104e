"""The crossbar: numbers to cells and voltages, currents to codes. Wires are ideal."""
