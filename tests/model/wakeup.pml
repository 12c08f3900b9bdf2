/* No lost wake-up: the argument at the head of src/sched/idle_set.hpp, as built in schedule.cpp (find_runnable, execute),
 * handover.cpp (wakep_any, startm, handoffp, stopm), section.cpp (regain, commit_exit) and monitor.cpp (retry_starved).
 *
 * Ms run goroutines, each of which, whenever it runs, may spawn another (local queue), make a call (its P is handed off,
 * and it comes back for one), end, or compute for ever. Threads outside of the runtime submit to the global queue.
 *
 * Simplifications. Goroutines are counted, not named. A local queue is head and tail; `next` is part of it; a thief takes
 * one. A look at a queue that finds something and the CAS that takes it are one step, as a CAS that fails looks again.
 * M::park is nextp. There are NM threads and max_threads is NM, so that startm may find none.
 *
 * Names. npidle is idle_set::ps(), nmspinning idle_set::spinning(), nextp M::orders.p.
 *
 * A section under idle_set::lock is one step, in which it looks and puts its stores into the buffer, the lock's release
 * last; the next one can't begin before that has come to memory. Who reads npidle or the global queue's size without the
 * lock may see them late. A relaxed read-modify-write of nmspinning orders nothing else, as on AArch64: it does not wait
 * for the buffer. The monitor and the submitters have no buffer: they store nothing but under the lock, and after that
 * they load nothing but under it or after a fence, so that a late store is as good as a late section.
 *
 * Checked: when all is at rest but for goroutines that compute for ever, no goroutine waits in a queue while a P and an
 * M are idle; none was lost or run twice.
 *
 * Variants: -DWEAK: see tso.pml. NP, NM, SUBMITTERS, SPAWNS, CALLS: how many there are. -DMUTANT_n: with a fault; the
 * list is in `run`.
 */
#ifndef NP
#define NP 2
#endif
#ifndef NM
#define NM 2
#endif
#ifndef SUBMITTERS
#define SUBMITTERS 2
#endif
#ifndef SPAWNS
#define SPAWNS 1
#endif
#ifndef CALLS
#define CALLS 0
#endif
#ifndef RUNNING
#define RUNNING 1           /* Ms that have a P and a goroutine to begin with */
#endif

/* Places in memory. */
#define TAIL(x) (x)                     /* of P x's queue: stored by its owner */
#define NPIDLE (NP)
#define GLOBQ (NP + 1)                  /* the size */
#define LOCK (NP + 2)
#define NVARS (NP + 3)
#define MONITOR NM
#define SUBMITTER NM + 1
#define NBUFFERS NM + 2                 /* the last two of which stay empty */
#define DEPTH 4
#include "tso.pml"

byte head[NP];              /* moved by CAS alone */
byte nmspinning;            /* changed by read-modify-writes alone */
bool starved;               /* likewise */

byte pidle, midle;          /* under the lock: sets, as bits */
byte nextp[NM];             /* M::nextp, + 1 */
bool spinning[NM];          /* M::spinning: set by who wakes it, then its own */

byte spawns = SPAWNS, calls = CALLS;
byte unborn = SPAWNS + SUBMITTERS, running = RUNNING, ended;   /* for the checks */

#define BIT(x) (1 << (x))
#define MAY_LOCK(b) (EMPTY(b) && mem[LOCK] == 0)
/* The end of a section under the lock. Its beginning is the MAY_LOCK that an atomic waits for; the lock word itself is
 * set here, which nobody can tell. */
inline unlock(b) { if :: b < NM -> mem[LOCK] = 1; put_in_buffer(b, LOCK, 0, true) :: else fi }
inline set_npidle(b, n) { if :: b < NM -> put_in_buffer(b, NPIDLE, n, false) :: else -> mem[NPIDLE] = n fi }
inline set_globq(b, n) { if :: b < NM -> put_in_buffer(b, GLOBQ, n, false) :: else -> mem[GLOBQ] = n fi }

/* handover.cpp, put_idle_p and take_idle_p. Under the lock, where all know the true npidle. */
inline put_idle_p(b, x) { pidle = pidle | BIT(x); set_npidle(b, mem[NPIDLE] + 1) }
inline take_idle_p(b, preferred, got) {
    if
    :: pidle == 0 -> got = 0
    :: preferred != 0 && (pidle & BIT(preferred - 1)) -> got = preferred
    :: else -> if :: pidle & BIT(0) -> got = 1 :: pidle & BIT(1) -> got = 2 fi
    fi;
    if
    :: got != 0 -> pidle = pidle & ~BIT(got - 1); set_npidle(b, mem[NPIDLE] - 1)
    :: else
    fi
}

/* idle_set.cpp, take_m, and m.hpp, wake_as. */
inline wake(m, x, spins) { midle = midle & ~BIT(m); nextp[m] = x; spinning[m] = spins }
inline wake_an_idle_m(x, spins) {
    if
    :: midle & BIT(0) -> wake(0, x, spins)
    :: midle & BIT(1) -> wake(1, x, spins)
#if NM == 3
    :: midle & BIT(2) -> wake(2, x, spins)
#endif
    fi
}

/* handover.cpp, startm: P x - 1. */
inline startm(b, x, spins) {
    if
    :: atomic { MAY_LOCK(b) && midle != 0 -> wake_an_idle_m(x, spins); unlock(b) }
    :: atomic { MAY_LOCK(b) && midle == 0 -> skip };         /* nor a new one */
        if :: spins -> nmspinning-- :: else fi;
#ifdef MUTANT_10
        starved = true;
        atomic { MAY_LOCK(b) -> put_idle_p(b, x - 1); unlock(b) }
#else
        atomic { MAY_LOCK(b) -> put_idle_p(b, x - 1); starved = true; unlock(b) }
#endif
    fi;
    x = 0
}

/* handover.cpp, wakep_any. */
inline wakep_any(b, got) {
#ifndef MUTANT_1
    full_fence(b);
#endif
    if
    :: SEEN(b, NPIDLE) != 0 ->
        if
        :: nmspinning == 0 ->
            if
            :: atomic { nmspinning == 0 -> nmspinning = 1 };
                atomic {
                    MAY_LOCK(b) ->
                    take_idle_p(b, 0, got);
#ifndef MUTANT_9
                    if :: got == 0 -> nmspinning-- :: else fi;
#endif
                    unlock(b)
                };
                if
                :: got != 0 -> startm(b, got, true)
                :: else ->
#ifdef MUTANT_9
                    nmspinning--
#endif
                fi
            :: nmspinning != 0
            fi
        :: nmspinning != 0
        fi
    :: SEEN(b, NPIDLE) == 0
    fi
}

/* handover.cpp, work_anywhere: looks one after the other. */
#define RUNQ_SEEN(b, x) (SEEN(b, TAIL(x)) != head[x])
inline work_anywhere(b, found) {
    found = SEEN(b, GLOBQ) != 0;
    found = found || RUNQ_SEEN(b, 0);
    found = found || RUNQ_SEEN(b, 1)
}

/* handover.cpp, handoffp: P x - 1, which is the caller's. */
inline handoffp(b, x, found, got) {
    if
    :: RUNQ_SEEN(b, x - 1) || SEEN(b, GLOBQ) != 0 -> startm(b, x, false)
    :: else ->
        atomic { MAY_LOCK(b) -> put_idle_p(b, x - 1); unlock(b); x = 0 };
        full_fence(b);
        work_anywhere(b, found);
        if :: found -> wakep_any(b, got) :: else fi;
        found = false
    fi
}

proctype machine(byte me; byte p) {
    byte old, got;
    bool found;

    if
    :: p != 0 -> goto runs
    :: else -> goto stopm
    fi;

find_runnable:
    /* pick: the own queue */
    if
    :: atomic { SEEN(me, TAIL(p - 1)) != head[p - 1] && EMPTY(me) -> head[p - 1]++; running++; goto execute }
    :: SEEN(me, TAIL(p - 1)) == head[p - 1]
    fi;
    /* take_global_locked */
    if
    :: SEEN(me, GLOBQ) != 0 ->
        atomic {
            MAY_LOCK(me) ->
            if
            :: mem[GLOBQ] != 0 -> set_globq(me, mem[GLOBQ] - 1); unlock(me); running++; goto execute
            :: else
            fi
        }
    :: SEEN(me, GLOBQ) == 0
    fi;
    if
    :: atomic { !spinning[me] && 2 * nmspinning < NP - SEEN(me, NPIDLE) -> spinning[me] = true; nmspinning++ }
    :: spinning[me] || 2 * nmspinning >= NP - SEEN(me, NPIDLE)
    fi;
    /* steal_work: from the other P */
    if
    :: spinning[me] ->
        if
        :: atomic { RUNQ_SEEN(me, 2 - p) && EMPTY(me) -> head[2 - p]++; running++; goto execute }
        :: !RUNQ_SEEN(me, 2 - p)
        fi
    :: else
    fi;
    /* the last look, and releasep */
    atomic {
        MAY_LOCK(me) ->
        if
        :: mem[GLOBQ] != 0 -> set_globq(me, mem[GLOBQ] - 1); unlock(me); running++; goto execute
        :: else -> put_idle_p(me, p - 1); old = p; p = 0; unlock(me)
        fi
    };
#ifndef MUTANT_4
    atomic { if :: spinning[me] -> spinning[me] = false; nmspinning-- :: else fi };
#endif
#ifndef MUTANT_2
    full_fence(me);
#endif
#ifndef MUTANT_3
    work_anywhere(me, found);
#endif
#ifdef MUTANT_4
    atomic { if :: spinning[me] -> spinning[me] = false; nmspinning-- :: else fi };
#endif
    if
    :: atomic { found -> found = false };
        atomic {
            MAY_LOCK(me) ->
            take_idle_p(me, old, p);
            old = 0;
            unlock(me);
            if :: p == 0 -> goto stopm :: else fi
        };
        atomic { spinning[me] = true; nmspinning++ };
        goto find_runnable
    :: atomic { !found -> old = 0 }
    fi;

stopm:
    atomic { MAY_LOCK(me) -> midle = midle | BIT(me); unlock(me) };
end_asleep:
    atomic { nextp[me] != 0 -> p = nextp[me]; nextp[me] = 0; goto find_runnable };

execute:
    if
#ifdef MUTANT_11
    :: spinning[me] -> full_fence(me); work_anywhere(me, found); atomic { spinning[me] = false; nmspinning-- };
#else
    :: atomic { spinning[me] -> spinning[me] = false; nmspinning-- };
        full_fence(me);
        work_anywhere(me, found);
#endif
#ifndef MUTANT_5
        if :: found -> found = false; wakep_any(me, got) :: else fi
#else
        found = false
#endif
    :: !spinning[me]
    fi;

    /* a goroutine runs */
runs:
    if
    :: atomic { true -> ended++; running--; goto find_runnable }
    :: goto computes
    :: atomic { spawns > 0 && HAS_ROOM(me) ->               /* put_local */
           spawns--;
           unborn--;
           got = SEEN(me, TAIL(p - 1)) + 1;
           put_in_buffer(me, TAIL(p - 1), got, true);
           got = 0 };
        wakep_any(me, got);
        goto runs
    :: atomic { calls > 0 -> calls--; old = p }             /* hand_off_before_call */
    fi;
    handoffp(me, p, found, got);
    /* the call is over: regain */
    if
    :: SEEN(me, NPIDLE) != 0 ->
        atomic { MAY_LOCK(me) -> take_idle_p(me, old, p); unlock(me); if :: p != 0 -> old = 0; goto runs :: else fi }
    :: SEEN(me, NPIDLE) == 0
    fi;
    /* commit_exit */
    atomic {
        MAY_LOCK(me) ->
#ifdef MUTANT_7
        p = 0;
#else
        take_idle_p(me, old, p);
#endif
        old = 0;
        if
        :: p != 0 -> unlock(me); goto runs
        :: else -> running--; set_globq(me, mem[GLOBQ] + 1); unlock(me); goto stopm
        fi
    };

computes:
end_computes:
    false
}

/* schedule.cpp, ready_outside. */
proctype submitter(byte b) {
    byte got;
    atomic { MAY_LOCK(b) -> set_globq(b, mem[GLOBQ] + 1); unborn--; unlock(b) };    /* put_global */
    wakep_any(b, got)
}

/* monitor.cpp, retry_starved. */
proctype monitor() {
    byte got;
    bool found;
end:
    do
    :: starved ->
        starved = false;
        atomic { MAY_LOCK(MONITOR) -> unlock(MONITOR) };        /* for the stackless */
        work_anywhere(MONITOR, found);
        if :: found -> wakep_any(MONITOR, got) :: else fi;
        found = false
    od
}

#define QUEUED (mem[GLOBQ] + mem[TAIL(0)] - head[0] + mem[TAIL(1)] - head[1])
proctype at_rest() {
    timeout ->
    assert(QUEUED == 0 || pidle == 0 || midle == 0);
    assert(QUEUED + running + ended + unborn == RUNNING + SPAWNS + SUBMITTERS);
    assert(nmspinning == 0)
}

init {
    byte i;
    atomic {
        for (i : 0 .. NM - 1) {
            if
            :: i < RUNNING -> run machine(i, i + 1)
            :: else -> run machine(i, 0)
            fi
        }
        for (i : RUNNING .. NP - 1) { pidle = pidle | BIT(i) }
        mem[NPIDLE] = NP - RUNNING;
        for (i : 1 .. SUBMITTERS) { run submitter(SUBMITTER) }
        run monitor();
        for (i : 0 .. NM - 1) { run memory(i) }
        run at_rest();
        i = 0
    }
}
