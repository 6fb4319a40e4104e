"""The records of the event loop: fields by name, as places from a record's first cell."""

from __future__ import annotations

LOAD, DRIVE, CONVERT, REDUCE, POST, STORE, ADMIT = range(7)  # ADMIT stands for a shared pipeline

# header: pipelines, events waiting, pipelines to look at, frames, units, latest store; how far back
# stores of activations and of map rows were looked up, for `cimsim.timing.steady`
(
    H_PIPES, H_PIPE_COUNT, H_HEAP, H_EVENTS, H_STACK, H_CALLS, H_RING, H_FRAMES, H_FRAME, H_UNITS,
    H_UNIT_COUNT, H_LATEST, H_FULL, H_NOW, H_LOG, H_LOGGED, H_BACK, H_ROWS_BACK,
) = range(18)  # fmt: skip
HEADER = 18

# unit; U_CREDITS: edges of limited capacity to its readers, U_OUT: edges to, U_IN: from others
(
    U_ORDER, U_WINDOWS, U_ACTIVATIONS, U_ROW, U_ROWS, U_PER_ACTIVATION, U_REPLICAS, U_FEEDER,
    U_NEEDS, U_NEED_COUNT, U_WATCHES, U_WATCH_COUNT, U_OUT, U_OUT_COUNT, U_IN, U_IN_COUNT,
    U_CREDITS, U_CREDIT_COUNT, U_BLOCK, U_FRAME, U_RING, U_ROW_RING,
    # progress: stored prefix (activations, windows, those of this frame, window, frame), its cycle;
    # whether another unit lacks its pixels
    U_PREFIX, U_DONE, U_IN_FRAME, U_X, U_Y, U_FRAMES, U_AT, U_AWAITED,
) = range(30)  # fmt: skip
UNIT = 30

# feeder: one unit on one replica: its head (frame, index, window, map row of the one before, the
# first need or credit not known to be there and how much of it, since when all needs, and all, are
# there), the first activation not stored, totals; then by stage: sum of the cycles of entry, cycles
# waited; then the services
(
    F_UNIT, F_PIPE, F_REPLICA, F_FRAME, F_INDEX, F_X, F_Y, F_LAST_ROW, F_NEED, F_WANTED, F_FED,
    F_READY, F_UNDONE_FRAME, F_UNDONE_INDEX, F_PULSES, F_DOUBLE, F_LATENCY, F_TRACE, F_FIRED,
    F_FIRST, F_PULSED, F_STARVED, F_NO_CREDIT, F_LEFT_DRIVE, F_LEFT_STORE, F_ENTERED,
) = range(26)  # fmt: skip
F_WAITED = F_ENTERED + 6
F_SERVICES = F_WAITED + 6

# service: cycles alone, own cycles, legs; no legs: nobody else uses its resources
V_ALONE, V_OWN, V_LEGS, V_COUNT = range(4)
SERVICE = 4
FEEDER = F_SERVICES + 7 * SERVICE

# leg, with a list of (leg, delay) that ask after it
L_RESOURCE, L_CYCLES, L_ROOT, L_CHILDREN, L_CHILD_COUNT = range(5)
LEG = 5

# pipeline: list of feeders, pulse in CONVERT, key of the next ADMIT; then six stages and ADMIT
P_FEEDERS, P_FEEDER_COUNT, P_PULSE, P_PENDING, P_STAGES = range(5)
# stage: who is in it; T_END is UNKNOWN while a request waits (DRIVE: for CONVERT)
(
    T_SEQUENCE, T_FEEDER, T_END, T_FREE, T_SERVICE, T_BEGAN, T_LEGS, T_LAST, T_PIPE, T_KIND,
    T_NEXT, T_BEFORE,
) = range(12)  # fmt: skip
STAGE = 12
PIPE = P_STAGES + 7 * STAGE
EMPTY, UNKNOWN = -1, -1

N_PRODUCER, N_ROWS, N_COLS, N_FRAME = range(4)
NEED = 4
# E_SEEN: activations counted in the peak, and then: pixels written, rows released, pixels released
(
    E_PRODUCER, E_CONSUMER, E_TABLE, E_FREED, E_PEAK, E_CAPACITY, E_PLACE, E_SEEN, E_WRITTEN, E_ROW,
    E_GONE,
) = range(11)  # fmt: skip
EDGE = 11
W_FEEDER, W_NEED = range(2)
WATCH = 2
X_KEY, X_WHAT = range(2)  # what: address of a stage and number of a leg
EVENT = 2
# frame: units that are not done, cycle of completion
FRAME = 2
# trace row: 6 x enter, 6 x leave, stored
TRACE = 13
# log row: stage and leg, feeder, sequence number, cycle in which the leg began
G_LEG, G_FEEDER, G_SEQUENCE, G_START = range(4)
GRANT = 4

FAR = 1 << 62
ORDER_BITS, KIND_BITS, LEG_BITS = 16, 2, 12
CYCLE = ORDER_BITS + KIND_BITS
STORED, ADMITTED, ASKED = (kind << ORDER_BITS for kind in range(3))
NO_LIMIT = 1 << 60
