"""The crossbar: numbers to cells and voltages, wires and faults, currents to codes."""
