/* A processor that is alone: the head of src/sched/runq.hpp. While `alone` is set the owner takes without CAS and thieves
 * keep away; the owner clears it, between two of its operations, once it sees that there are other Ps.
 *
 * The owner puts goroutines into the ring and into `next`, and takes them; a second P is made meanwhile (set_procs), whose
 * M steals from the first. The ring is as long as there are goroutines. A thief takes the older half.
 *
 * Checked: nothing is taken twice, nothing but what was put, and at the end all was taken.
 *
 * Variants: -DWEAK: see tso.pml. -DMUTANT_n: with a fault; the list is in `run`.
 */
#ifndef GS
#define GS 3                /* goroutines, numbered from 1 */
#endif

/* Places in memory. */
#define ALONE 0
#define TAIL 1
#define HEAD 2
#define NEXT 3
#define NALLP 4
#define RING(i) (5 + (i))
#define NVARS (5 + GS)
#define OWNER 0             /* buffers */
#define THIEF 1
#define NBUFFERS 2
#define DEPTH 4
#include "tso.pml"

bool taken[GS + 1];
byte all_taken;

inline took(g) {
    assert(g != 0 && !taken[g]);
    taken[g] = true;
    all_taken++
}

proctype owner() {
    byte put = 0, h, g;
    bool alone = true;
    do
    :: put < GS ->                          /* push */
        put++;
        g = SEEN(OWNER, TAIL);
        store(OWNER, RING(g), put);
        g++;
        store_release(OWNER, TAIL, g);
        g = 0
    :: put < GS && SEEN(OWNER, NEXT) == 0 ->    /* set_next */
        put++;
        store_release(OWNER, NEXT, put)
    :: put == GS && SEEN(OWNER, NEXT) == 0 && SEEN(OWNER, HEAD) == SEEN(OWNER, TAIL) -> break
    :: SEEN(OWNER, NEXT) != 0 || SEEN(OWNER, HEAD) != SEEN(OWNER, TAIL) ->
        /* pick: share_if_not_alone */
        if
        :: SEEN(OWNER, ALONE) && SEEN(OWNER, NALLP) != 1 ->
#ifdef MUTANT_4
            store(OWNER, ALONE, false)
#else
            store_release(OWNER, ALONE, false)
#endif
        :: else
        fi;
#ifndef MUTANT_3
        alone = SEEN(OWNER, ALONE);
#endif
        if
        :: g = SEEN(OWNER, NEXT);           /* take_next */
            if
            :: g != 0 && alone -> store(OWNER, NEXT, 0); took(g)
            :: g != 0 && !alone ->
                atomic { EMPTY(OWNER) -> if :: mem[NEXT] == g -> mem[NEXT] = 0; took(g) :: else fi }
            :: g == 0
            fi
        :: h = SEEN(OWNER, HEAD);           /* pop */
            if
            :: SEEN(OWNER, TAIL) == h
            :: else ->
                g = SEEN(OWNER, RING(h));
                if
                :: alone -> h++; store(OWNER, HEAD, h); took(g)
                :: !alone ->
                    atomic { EMPTY(OWNER) -> if :: mem[HEAD] == h -> mem[HEAD] = h + 1; took(g) :: else fi }
                fi
            fi
        fi;
        atomic { h = 0; g = 0; alone = true }
    od
}

/* runq.cpp, grab, by steal_from of another P; it has no stores of its own. */
proctype thief() {
    byte h, n, g, tries = 3;
    mem[NALLP] != 1;
again:
    atomic {
        h = 0; n = 0; g = 0;
        if
        :: tries == 0 -> goto done
        :: tries != 0 -> tries--
        fi
    };
#ifndef MUTANT_1
    if
    :: atomic { mem[ALONE] -> goto again }
    :: !mem[ALONE]
    fi;
#endif
    h = mem[HEAD];
    n = mem[TAIL] - h;
    n = n - n / 2;
    if
    :: n == 0 ->
        g = mem[NEXT];
        if
        :: g != 0 -> atomic { if :: mem[NEXT] == g -> mem[NEXT] = 0; took(g) :: else fi }
        :: g == 0
        fi
    :: n == 1 ->
        g = mem[RING(h)];
        atomic { if :: mem[HEAD] == h -> mem[HEAD] = h + 1; took(g) :: else fi }
    :: n == 2 ->
        g = mem[RING(h)];
        n = mem[RING(h + 1)];
        atomic { if :: mem[HEAD] == h -> mem[HEAD] = h + 2; took(g); took(n) :: else fi }
    :: n > 2                                /* head and tail are of different moments */
    fi;
    goto again;
done:
    skip
}

/* sched.cpp, set_procs. */
proctype set_procs() {
#ifdef MUTANT_2
    mem[ALONE] = false;
#endif
    mem[NALLP] = 2
}

proctype at_rest() { timeout -> assert(all_taken == GS) }

init {
    atomic {
        mem[ALONE] = true;
        mem[NALLP] = 1;
        run owner();
        run thief();
        run set_procs();
        run memory(OWNER);
        run at_rest()
    }
}
