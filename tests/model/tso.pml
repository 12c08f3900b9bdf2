/* Store buffers, for models of code whose stores may become visible late.
 *
 * A thread's plain store goes into its buffer; a process `memory` of its own moves it to `mem` some time later. A load
 * sees the newest store in the own buffer, else mem. A locked operation (CAS, exchange, a full fence, taking a lock)
 * waits until the own buffer is empty. membarrier() empties everybody's, one after the other.
 *
 * The plain build is x86-TSO: a buffer is first in, first out. With -DWEAK stores to different places may pass each
 * other, but for release stores, which no earlier store is left behind by: what AArch64 does to stores. (Loads are
 * executed in order in both.)
 *
 * The includer defines NVARS, the number of places in mem; NBUFFERS; and DEPTH, how many stores fit a buffer, 3 or 4. A
 * thread whose buffer is full waits.
 */
byte mem[NVARS];

typedef store_buffer {
    byte place[DEPTH];      /* + 1; 0: unused */
    byte value[DEPTH];
#ifdef WEAK
    bool release[DEPTH];
#endif
}
store_buffer sb[NBUFFERS];

#define EMPTY(b) (sb[b].place[0] == 0)

/* What the thread of buffer b loads from a place. */
#define IF_BUFFERED(b, i, where, otherwise) (sb[b].place[i] == (where) + 1 -> sb[b].value[i] : (otherwise))
#define SEEN3(b, where) IF_BUFFERED(b, 2, where, IF_BUFFERED(b, 1, where, IF_BUFFERED(b, 0, where, mem[where])))
#if DEPTH == 3
#define SEEN(b, where) SEEN3(b, where)
#else
#define SEEN(b, where) IF_BUFFERED(b, 3, where, SEEN3(b, where))
#endif

#ifdef WEAK
#define BUFFERED_AT(b, i, where, what, rel) \
    sb[b].place[i] = (where) + 1; sb[b].value[i] = what; sb[b].release[i] = rel
#else
#define BUFFERED_AT(b, i, where, what, rel) sb[b].place[i] = (where) + 1; sb[b].value[i] = what
#endif

/* To be used inside an atomic, after a test of HAS_ROOM. */
#define HAS_ROOM(b) (sb[b].place[DEPTH - 1] == 0)
inline put_in_buffer(b, where, what, rel) {
    if
    :: sb[b].place[0] == 0 -> BUFFERED_AT(b, 0, where, what, rel)
    :: sb[b].place[0] != 0 && sb[b].place[1] == 0 -> BUFFERED_AT(b, 1, where, what, rel)
    :: sb[b].place[1] != 0 && sb[b].place[2] == 0 -> BUFFERED_AT(b, 2, where, what, rel)
#if DEPTH == 4
    :: sb[b].place[2] != 0 && sb[b].place[3] == 0 -> BUFFERED_AT(b, 3, where, what, rel)
#endif
    :: else -> assert(false)
    fi
}

inline store(b, where, what) { atomic { HAS_ROOM(b) -> put_in_buffer(b, where, what, false) } }
inline store_release(b, where, what) { atomic { HAS_ROOM(b) -> put_in_buffer(b, where, what, true) } }

/* A read-modify-write, or a store that is a full fence on top: exchange with seq_cst. */
inline exchange(b, where, what) { atomic { EMPTY(b) -> mem[where] = what } }
inline full_fence(b) { EMPTY(b) }

#ifdef WEAK
#define MOVE_DOWN(b, to, from) \
    sb[b].place[to] = sb[b].place[from]; sb[b].value[to] = sb[b].value[from]; sb[b].release[to] = sb[b].release[from]
#define CLEAR(b, i) sb[b].place[i] = 0; sb[b].value[i] = 0; sb[b].release[i] = false
#else
#define MOVE_DOWN(b, to, from) sb[b].place[to] = sb[b].place[from]; sb[b].value[to] = sb[b].value[from]
#define CLEAR(b, i) sb[b].place[i] = 0; sb[b].value[i] = 0
#endif
#if DEPTH == 4
#define CLOSE_GAP_AT_2(b) MOVE_DOWN(b, 2, 3); CLEAR(b, 3)
#else
#define CLOSE_GAP_AT_2(b) CLEAR(b, 2)
#endif
#define CLOSE_GAP_AT_1(b) MOVE_DOWN(b, 1, 2); CLOSE_GAP_AT_2(b)
#define CLOSE_GAP_AT_0(b) MOVE_DOWN(b, 0, 1); CLOSE_GAP_AT_1(b)

inline commit_first(b) {
    mem[sb[b].place[0] - 1] = sb[b].value[0];
    CLOSE_GAP_AT_0(b)
}

#define MAY_PASS(b, i, earlier) (sb[b].place[i] != sb[b].place[earlier])

proctype memory(byte b) {
end:
    do
    :: d_step { !EMPTY(b) -> commit_first(b) }
#ifdef WEAK
    :: d_step { sb[b].place[1] != 0 && !sb[b].release[1] && MAY_PASS(b, 1, 0) ->
           mem[sb[b].place[1] - 1] = sb[b].value[1];
           CLOSE_GAP_AT_1(b) }
    :: d_step { sb[b].place[2] != 0 && !sb[b].release[2] && MAY_PASS(b, 2, 0) && MAY_PASS(b, 2, 1) ->
           mem[sb[b].place[2] - 1] = sb[b].value[2];
           CLOSE_GAP_AT_2(b) }
#if DEPTH == 4
    :: d_step { sb[b].place[3] != 0 && !sb[b].release[3] && MAY_PASS(b, 3, 0) && MAY_PASS(b, 3, 1) &&
                MAY_PASS(b, 3, 2) ->
           mem[sb[b].place[3] - 1] = sb[b].value[3];
           CLEAR(b, 3) }
#endif
#endif
    od
}

/* The barrier on the thread of buffer b. */
inline empty_buffer(b) {
    d_step {
        do
        :: !EMPTY(b) -> commit_first(b)
        :: else -> break
        od
    }
}
