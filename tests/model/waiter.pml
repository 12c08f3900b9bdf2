/* The thread that sleeps in epoll, and how it is woken: the argument at the head of src/sched/poller.hpp, as built in
 * handover.cpp (stopm), idle_set.hpp (becomes_waiter, waiter_leaves), poller.cpp (wait) and os/note.cpp.
 *
 * Idle threads go to sleep, each in its turn as the waiter, if there is none, else on a futex. Wakers take a thread out of
 * the idle set, and wake it: by its word, and if that says so by the eventfd, which may come late. Events come from outside.
 *
 * Simplifications. A futex's wake-up is part of the step that sets the word. A thread that has slept does not come back to
 * the processor: it goes to sleep again, until it has been taken ROUNDS times.
 *
 * Checked: every thread that was taken wakes, none sleeps for ever; there is one thread
 * in epoll at most.
 *
 * Variants: THREADS, ROUNDS, EVENTS: how many. -DMUTANT_n: with a fault; the list is in `run`.
 */
#ifndef THREADS
#define THREADS 2
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef EVENTS
#define EVENTS 1
#endif

#define CLEAR 0
#define SIGNALLED 1
#define ASLEEP 2
#define POLLS 3

byte word[THREADS];             /* os::note */
byte idle;                      /* the idle set, as bits */
byte waiter;                    /* a thread's number + 1; 0: none */
bool eventfd;                   /* readable */
byte inside;                    /* threads in epoll */
byte events;                    /* that the kernel has to tell */
byte to_take = THREADS * ROUNDS, finished;

#define BIT(x) (1 << (x))

proctype thread(byte me) {
    byte taken;
    bool polls, woken;
    do
    :: taken == ROUNDS -> break
    :: else ->
        atomic {                /* stopm: the idle set's lock */
            polls = waiter == 0;
            if :: polls -> waiter = me + 1 :: else fi;
            idle = idle | BIT(me)
        };
        woken = false;
        do
        :: woken -> break
        :: !woken && polls ->
            /* begin_poll */
            if
            :: atomic { word[me] == SIGNALLED -> word[me] = CLEAR; woken = true }
            :: atomic { word[me] == CLEAR -> word[me] = POLLS };
                atomic { inside++; assert(inside == 1) };
                atomic {        /* epoll_pwait2 */
                    (eventfd || events != 0) ->
                    inside--;
                    if
                    :: eventfd -> eventfd = false
                    :: !eventfd -> events--      /* an event: it has work only if it is taken, so it waits on */
                    fi
                };
                /* end_poll */
#ifdef MUTANT_2
                atomic { woken = false; word[me] = CLEAR }
#else
                atomic { woken = word[me] == SIGNALLED; word[me] = CLEAR }
#endif
            fi
        :: !woken && !polls ->
            if
            :: atomic { word[me] == CLEAR -> word[me] = ASLEEP }; word[me] == SIGNALLED
            :: word[me] == SIGNALLED
            fi;
            atomic { word[me] = CLEAR; woken = true }
        od;
#ifndef MUTANT_1
        if :: polls -> waiter = 0 :: else fi;
#endif
        taken++
    od;
    finished++
}

proctype waker() {
    byte who;
    bool signals;
    do
    :: atomic { to_take == 0 -> break }
    :: atomic {                 /* take_m, under the lock */
            to_take != 0 && idle != 0 ->
            if
            :: idle & BIT(0) -> who = 0
#if THREADS > 1
            :: idle & BIT(1) -> who = 1
#endif
#if THREADS > 2
            :: idle & BIT(2) -> who = 2
#endif
            fi;
            to_take--;
            idle = idle & ~BIT(who)
#ifdef MUTANT_1
            ; if :: waiter == who + 1 -> waiter = 0 :: else fi
#endif
        };
        atomic { signals = word[who] == POLLS; word[who] = SIGNALLED };
#ifdef MUTANT_3
        skip
#else
        if :: signals -> eventfd = true :: else fi
#endif
    od
}

proctype outside() {
    byte n;
    for (n : 1 .. EVENTS) { events++ }
}

init {
    atomic {
        byte i;
        for (i : 0 .. THREADS - 1) { run thread(i) }
        run waker();
        run waker();
        run outside()
    };
    timeout;                    /* nobody can go on */
    assert(finished == THREADS)
}
