/* A descriptor that goroutines read: the argument at the head of src/net/descriptor_word.hpp, as built in operation.hpp
 * (made_once), descriptor.cpp (await_ready, register_descriptor, descriptors_ready, close) and descriptor_word.cpp.
 *
 * Readers read until the end of what a sender sends, or until the descriptor is closed. A poller takes edges from the
 * kernel, at any time, and makes events of them, of which it may keep one while others come. With -DCLOSE somebody closes
 * the descriptor, and its record has another one from then on.
 *
 * Simplifications. One direction. The word is changed by single steps, as it is by compare-exchanges, and carries no data
 * between threads. The lock of the waiters' bucket is a bit; a waiter that holds it parks as it opens it. Whoever wakes one
 * of several takes any.
 *
 * Checked: all readers end, none is parked for ever; all that was sent is read
 * unless somebody closes, no event reaches another generation, the number is given back once, and under no operation.
 *
 * Variants: READERS, SENDS: how many. -DMUTANT_n: with a fault; the list is in `run`.
 */
#ifndef READERS
#define READERS 2
#endif
#ifndef SENDS
#define SENDS 2
#endif

/* The kernel: bytes to read, whether the sender has ended, whether epoll has the descriptor, and an edge that it has not told. */
byte bytes, sent;
bool ended, added, edge;

/* The word. */
byte generation;
bool readable = true, read_end, parked, closing, registering, registered;
byte operations;

bool lock;                      /* of the bucket */
byte queued;                    /* the parked readers, as bits */
bool woken[READERS];
byte total, given_back, finished;

#define BIT(x) (1 << (x))
#define HAS(x) (queued & BIT(x))

inline tell_kernel() { if :: added -> edge = true :: else fi }

/* claim_waiters: one of them, or all. */
inline wake_one() {
    atomic { !lock -> lock = true };
    if
    :: HAS(0) -> queued = queued & ~BIT(0); woken[0] = true
#if READERS > 1
    :: HAS(1) -> queued = queued & ~BIT(1); woken[1] = true
#endif
#if READERS > 2
    :: HAS(2) -> queued = queued & ~BIT(2); woken[2] = true
#endif
    :: queued == 0
    fi;
    atomic { if :: queued == 0 -> parked = false :: else fi; lock = false }
}

inline give_back() {
    atomic {
        assert(operations == 0 && given_back == 0);
        given_back++;
        generation++;           /* the next one opens the record */
        closing = false;
        readable = true;
        read_end = false;
        registered = false;
        added = false;
        edge = false
    }
}

proctype reader(byte me) {
    byte n, wanted;
    bool again, few, wakes, last, nothing;

begin:
    atomic {
        again = false; few = false; wakes = false; last = false; nothing = false;
        if
        :: closing || generation != 0 -> goto done
        :: else
        fi;
        if
        :: !readable -> goto wait
        :: else
        fi;
#ifndef MUTANT_1
        readable = false;
#endif
        operations++
    };
    /* The system call: for one byte, or for more than there may be. */
    atomic {
        assert(given_back == 0);
        if :: wanted = 1 :: wanted = SENDS + 1 fi;
        n = (bytes < wanted -> bytes : wanted);
        bytes = bytes - n;
        total = total + n;
        again = n == 0 && !ended;
        nothing = n == 0 && ended;
        few = n != 0 && n < wanted
    };
#ifdef MUTANT_1
    readable = false;
#endif
    atomic {                    /* end */
        operations--;
        last = closing && operations == 0;
        if
        :: again ->
#ifdef MUTANT_9
            read_end = false
#else
#ifdef MUTANT_10
            if :: !readable -> read_end = false :: else fi
#else
            if :: !readable && operations == 0 -> read_end = false :: else fi
#endif
#endif
#ifdef MUTANT_4
        :: few
#else
        :: few && !read_end
        :: few && read_end -> readable = true; wakes = parked
#endif
#ifdef MUTANT_3
        :: !again && !few -> wakes = parked
#else
        :: !again && !few -> readable = true; wakes = parked
#endif
        fi
    };
#ifndef MUTANT_7
    if :: wakes -> wake_one() :: else fi;
#endif
    if :: last -> give_back() :: else fi;
    if
    :: nothing -> goto done
    :: else -> goto begin
    fi;

wait:
    /* register_descriptor */
    if
    :: atomic { !registered && !registering && !closing && generation == 0 -> registering = true; operations++ };
        atomic { added = true; if :: bytes != 0 || ended -> edge = true :: else fi };
        atomic { registering = false; registered = true; operations--; last = closing && operations == 0 };
        if :: last -> give_back() :: else fi
    :: registered || closing || generation != 0
    fi;
    /* await_ready: must_park, under the lock, which is open once the waiter can be found */
#ifdef MUTANT_2
    if
    :: atomic { closing || readable || generation != 0 -> goto begin }
    :: else
    fi;
    atomic { !lock -> parked = true; queued = queued | BIT(me) };
#else
#ifdef MUTANT_6
    if
    :: atomic { closing || readable || generation != 0 -> goto begin }
    :: atomic { !closing && !readable && generation == 0 -> parked = true }
    fi;
    atomic { !lock -> queued = queued | BIT(me) };
#else
    atomic {
        !lock ->
        if
        :: closing || readable || generation != 0 -> goto begin
        :: else -> parked = true; queued = queued | BIT(me)
        fi
    };
#endif
#endif
    atomic { woken[me] -> woken[me] = false };
    goto begin;
done:
    finished++
}

/* Any thread that asks: it may be late with what it has been told. */
proctype poller() {
    byte whose;
    bool at_end, wakes;
end:
    do
    :: atomic { edge -> edge = false; whose = generation; at_end = ended };
        atomic {
            wakes = false;
            if
#ifdef MUTANT_5
            :: !closing ->
#else
            :: whose == generation && !closing ->
#endif
                assert(whose == generation);
                readable = true;
                if :: at_end -> read_end = true :: else fi;
                wakes = parked
            :: else
            fi
        };
        if :: wakes -> wake_one() :: else fi
    od
}

proctype sender() {
    do
    :: sent < SENDS -> atomic { if :: generation == 0 -> sent++; bytes++; tell_kernel() :: else -> sent++ fi }
    :: sent == SENDS - 1 ->     /* the last bytes and the end make one edge */
        atomic { sent++; if :: generation == 0 -> bytes++; ended = true; tell_kernel() :: else fi; break }
    :: sent == SENDS -> atomic { if :: generation == 0 -> ended = true; tell_kernel() :: else fi; break }
    od
}

#ifdef CLOSE
proctype closer() {
    bool last;
    atomic {
        closing = true;
        last = operations == 0;
#ifdef MUTANT_8
        last = true
#endif
    };
    /* wake_all */
    atomic { !lock -> lock = true };
    atomic {
        if :: HAS(0) -> woken[0] = true :: else fi;
#if READERS > 1
        if :: HAS(1) -> woken[1] = true :: else fi;
#endif
        queued = 0; parked = false; lock = false
    };
    if :: last -> give_back() :: else fi
}
#endif

init {
    atomic {
        byte i;
        for (i : 0 .. READERS - 1) { run reader(i) }
        run poller();
        run sender();
#ifdef CLOSE
        run closer()
#endif
    };
    timeout;                    /* nobody can go on */
    assert(finished == READERS);
#ifdef CLOSE
    assert(given_back == 1)
#else
    assert(total == SENDS && bytes == 0)
#endif
}
