/* Who may touch a P: the protocol at the head of src/sched/section.hpp, as built there, in section.cpp, retake.cpp and syscall.cpp.
 *
 * Ms run goroutines that enter the library, make calls (guarded; handed off at once; with callbacks into the library) and
 * compute: each process may rest anywhere for any time. The monitor tries to take Ps all the while. A P that was taken or
 * given goes to an idle M, the new owner, or to the idle list. A goroutine whose P is gone goes on without one, through
 * further calls, until it enters the library; one that enters it in a call is tied to its M until the call ends.
 *
 * Names. nextp is M::orders.p, acquirep put_on, releasep take_off, pidle and npidle the idle Ps and their count.
 *
 * Simplifications. The monitor tries any M for any P, at any time and for any reason that the state of section and call
 * allows; the code's choice is among these. One candidate a round. Clocks and predictions are choices. What is done
 * under idle_set::lock is one step; the only run queue is the global one. All that a P holds is one word, DATA, which each
 * owner reads and writes with plain accesses. M::call is counted, as in the code, but without M::calls. Calls do not nest.
 *
 * Checked: whoever touches a P owns it (`owner`) and sees the writes of all owners before; the monitor takes a P only from
 * who has it, and out of a call only if that has not ended (but where its goroutine was asked to yield: it leaves that
 * question open as its call ends, and the P may then be taken as out of that call, which only the statistics tell from out
 * of user code); a goroutine is on one M from the beginning of a call to its end, also where it used the library in between,
 * and tied no longer; when all is at rest every goroutine has ended, every P is idle, nobody is counted as computing.
 * -DLIVE: all goroutines end (weak fairness), though the monitor never tires of asking.
 *
 * Not here: that one that makes calls without a P for ever gives way where threads are short, since goroutines do OPS things
 * and end. The explorer's retake.few_threads is about that.
 *
 * Variants: -DFENCE: without membarrier. -DWEAK: see tso.pml. -DNP=2: two Ps. -DMUTANT_n: with a fault; the list is in
 * `run`.
 */
#ifndef NP
#define NP 1
#endif
#define NM 2
#ifndef NG
#define NG 1
#endif
#ifndef OPS
#define OPS 2               /* things that each goroutine does */
#endif

#define MONITOR NM          /* its number as an owner. No buffer: it stores by CAS, or before it takes the lock */

/* Places in memory. */
#define SECTION(m) (m)
#define CALL(m) (NM + (m))
#define TAKEN(m) (2 * NM + (m))
#define MP(m) (3 * NM + (m))            /* M::p; 0: null, else its number + 1 */
#define DATA(x) (4 * NM + (x))          /* of P x */
#define NVARS (4 * NM + NP)
#define NBUFFERS NM
#ifndef DEPTH
#define DEPTH 3
#endif
#include "tso.pml"

/* enum class retake */
#define none 0
#define asked 1
#define asked_to_yield 2
#define taken_call 3
#define taken_slice 4
#define taken_unguarded 5
#define taken_computing 6
#define given 7
#define away 8

/* Under idle_set::lock: sets, as bits. */
byte pidle, midle, globq;
byte nextp[NM];             /* M::orders.p, + 1 */

/* Of the goroutines. */
byte ops[NG];               /* left to do */
bool in_call[NG];           /* syscall_depth is 1 */
byte resume_at[NG];         /* where it goes on, in a section and with a P */
#define at_start 0          /* leave */
#define at_api 1            /* do what it called the library for, leave */
#define at_exit 2           /* of a call's end: mutants only */
#define at_end 3            /* of end_goroutine */
bool unguarded[NG];         /* of settle, after regain: how == taken_unguarded */
bool reopens[NG];           /* open_slowly has closed the bracket for a moment */
byte tied_to[NG];           /* G::locked and M::locked_g: by suspend_call; an M + 1 */
byte began_on[NG];          /* for the checks: the M, + 1, on which its present call began */
byte ended;

byte computing;             /* sched::computing */
bool starved;               /* sched::starved: a P with work has no M */
bool in_brackets[NM];       /* for the checks: what in_call is of its goroutine */

byte owner[NP];             /* for the checks: M or monitor, + 1; 0: idle */

#define BIT(x) (1 << (x))
#define ODD(x) ((x) & 1)

/* What an owner does with a P. It must be his, and what the owner before him wrote must be there. */
#define IN_BUFFER(b, where) \
    (sb[b].place[0] == (where) + 1 || sb[b].place[1] == (where) + 1 || sb[b].place[2] == (where) + 1)
#define CHECK_OWNER(b, x) \
    assert(owner[x] == b + 1); \
    assert(b == 0 || !IN_BUFFER(0, DATA(x))); \
    assert(b == 1 || !IN_BUFFER(1, DATA(x)))
/* Where a lock or a CAS follows, which empties the buffer, CHECK_OWNER is enough. */
inline touch(b, x) { atomic { HAS_ROOM(b) -> CHECK_OWNER(b, x); put_in_buffer(b, DATA(x), 1, false) } }

/* handover.cpp, startm: P x, taken under the lock, to the idle M m. */
inline give(x, m) {
    midle = midle & ~BIT(m);
    nextp[m] = x + 1;
    owner[x] = m + 1
}

/* handover.cpp, handoffp: P x, which is the caller's, to an idle M if there is something to do; there may be (a timer) even
 * if the queue is empty. */
inline handoffp(b, x) {
    atomic {
        CHECK_OWNER(b, x);
        if
        :: midle & BIT(0) -> give(x, 0)
        :: midle & BIT(1) -> give(x, 1)
        :: globq == 0 || midle == 0 ->
            pidle = pidle | BIT(x);
            owner[x] = 0;
            if :: globq != 0 -> starved = true :: else fi
        fi
    }
}

/* monitor.cpp, retry_starved: after a handoffp that found no M. */
#define STARVED(x, m) starved && (pidle & BIT(x)) && (midle & BIT(m))
proctype retry_starved() {
end:
    do
    :: atomic { STARVED(0, 0) -> starved = false; pidle = pidle & ~BIT(0); give(0, 0) }
    :: atomic { STARVED(0, 1) -> starved = false; pidle = pidle & ~BIT(0); give(0, 1) }
#if NP == 2
    :: atomic { STARVED(1, 0) -> starved = false; pidle = pidle & ~BIT(1); give(1, 0) }
    :: atomic { STARVED(1, 1) -> starved = false; pidle = pidle & ~BIT(1); give(1, 1) }
#endif
    od
}

/* handover.cpp, put_on. */
inline acquirep() { atomic { HAS_ROOM(me) -> CHECK_OWNER(me, p - 1); put_in_buffer(me, MP(me), p, false) } }

/* section.hpp and syscall.cpp: the M's next value of section or call becomes visible some time later, or (the last) at once. */
inline next_section() { atomic { HAS_ROOM(me) -> section++; put_in_buffer(me, SECTION(me), section, false) } }
inline next_section_release() { atomic { HAS_ROOM(me) -> section++; put_in_buffer(me, SECTION(me), section, true) } }
#define next_call_value() call++; put_in_buffer(me, CALL(me), call, false)
inline next_call() { atomic { HAS_ROOM(me) -> next_call_value() } }
inline next_call_release() { atomic { HAS_ROOM(me) -> call++; put_in_buffer(me, CALL(me), call, true) } }
inline exchange_section() { atomic { EMPTY(me) -> section++; mem[SECTION(me)] = section } }
inline exchange_call() { atomic { EMPTY(me) -> call++; mem[CALL(me)] = call } }

/* syscall.cpp, open_bracket. */
inline open_bracket() {
    atomic { in_call[g] = true; in_brackets[me] = true; began_on[g] = me + 1 };
    next_call_release()
}

/* section.cpp, answer_retake. */
inline answer_retake() {
    how = SEEN(me, TAKEN(me));
    do
    :: atomic { how == asked || how == asked_to_yield ->
#ifdef MUTANT_8
        HAS_ROOM(me) ->
        put_in_buffer(me, TAKEN(me), none, false);
        if :: how == asked -> how = none :: else fi;
        break
#elif defined(MUTANT_16)
        how = SEEN(me, TAKEN(me))
#else
        EMPTY(me) ->
        if
        :: mem[TAKEN(me)] == how ->
            mem[TAKEN(me)] = none;
            if :: how == asked -> how = none :: else fi;
            break
        :: else -> how = mem[TAKEN(me)]
        fi
#endif
        }
    :: how == none || how >= taken_call -> break
    od
}

/* compute_limit.cpp, end: under the lock. */
inline end_of_computing() { atomic { EMPTY(me) -> assert(computing > 0); computing-- } }

/* handover.cpp, take_idle_p, under the lock: the old P if it is idle, else any. */
inline take_idle_p() {
    if
    :: pidle & BIT(p - 1) -> skip
    :: else ->
        if
        :: pidle & BIT(0) -> p = 1
#if NP == 2
        :: pidle & BIT(1) -> p = 2
#endif
        fi
    fi;
    pidle = pidle & ~BIT(p - 1);
    assert(owner[p - 1] == 0);
    owner[p - 1] = me + 1
}

#define IS_TIED_ELSEWHERE(g) (tied_to[g] != 0 && tied_to[g] != me + 1)

proctype machine(byte me; byte p; byte g) {
    byte section = 1, call = 0, how = none;   /* the first two as in memory: nobody else writes them */
    bool gives_way_first = false;

    if
    :: p != 0 -> mem[MP(me)] = p; goto in_section
    :: else -> goto stopm
    fi;

    /* ---- schedule.cpp: g0, in a section ---- */

find_runnable:
    atomic {
        EMPTY(me) ->
        CHECK_OWNER(me, p - 1);
        if
        :: globq & BIT(0) -> g = 0; globq = globq & ~BIT(0)
#if NG == 2
        :: globq & BIT(1) -> g = 1; globq = globq & ~BIT(1)
#endif
        :: globq == 0 ->                    /* releasep, put_idle_p */
            owner[p - 1] = 0;
            pidle = pidle | BIT(p - 1);
            mem[MP(me)] = 0;
            p = 0;
            g = 0;
            goto stopm
        fi;
        /* execute */
        if
#ifndef MUTANT_21
        :: IS_TIED_ELSEWHERE(g) ->          /* start_locked_m */
            mem[MP(me)] = 0;
            nextp[tied_to[g] - 1] = p;
            owner[p - 1] = tied_to[g];
            p = 0;
            g = 0;
            goto stopm
#endif
        :: else -> goto in_section
        fi
    };

    /* handover.cpp, stop_locked_m: an M with a tied goroutine, which is queued, and perhaps with a P */
stop_locked_m:
    if
    :: p != 0 ->
        atomic { EMPTY(me) -> mem[MP(me)] = 0 };
        handoffp(me, p - 1);
        p = 0
    :: else
    fi;
end_tied:
    atomic { nextp[me] != 0 -> p = nextp[me]; nextp[me] = 0 };
    acquirep();
    goto in_section;

    /* handover.cpp, stopm */
stopm:
    atomic { EMPTY(me) -> midle = midle | BIT(me) };
end:
    atomic { nextp[me] != 0 -> p = nextp[me]; nextp[me] = 0 };
    acquirep();
    goto find_runnable;

    /* ---- a goroutine, in a section and with a P ---- */

in_section:
    atomic {
        assert(!IS_TIED_ELSEWHERE(g));
        if
        :: unguarded[g] -> unguarded[g] = false; goto leave     /* settle: the program's callback */
        :: !unguarded[g] && resume_at[g] == at_start -> goto leave
        :: !unguarded[g] && resume_at[g] == at_api -> touch(me, p - 1); resume_at[g] = at_start; goto leave
        :: !unguarded[g] && resume_at[g] == at_exit -> resume_at[g] = at_start; assert(began_on[g] == me + 1); in_call[g] = false; began_on[g] = 0; goto leave
        :: !unguarded[g] && resume_at[g] == at_end -> touch(me, p - 1); resume_at[g] = at_start; ended++; goto find_runnable
        fi
    };

    /* section.hpp, leave */
leave:
    in_brackets[me] = in_call[g];
    if :: in_call[g] -> next_call() :: else fi;
#ifdef MUTANT_13
    next_section();
#else
    next_section_release();
#endif

    /* ---- user code ---- */

user:

    atomic {
        assert(in_call[g] || tied_to[g] == 0);
        if
        :: resume_at[g] != at_start -> goto enter       /* settle: the callback is over */
        :: resume_at[g] == at_start && reopens[g] -> goto reopen
        :: resume_at[g] == at_start && in_call[g] -> goto exitsyscall
        :: resume_at[g] == at_start && ops[g] > 0 ->    /* in a call, too: a callback */
            ops[g]--; resume_at[g] = at_api; goto enter
        :: resume_at[g] == at_start && ops[g] > 0 && !in_call[g] && !reopens[g] -> ops[g]--; goto entersyscall
        :: resume_at[g] == at_start && ops[g] > 0 && !in_call[g] && !reopens[g] -> ops[g]--; goto entersyscallblock
        :: resume_at[g] == at_start && ops[g] == 0 && !in_call[g] && !reopens[g] -> resume_at[g] = at_end; goto enter
        fi
    };
    /* section.hpp, enter */
enter:
    if
    :: ODD(call) ->                         /* suspend_call */
        next_call();
#ifndef MUTANT_20
        tied_to[g] = me + 1
#endif
    :: else
    fi;
#ifdef MUTANT_5
    how = SEEN(me, TAKEN(me));
#endif
#if defined(FENCE) && !defined(MUTANT_6)
    exchange_section();
#else
    next_section();
#endif
#ifdef MUTANT_4
    goto in_section;
#endif
    atomic {
#ifndef MUTANT_5
        how = SEEN(me, TAKEN(me));
#endif
        if
        :: how == none -> goto in_section
        :: how != none -> skip
        fi
    };

    /* section.cpp, enter_slow */
    answer_retake();
    if
    :: how == asked_to_yield -> goto give_way
    :: how == none -> goto in_section
#ifdef MUTANT_19
    :: how == away -> goto in_section
#endif
    :: how >= taken_call -> goto settle
    fi;

    /* schedule.cpp, give_way: behind the others, if there are any. */
give_way:
    atomic {
        EMPTY(me) ->
        how = none;
        CHECK_OWNER(me, p - 1);
        if
        :: globq != 0 && tied_to[g] == 0 -> globq = globq | BIT(g); goto find_runnable
        :: globq != 0 && tied_to[g] != 0 -> globq = globq | BIT(g); goto stop_locked_m
        :: globq == 0 -> goto in_section
        fi
    };

    /* ---- syscall.cpp ---- */

settle:
    atomic {
        HAS_ROOM(me) ->
        if
        :: how == taken_unguarded && ops[g] > 0 -> ops[g]--; unguarded[g] = true    /* else nobody is to be told */
        :: else
        fi;
        p = SEEN(me, MP(me));               /* old */
        put_in_buffer(me, MP(me), 0, false);
        in_brackets[me] = false
    };
    store_release(me, TAKEN(me), none);
    if :: how == taken_computing -> end_of_computing() :: else fi;
    how = none;

    /* regain */
    if
    :: pidle != 0 && !starved ->            /* npidle, without the lock */
        atomic {
            EMPTY(me) ->
            if
            :: pidle != 0 -> take_idle_p(); goto regained
            :: else
            fi
        }
    :: else
    fi;
    /* commit_exit */
    atomic {
        EMPTY(me) ->
        if
#ifndef MUTANT_10
        :: pidle != 0 ->
            take_idle_p();
            if
            :: tied_to[g] == 0 && !starved -> goto regained
            :: else -> globq = globq | BIT(g)       /* its P is for whoever comes first */
            fi
#endif
        :: else ->
            globq = globq | BIT(g);
            p = 0;
            if
            :: tied_to[g] == 0 -> g = 0; goto stopm
            :: else -> goto stop_locked_m
            fi
        fi
    };
    acquirep();
    if
    :: tied_to[g] == 0 -> goto find_runnable
    :: else -> goto stop_locked_m
    fi;
regained:
    acquirep();
    goto in_section;

    /* entersyscall, the guard having learnt nothing, or for handoff_policy::sysmon */
entersyscall:
    open_bracket();
    if
    :: SEEN(me, TAKEN(me)) != none -> goto open_slowly
    :: else -> goto user
    fi;

    /* entersyscallblock, and entersyscall once it has learnt: hand_off_before_call */
entersyscallblock:
    open_bracket();
    if :: SEEN(me, TAKEN(me)) >= taken_call -> goto open_slowly :: else fi;
    exchange_section();
    how = SEEN(me, TAKEN(me));
#ifdef MUTANT_11
    how = none;
#endif
    if :: how != none -> answer_retake() :: else fi;
    if
    :: how >= taken_call ->
#ifndef MUTANT_25
        next_section_release();
#endif
        goto open_slowly
    :: how < taken_call -> skip
    fi;
#ifndef MUTANT_9
    store(me, TAKEN(me), given);
#endif
    EMPTY(me);                              /* handoffp takes the lock */
    handoffp(me, p - 1);
    how = none;
    next_section_release();
    goto user;

open_slowly:
    atomic {
        how = SEEN(me, TAKEN(me));
        gives_way_first = how == asked_to_yield || (how >= taken_call && starved)
    };
    if
    :: how == taken_computing ->
        end_of_computing();
#ifndef MUTANT_23
        store(me, TAKEN(me), away)
#endif
    :: else
    fi;
    if :: !gives_way_first && how != taken_unguarded -> how = none; goto user :: else fi;
    atomic { HAS_ROOM(me) -> next_call_value(); in_call[g] = false; in_brackets[me] = false; began_on[g] = 0 };
    reopens[g] = true;
    if :: how == taken_unguarded -> store(me, TAKEN(me), away) :: else fi;
    how = none;
    if
    :: gives_way_first -> gives_way_first = false; goto enter
    :: else -> goto user                    /* the program's callback, which may use the library */
    fi;
reopen:
    reopens[g] = false;
    open_bracket();
    goto user;

exitsyscall:
#ifndef MUTANT_24
    tied_to[g] = 0;                         /* outermost_ends */
#endif
#if defined(FENCE) && !defined(MUTANT_7)
    exchange_call();
#else
    next_call();
#endif
    atomic {
        how = SEEN(me, TAKEN(me));
#ifdef MUTANT_12
        how = none;
#endif
        if
        :: how == none || how == asked_to_yield -> goto returned
        :: else -> skip
        fi
    };

    /* exit_slow */
    do
    :: atomic { how == asked && EMPTY(me) ->
        if
        :: mem[TAKEN(me)] == asked -> mem[TAKEN(me)] = none; goto returned
        :: else -> how = mem[TAKEN(me)]
        fi
        }
    :: how != asked -> break
    od;
    if :: how < taken_call -> goto returned :: else fi;
    /* back_without */
#ifdef MUTANT_26
    next_section();
    resume_at[g] = at_exit;
    goto settle;
#endif
    if
    :: how == away || how == taken_unguarded -> goto returned
    :: else
    fi;
#ifndef MUTANT_22
    if :: how == taken_computing -> end_of_computing() :: else fi;
#endif
    store(me, TAKEN(me), away);
returned:
    atomic {
        assert(began_on[g] == me + 1);
#ifdef MUTANT_27
        if :: how == asked_to_yield -> goto give_way_at_exit :: else fi;
#endif
        how = none;
        began_on[g] = 0;
        in_call[g] = false;
        in_brackets[me] = false;
        goto user
    };
#ifdef MUTANT_27
give_way_at_exit:
    next_section();
    resume_at[g] = at_exit;
    answer_retake();
    if
    :: how == asked_to_yield -> goto give_way
    :: how == none -> goto in_section
    :: how >= taken_call -> goto settle
    fi
#endif
}

/* retake.cpp, retake_ps, and what monitor_round.cpp does around it. It may stop after any round: nobody may depend on it. */
proctype monitor() {
    byte m, x, section, call, ask, as;      /* the candidate */
    bool slice_is_over;
next:
    atomic {
        m = 0; x = 0; section = 0; call = 0; ask = 0; as = 0; slice_is_over = false;
        if
#ifndef LIVE
        :: goto stops
#endif
        :: ended == NG -> goto stops
        :: ended != NG -> m = 0
        :: ended != NG -> m = 1
        fi;
#if NP == 2
        if :: x = 0 :: x = 1 fi;
#endif
        /* monitor_round.cpp, look_at */
        call = mem[CALL(m)]
    };
    atomic {
        section = mem[SECTION(m)];
        if
        :: as = taken_slice; slice_is_over = true
        :: !ODD(section) && ODD(call) -> as = taken_call
        :: !ODD(section) && !ODD(call) -> as = taken_unguarded
        :: !ODD(section) && !ODD(call) -> as = taken_computing
        :: !ODD(section) && !ODD(call) -> as = taken_computing; slice_is_over = true
        fi;
        if
        :: slice_is_over -> section = 0; call = 0; ask = asked_to_yield
        :: !slice_is_over -> ask = asked
        fi
    };
    /* retake_ps, the first loop */
#ifndef MUTANT_15
    atomic {
        if
        :: mem[TAKEN(m)] == none -> mem[TAKEN(m)] = ask
        :: mem[TAKEN(m)] == asked_to_yield -> ask = asked_to_yield
#ifdef MUTANT_18
        :: mem[TAKEN(m)] == away -> mem[TAKEN(m)] = ask
#endif
        :: else -> goto next
        fi
    };
#endif
#if !defined(FENCE) && !defined(MUTANT_1)
    empty_buffer(0);                        /* os::membarrier_all */
    empty_buffer(1);
#endif
    /* the second loop */
#ifndef MUTANT_2
    if
    :: atomic { ODD(mem[SECTION(m)]) || (!slice_is_over && mem[SECTION(m)] != section) -> goto give_up }
    :: else
    fi;
#endif
    if
    :: atomic { !slice_is_over && mem[CALL(m)] != call -> goto give_up }
    :: else
    fi;
#ifndef MUTANT_17
    if
    :: atomic { mem[MP(m)] != x + 1 -> goto give_up }
    :: else
    fi;
#endif
    atomic {
        assert(as != taken_unguarded || mem[TAKEN(m)] != taken_unguarded);   /* M::unguarded_since is ours to write */
        if
#ifdef MUTANT_3
        :: true ->
#elif defined(MUTANT_15)
        :: mem[TAKEN(m)] == none ->
#else
        :: mem[TAKEN(m)] == ask ->
#endif
            mem[TAKEN(m)] = as;
            assert(owner[x] == m + 1);
            assert(as != taken_call || in_brackets[m] || ask == asked_to_yield);
            owner[x] = MONITOR + 1;
            if :: as == taken_computing -> computing++ :: else fi   /* begin_computing */
#ifndef MUTANT_3
        :: else -> goto next
#endif
        fi
    };
    handoffp(MONITOR, x);                   /* and P::status, P::m */
    goto next;
give_up:
    if
    :: ask == asked ->
        atomic {
            if :: mem[TAKEN(m)] == asked -> mem[TAKEN(m)] = none :: else fi
        }
    :: ask != asked
    fi;
    goto next;
stops:
    skip
}

/* When nothing moves any more. */
proctype at_rest() {
    timeout ->
    assert(ended == NG);                            /* no goroutine is lost */
    assert(pidle == (1 << NP) - 1);                 /* no P is lost */
    assert(globq == 0);
    assert(midle == (1 << NM) - 1);
    assert(computing == 0);
    assert(tied_to[0] == 0)
}

#ifdef LIVE
ltl all_end { <> (ended == NG) }
#endif

init {
    byte i;
    atomic {
        for (i : 0 .. NM - 1) { mem[SECTION(i)] = 1 }
        ops[0] = OPS;                            /* a second one only ends */
#if NG == 2
        globq = BIT(1);
#endif
        owner[0] = 1;
#if NP == 2
        pidle = BIT(1);
#endif
        run machine(0, 1, 0);
        run machine(1, 0, 0);
        run monitor();
        run retry_starved();
        for (i : 0 .. NBUFFERS - 1) { run memory(i) }
        run at_rest();
        i = 0
    }
}
