"""What the benchmarks measure: the workloads with who takes part in them, the goals, and what is compared with what."""

from typing import NamedTuple

# ---- Subjects ------------------------------------------------------------------------------------------------------

SUBJECTS = {
    "handoff": "this library",
    "go": "Go: goroutines",
    "tokio": "Tokio: tasks of its multi-threaded runtime; block_in_place and spawn_blocking for what blocks",
    "java": "Java: virtual threads",
    "boost_fiber": "Boost.Fiber: fibers, which block the thread when they block",
    "asio": "Boost.Asio: handlers posted to a thread_pool, or on an io_context",
    "epoll": "a loop around edge-triggered epoll in each thread",
    "thread_pool": "a fixed pool of std::thread around a mutex, a condition variable and a deque",
    "std_thread": "a std::thread per task",
    "std_mutex": "std::mutex and std::thread",
    "linux": "what the kernel or the processor itself takes for it",
}
PEERS = [subject for subject in SUBJECTS if subject != "handoff"]

# The subjects that handoff_bench itself measures.
IN_HANDOFF_BENCH = {"handoff", "asio", "epoll", "thread_pool", "std_thread", "std_mutex", "linux"}

# ---- Workloads -----------------------------------------------------------------------------------------------------

SIZES = tuple(10**exponent for exponent in range(7))
QUICK_SIZES = (1, 1_000, 100_000)
# With more goroutines than that a subject is not asked for a workload that grows. Boost.Fiber maps a stack for each,
# a million of Java's take minutes, and more than 10,000 threads is what most systems refuse.
MOST_GOROUTINES = {"boost_fiber": 100_000, "java": 100_000, "std_thread": 10_000}

PARKED, QUICK_PARKED = 1_000_000, 200_000
MOST_PARKED = {"java": 200_000}   # the figure is per goroutine, and hardly differs


class Workload(NamedTuple):
    """One process per subject: `--work name`, which prints a figure `name`, and one for each name in `also`."""

    name: str
    what: str
    subjects: tuple
    also: tuple = ()
    grows: bool = False   # measured with each of SIZES as --goroutines; the figures are called name_SIZE
    client: bool = False  # handoff_bench is the client of all subjects; the others are told its path by --client

    def figures(self, size=None):
        return tuple(sized(name, size) for name in (self.name, *self.also))


def sized(name, size):
    return name if size is None else f"{name}_{size}"


def workload(name, what, peers="", also=(), grows=False, client=False):
    return Workload(name, what, ("handoff", *peers.split()), also, grows, client)


def echo_workloads():
    """An echo server beside a client that is handoff_bench itself. What a peer does without a guard is what it does
    anyway: see COUNTERPARTS. A thread of a pool serves one connection, so the pool of 64 is not asked for 500."""
    for connections, pool in ((50, "thread_pool"), (500, "")):
        what = f"echo server, {connections} connections"
        yield workload(f"echo_blocking_{connections}", f"{what}, sockets that block", f"go tokio std_thread {pool}",
                       client=True)
        yield workload(f"echo_blocking_unguarded_{connections}", f"{what}, sockets that block, without any guard",
                       client=True)
        yield workload(f"echo_net_{connections}", f"{what}, sockets that don't block", "go tokio", client=True)


def closed_echo_workloads():
    """The same without pauses, with sockets that don't block."""
    for connections in (1, 64, 1000):
        name = f"echo_{connections}"
        yield workload(name, f"echo server, {connections} connections without pauses, a message, 2 Ps (1p: 1 P)",
                       "go tokio asio epoll", also=(f"{name}_1p",), client=True)


def measured_of(subject, name, what, also=()):
    """A workload that is not handoff's."""
    return Workload(name, what, (subject,), also)


def handoff_workloads():
    """The time from a call that blocks to the next goroutine on its P: each way in each state of the threads."""
    states = {
        "cold": "a thread has to be created",
        "parked": "a thread is there and asleep",
        "warm": "a thread has only just gone idle",
    }
    # Tokio's block_in_place hands over before the call.
    peers = {"sysmon": "go", "adaptive": "", "immediate": "tokio"}
    for state, thread in states.items():
        for way, others in peers.items():
            yield workload(f"handoff_{state}_{way}", f"until the next goroutine runs, {way}: {thread}", others)


class Floor(NamedTuple):
    """A hardware floor: what the processor or the kernel takes for a step that no runtime can leave out."""

    what: str
    where_goals_were_set: float   # on the machine by which the goals in GOALS were chosen, in ns


FLOORS = {
    "floor_switch": Floor("a switch of stacks by Boost.Context", 4.6),
    "floor_cas": Floor("a compare-and-exchange in the own cache", 4.9),
    "floor_clock": Floor("a look at the steady clock", 22),
    "floor_call": Floor("getppid(2)", 123),
    "floor_page": Floor("the first touch of a page of memory", 1400),
}

THREADS = "asio thread_pool std_thread"
ALL_THAT_BLOCK = f"go tokio java boost_fiber {THREADS}"


class Theme(NamedTuple):
    title: str
    workloads: tuple


THEMES = {
    "switching": Theme("Switching and spawning", (
        workload("brackets", "entering and leaving a blocking call, nothing blocks", "go"),
        workload("yield", "yield, 1 P", "go tokio java boost_fiber"),
        workload("spawn", "spawn, run, exit, 1 P", f"go tokio java boost_fiber {THREADS}"),
        workload("wait_group", "add, done, wait, 1 P", f"go tokio java boost_fiber {THREADS}"),
        workload("skynet", "a tree of a million goroutines, 2 Ps", "go tokio java boost_fiber"),
        workload("sleep_100k", "100,000 goroutines sleep 1 ms, 2 Ps", "go tokio java boost_fiber asio"),
    )),
    "channels": Theme("Channels and locks", (
        workload("chan_unbuffered", "unbuffered channel, round trip, 1 P", "go tokio java boost_fiber"),
        workload("chan_buffered", "buffered channel, an item, 1 P", "go tokio java boost_fiber"),
        workload("chan_buffered_2p", "buffered channel, an item, 2 Ps", "go tokio java boost_fiber"),
        workload("select2", "select of two channels, with the send, 1 P", "go tokio"),
        workload("mutex_uncontended", "lock and unlock, nobody else", "go tokio java boost_fiber std_mutex"),
        workload("mutex_contended", "lock and unlock, contended on 2 Ps", f"go tokio java boost_fiber {THREADS}"),
        workload("rwmutex_read", "a reader's lock and unlock", "go tokio java"),
    )),
    "blocking": Theme("Blocking calls", (
        workload("handoff_sysmon", "until the next goroutine runs, sysmon: calls 0 to 100 µs apart", "go"),
        workload("handoff_adaptive", "… adaptive, once learnt"),
        workload("handoff_immediate", "… immediate", "tokio"),
        workload("handoff_unguarded", "… without any guard"),
        measured_of("linux", "futex_wake", "waking a sleeping thread"),
        *handoff_workloads(),
        workload("blocking_storm", "1,000 goroutines, 1 ms each, in blocking calls",
                 ALL_THAT_BLOCK, also=("blocking_storm_warm",)),
        workload("blocking_storm_busy", "the same after 100 ms of computing", ALL_THAT_BLOCK),
        workload("storm_10000x100us", "10,000 goroutines, 100 µs each, in blocking calls", ALL_THAT_BLOCK),
        workload("storm_100x50ms", "100 goroutines, 50 ms each, in blocking calls", ALL_THAT_BLOCK),
        workload("unguarded_storm", "1,000 goroutines, 1 ms each, in calls without any guard", f"go tokio {THREADS}"),
        workload("compute_beside_blocking", "computing beside 64 goroutines in 1 ms calls, of what it is without them",
                 ALL_THAT_BLOCK),
        workload("page_faults",
                 "computing beside 64 goroutines that walk a cold mapped file, of what it is without them",
                 f"go tokio {THREADS}"),
        workload("call_not_blocking", "announcing a call that returns at once", ALL_THAT_BLOCK),
        # (A native call of Java's pins its carrier: a storm makes no threads.)
        workload("recovery", "after a storm, until the threads are gone again", f"go tokio boost_fiber {THREADS}"),
        workload("file_reads", "reading 4 KiB from the device, 1,000 goroutines", ALL_THAT_BLOCK),
        workload("getaddrinfo", "looking up localhost, 200 goroutines", ALL_THAT_BLOCK),
        *echo_workloads(),
        *closed_echo_workloads(),
    )),
    "fork_join": Theme("Fork and join", (
        workload("fib", "fib(24), a goroutine a call, 2 Ps", "go tokio java boost_fiber"),
        workload("nqueens", "10 queens, a goroutine for each of the first 4 rows' placements, 2 Ps",
                 "go tokio java boost_fiber std_thread"),
    )),
    "growth": Theme("Cost as work grows", (
        workload("parked_memory", "resident memory of a parked goroutine, a million of them", "go tokio java",
                 also=("parked_page_tables",)),
        workload("scale_parked", "N goroutines are spawned, park, are woken, end",
                 "go tokio java boost_fiber std_thread", grows=True),
        workload("scale_ready", "N goroutines are spawned, yield three times, end",
                 f"go tokio java boost_fiber {THREADS}", grows=True),
        workload("scale_sleeping", "N goroutines are spawned, sleep, end; less the sleep",
                 "go tokio java boost_fiber std_thread", grows=True),
    )),
    "floors": Theme("What the machine itself takes", (
        measured_of("linux", tuple(FLOORS)[0], "what no runtime can do without", also=tuple(FLOORS)[1:]),
    )),
}
ALL_WORKLOADS = [w for theme in THEMES.values() for w in theme.workloads]

# What --quick leaves out: idle threads are kept for longer than it could wait, and a million tasks, four times over,
# take some peers as long as many other workloads together.
NOT_QUICK_WORKLOADS = {"recovery"}
# (Java's two processors are pinned by two calls of 50 ms at a time.)
NOT_QUICK = {("skynet", "boost_fiber"), ("skynet", "java"), ("skynet", "tokio"), ("storm_100x50ms", "java")}


class Run(NamedTuple):
    """One process: `subject` is asked for `work`, and prints a figure for each name in `figures`."""

    subject: str
    work: str
    figures: tuple
    goroutines: int = None
    client: bool = False


def sizes_of(w, quick):
    return (QUICK_SIZES if quick else SIZES) if w.grows else (None,)


def turns(quick=False):
    """Lists of Runs. The Runs of a list take turns: the same workload by all its subjects."""
    for w in ALL_WORKLOADS:
        if quick and w.name in NOT_QUICK_WORKLOADS:
            continue
        for size in sizes_of(w, quick):
            yield [Run(subject, w.name, w.figures(size), size, w.client) for subject in w.subjects
                   if (size or 0) <= MOST_GOROUTINES.get(subject, SIZES[-1])
                   and not (quick and (w.name, subject) in NOT_QUICK)]


def all_figures():
    return [name for turn in turns() for name in turn[0].figures]


# ---- What is compared with what ------------------------------------------------------------------------------------

# Units of which more is better. The "calls" are those that a subject gets done.
HIGHER_IS_BETTER = {"%", "calls", "/s"}

# The units of what a process tells beside the value; what is not here has the value's. Numbers have none.
KEY_UNITS = {
    "blocking_calls": "calls", "pages_per_s": "/s", "spawn_blocking_pages_per_s": "/s", "cpu_us": "µs", "p99_us": "µs",
    "rss_before_mib": "MiB", "rss_peak_mib": "MiB", "rss_after_mib": "MiB", "threads": "", "pool_threads": "",
    "threads_before": "", "threads_peak": "", "threads_after": "", "cgo": "", "requests": "",
}


def unit_of(entry, key):
    return KEY_UNITS.get(key, entry["unit"])


def counterparts():
    """What a peer has in place of a workload that it does not have, by (work, peer). All of Go's blocking calls wait
    for its sysmon, all of Tokio's hand over at once. No peer has a guard to leave out."""
    ways = {"go": "sysmon", "tokio": "immediate"}
    result = {("handoff_unguarded", "go"): "handoff_sysmon"}
    for connections in (50, 500):
        result |= {(f"echo_blocking_unguarded_{connections}", peer): f"echo_blocking_{connections}" for peer in PEERS}
    for prefix in ("handoff", "handoff_cold", "handoff_parked", "handoff_warm"):
        for way in ("sysmon", "adaptive", "immediate"):
            result |= {(f"{prefix}_{way}", peer): f"{prefix}_{theirs}"
                       for peer, theirs in ways.items() if way != theirs}
    return result


COUNTERPARTS = counterparts()


def counterpart(name, peer):
    """The figure of `peer` that handoff's figure `name` is compared with."""
    return COUNTERPARTS.get((name, peer), name)


# ---- Goals ---------------------------------------------------------------------------------------------------------


BEST_PEER = "the best peer"


class Rival(NamedTuple):
    """Another subject in the same run. Handoff's figure is to be so many times better at least; below 1 that is how
    much worse it may be."""

    subject: str         # or BEST_PEER: whichever has the best of it
    times: float = 1
    key: str = "value"   # or what its process tells beside it


def at_most(times, subject, *keys):
    """So many times what the rival takes, of each of the keys; of the value if there are none."""
    return tuple(Rival(subject, 1 / times, key) for key in keys or ("value",))


def at_least(times, subject, *keys):
    """So many times what the rival has, where more is better."""
    return tuple(Rival(subject, times, key) for key in keys or ("value",))


def ahead_of(subject, *keys):
    return at_least(1, subject, *keys)


class Goal(NamedTuple):
    """At most so much, in the figure's unit; at least so many times better than Go; how far against other rivals."""

    most: float = None
    times_go: float = 1   # no workload is to be slower than Go's
    rivals: tuple = ()


# Who lets a server's sockets block has a thread for each connection, or Go.
ECHO = Goal(None, None, at_most(1.1, "std_thread", "value", "p99", "cpu_us") + ahead_of("go", "value", "p99"))
ECHO_UNGUARDED = Goal(None, 1, at_most(1.1, "std_thread") + at_most(2, "std_thread", "p999"))

GOALS = {
    "brackets": Goal(3, 4),
    "yield": Goal(15, 3.5),
    "spawn": Goal(25, 4.5),
    "chan_unbuffered": Goal(80, 3),
    "chan_buffered": Goal(15, 2),
    "select2": Goal(None, 2.5),
    "mutex_uncontended": Goal(None, 1, at_most(1.3, "std_mutex")),
    "skynet": Goal(150, 4),
    "sleep_100k": Goal(40, 2),
    "handoff_sysmon": Goal(25_000, 3),
    "handoff_immediate": Goal(4_000, 15),
    "handoff_adaptive": Goal(4_000, 15),
    "handoff_unguarded": Goal(120_000, None, ahead_of("go")),
    "blocking_storm": Goal(35, 12, at_most(1.05, BEST_PEER)),
    "blocking_storm_warm": Goal(12, 1, at_most(1.05, BEST_PEER)),
    "blocking_storm_busy": Goal(None, 12, at_most(1.05, BEST_PEER)),
    "storm_10000x100us": Goal(None, 1, at_most(1.3, "thread_pool") + ahead_of("tokio")),
    # The two belong together: who lets the blocked ones wait has more time to compute.
    "compute_beside_blocking": Goal(None, 1, at_least(0.95, "thread_pool", "value", "blocking_calls")),
    "echo_blocking_50": ECHO,
    "echo_blocking_500": ECHO,
    "echo_blocking_unguarded_50": ECHO_UNGUARDED,
    "echo_blocking_unguarded_500": ECHO_UNGUARDED,
    "file_reads": Goal(None, 1, at_most(1.1, "thread_pool")),
    # Go's stacks start at 2 KiB and are moved when they grow; a C++ stack can't be, and takes a page at least.
    "parked_memory": Goal(4_400, None),
    "parked_page_tables": Goal(None, None),
    "scale_sleeping_1": Goal(10_000),   # how late a single sleeper is
    "scale_sleeping_100000": Goal(None, 1, ahead_of("tokio")),
    "scale_sleeping_1000000": Goal(None, 1, ahead_of("tokio")),
}


def goal_of(name):
    """A scale_* figure's bytes are not its value; its value is a time, and has the common goal."""
    return GOALS.get(name, Goal())


# A further comparison with Go: the label, the key of handoff's figure, and Go's figure and key.
class Detail(NamedTuple):
    label: str
    work: str
    key: str
    go_work: str
    go_key: str


DETAILS = (
    Detail("brackets, both: the pair alone", "brackets", "value", "brackets", "bare"),
    Detail("brackets, both: around getppid", "brackets", "around_getppid", "brackets", "value"),
    Detail("handoff_sysmon, without pauses", "handoff_sysmon", "back_to_back", "handoff_sysmon", "back_to_back"),
    Detail("handoff_sysmon, p99", "handoff_sysmon", "p99", "handoff_sysmon", "p99"),
    Detail("handoff_adaptive, without pauses", "handoff_adaptive", "back_to_back", "handoff_sysmon", "back_to_back"),
    Detail("handoff_immediate, without pauses", "handoff_immediate", "back_to_back", "handoff_sysmon", "back_to_back"),
    Detail("echo, 50 connections: sockets that block, Go's net", "echo_blocking_50", "value", "echo_net_50", "value"),
    Detail("echo, 500 connections: the same", "echo_blocking_500", "value", "echo_net_500", "value"),
)
