"""The critical path of a frame, by a slow twin that knows every cause of every cycle."""

from collections import Counter, defaultdict
from functools import partial

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cimsim.errors import SimulationError
from cimsim.timing.analysis.critical import critical_path
from cimsim.timing.plan.plan import make_plan
from cimsim.timing.simulate import simulate
from cimsim.timing.spec.stage import STAGES, Served, Stage
from tests.timing.line_buffers import needed_windows, released_pixels, windows_up_to
from tests.timing.nets import mappings

OTHERS = {Stage.LOAD: Stage.POST, Stage.POST: Stage.STORE}
MATRIX = {
    Stage.LOAD: Stage.DRIVE,
    Stage.DRIVE: Stage.CONVERT,
    Stage.CONVERT: Stage.REDUCE,
    Stage.REDUCE: Stage.POST,
    Stage.POST: Stage.STORE,
}


class Causes:
    """What each moment of each activation waited for; an activation is (node, sequence number).

    A moment is (kind, activation, place): the activation ``is_stored``, has ``left`` or ``entered``
    a stage, its ``pulse`` has entered CONVERT or is ``converted``. Each kind is a method that
    yields all that may have come last before it: cycles by part, and the moment before (None:
    the start).
    """

    def __init__(self, plan, timeline):
        self.plan, self.jobs, self.timeline = plan, plan.jobs, timeline
        trace = timeline.trace
        self.enter, self.leave, self.stored, self.begun = {}, {}, {}, defaultdict(list)
        columns = (trace.node, trace.frame, trace.activation, trace.enter, trace.leave)
        for u, f, g, enter, leave, stored in zip(*columns, trace.stored, strict=True):
            act = int(u), int(f) * self.jobs[u].activations + int(g)
            self.enter[act], self.leave[act] = enter.tolist(), leave.tolist()
            self.stored[act] = int(stored)
        grants = trace.grants
        columns = (grants.node, grants.frame, grants.activation, grants.stage)
        for u, f, g, s, begin, n in zip(*columns, grants.start, grants.cycles, strict=True):
            act = int(u), int(f) * self.jobs[u].activations + int(g)
            self.begun[act, int(s)].append((int(begin), int(begin + n)))
        self.before = self._before()
        self.sequential = timeline.schedule == "sequential"
        self.wanted = [
            [
                (p, needed_windows(w.node, self.jobs[p].node, dependency))
                for p, dependency in w.dependencies
            ]
            for w in self.jobs
        ]

    def _before(self):
        by_pipe = defaultdict(list)
        for (u, n), enter in self.enter.items():
            pipes = self.jobs[u].pipes
            by_pipe[pipes[n % self.jobs[u].activations % len(pipes)]].append((enter, u, n))
        before = {}
        for acts in by_pipe.values():
            order = [(u, n) for _, u, n in sorted(acts)]
            before |= dict(zip(order[1:], order, strict=False))
        return before

    def services(self, act):
        job = self.jobs[act[0]]
        return job.services[act[1] % job.activations % len(job.pipes)]

    def next_of(self, act):
        return MATRIX if self.jobs[act[0]].node.kind == "matrix" else OTHERS

    def service(self, act, stage):
        job, (_, n) = self.jobs[act[0]], act
        if stage == Stage.LOAD:
            g = n % job.activations
            row, earlier = (
                a * job.per_activation // job.node.grid[1] for a in (g, g - len(job.pipes))
            )
            stage = Served.LOAD if row != earlier else Served.LOAD_NEXT
        return self.services(act).stages[stage]

    def alone(self, act, stage):
        """Cycles of service of a stage (of a pulse) that meets nobody."""
        return self.service(act, stage).alone

    def over(self, act, stage):
        """Cycle in which the service of a stage (DRIVE: of the first pulse) was over."""
        ends = [end for _, end in self.begun[act, stage]]
        return max(ends, default=self.enter[act][stage]) + self.service(act, stage).own

    def pulses(self, act):
        """Cycles in which each pulse entered CONVERT and was converted."""
        services, drive = self.services(act), self.alone(act, Served.DRIVE)
        starts = sorted(start for start, _ in self.begun[act, Stage.CONVERT])
        at, found = self.enter[act][Stage.CONVERT], []
        for pulse in range(services.pulses):
            end = (starts[pulse] if starts else at) + self.alone(act, Served.CONVERT)
            found.append((at, end))
            at = max(at + drive, end) if services.double else end + drive
        return found

    def is_stored(self, act, _):
        yield (
            {"transfer": self.stored[act] - self.leave[act][Stage.STORE]},
            ("left", act, Stage.STORE),
        )

    def left(self, act, stage):
        at = self.leave[act][stage]
        if stage == Stage.DRIVE:
            if self.services(act).double:
                yield {}, ("pulse", act, self.services(act).pulses - 1)
            else:
                yield {}, ("left", act, Stage.CONVERT)
            return
        yield from self.blocked(act, stage, at)
        if stage == Stage.CONVERT:
            if self.pulses(act)[-1][1] == at:
                yield {}, ("converted", act, self.services(act).pulses - 1)
        elif self.over(act, stage) == at:
            yield self.spent(act, stage, self.enter[act][stage], at), ("entered", act, stage)

    def blocked(self, act, stage, at):
        """Somebody held the next stage up to now."""
        following, other = self.next_of(act).get(stage), self.before.get(act)
        if following is not None and other and self.leave[other][following] == at:
            yield {}, ("left", other, following)

    def spent(self, act, stage, begin, end):
        alone = self.alone(act, stage)
        return {STAGES[stage]: alone, "waiting": end - begin - alone}

    def converted(self, act, pulse):
        begin, end = self.pulses(act)[pulse]
        yield self.spent(act, Stage.CONVERT, begin, end), ("pulse", act, pulse)

    def pulse(self, act, pulse):
        pulses, drive = self.pulses(act), self.alone(act, Served.DRIVE)
        at = pulses[pulse][0]
        if pulse == 0:
            yield from self.blocked(act, Stage.DRIVE, at)
            if self.over(act, Stage.DRIVE) == at:
                yield (
                    self.spent(act, Stage.DRIVE, self.enter[act][Stage.DRIVE], at),
                    ("entered", act, Stage.DRIVE),
                )
        elif not self.services(act).double:
            yield {"DRIVE": drive}, ("converted", act, pulse - 1)
        else:
            if pulses[pulse - 1][0] + drive == at:
                yield {"DRIVE": drive}, ("pulse", act, pulse - 1)
            if pulses[pulse - 1][1] == at:
                yield {}, ("converted", act, pulse - 1)

    def entered(self, act, stage):
        at = self.enter[act][stage]
        if stage != Stage.LOAD:
            before = next(s for s, following in self.next_of(act).items() if following == stage)
            yield {}, ("left", act, before)
        elif at == 0:
            yield {}, None
        else:
            other = self.before.get(act)
            if other and self.leave[other][Stage.LOAD] == at:
                yield {}, ("left", other, Stage.LOAD)
            for node, count in set(self.awaited(*act)):
                prefix = [(node, n) for n in range(count)]
                if prefix and max(self.stored[one] for one in prefix) == at:
                    for one in prefix:
                        if self.stored[one] == at:
                            yield {}, ("is_stored", one, None)

    def awaited(self, u, n):
        """Yield nodes, and how many of their activations must be stored before this one."""
        job = self.jobs[u]
        frame, g = divmod(n, job.activations)
        if self.sequential:
            before = u - 1 if u else len(self.jobs) - 1
            yield before, (frame + (u > 0)) * self.jobs[before].activations
        else:
            mine = slice(g * job.per_activation, (g + 1) * job.per_activation)
            for p, counts in self.wanted[u]:
                most = (frame - (p >= u)) * self.jobs[p].node.windows + max(counts[mine])
                yield p, self.least(p, most.__le__)
        for edge, peak in zip(self.plan.edges, self.timeline.edges, strict=True):
            if edge.producer == u and peak.capacity is not None:
                block = job.node.block
                pixels = windows_up_to(job, n + 1) * block[0] * block[1] - peak.capacity
                enough = partial(self.lets_go, edge, pixels)
                yield edge.consumer, self.least(edge.consumer, enough)

    def least(self, u, enough):
        """Activations of a node after which the windows stored are enough."""
        n = 0
        while not enough(windows_up_to(self.jobs[u], n)):
            n += 1
        return n

    def lets_go(self, edge, pixels, windows):
        """Whether a reader has let go of pixels once it has stored its first windows."""
        consumer, producer = self.jobs[edge.consumer].node, self.jobs[edge.producer].node
        frame, rest = divmod(windows, consumer.windows)
        whole, begun = (
            released_pixels(consumer, producer, edge.dependencies, rows)
            for rows in (consumer.grid[0], rest // consumer.grid[1])
        )
        return frame * whole + begun >= pixels


def last_stored(causes, frame):
    """Moments in which a frame may have been complete."""
    mine = [a for a in causes.stored if a[1] // causes.jobs[a[0]].activations == frame]
    end = max(causes.stored[act] for act in mine)
    return [("is_stored", act, None) for act in mine if causes.stored[act] == end]


def is_a_path(causes, frame, parts):
    """Whether some way back through the causes spends exactly these parts."""
    names = [job.node.name for job in causes.jobs]
    assert len(set(names)) == len(names)
    budget = frozenset(((names.index(part.node), part.what), part.cycles) for part in parts)
    open_ = [(moment, budget) for moment in last_stored(causes, frame)]
    seen = set(open_)
    while open_:
        moment, left = open_.pop()
        if moment is None:
            if not left:
                return True
            continue
        kind, act, place = moment
        for spent, earlier in getattr(causes, kind)(act, place):
            rest = Counter(dict(left))
            rest.subtract({(act[0], what): cycles for what, cycles in spent.items()})
            state = earlier, frozenset((key, n) for key, n in rest.items() if n)
            if min(rest.values(), default=0) >= 0 and state not in seen:
                seen.add(state)
                open_.append(state)
    return False


def check(mapping, frame, schedule):
    try:
        timeline = simulate(mapping, 2, schedule, trace=True)
    except SimulationError:  # buffers too small
        assume(False)
    plan = make_plan(mapping)
    parts = critical_path(plan, timeline, frame)
    assert all(part.cycles > 0 for part in parts)
    assert sum(part.cycles for part in parts) == timeline.completions[frame]
    assert is_a_path(Causes(plan, timeline), frame, parts)


frames, schedules = st.integers(0, 1), st.sampled_from(["pipelined", "sequential"])
DOUBLE = {"tile__sample_hold": "double"}


@pytest.mark.slow
@settings(max_examples=80)
@given(mappings(adc__shared="array", **DOUBLE), frames, schedules)
def test_a_path_goes_back_from_cause_to_cause(mapping, frame, schedule):
    check(mapping, frame, schedule)


@pytest.mark.slow
@settings(max_examples=60)
@given(mappings(adc__shared="tile", tile__arrays=4, adc__count=1, **DOUBLE), frames, schedules)
def test_waits_for_shared_converters_are_waits(mapping, frame, schedule):
    check(mapping, frame, schedule)


@settings(max_examples=60)
@given(mappings(tile__sample_hold="single"), frames, schedules)
def test_with_single_sample_and_hold_each_pulse_is_driven_and_converted(mapping, frame, schedule):
    check(mapping, frame, schedule)
