// g_store: the Gs of a runtime, their names, and the memory that they take.
//
// Gs are made in chunks. A free G is in `free_`, under the scheduler's lock (idle_set::lock), or in the stock of a P.
//
// When a G's memory may go. Threads that do not own a G may have its address, and read it after the goroutine has ended, when
// the G may be free: a thread that looks at the front of another P's queue (run_queue::front, steal_first_if: `kind`); the
// monitor and snapshots, which follow M::curg (`kind`, `id`); prefetches. They read atomics, and treat what they read as a
// hint, or as a number to be shown; where more depends on it a CAS decides. So for as long as the store lives, the address of a
// G must stay valid, and its atomics must stay atomics of the same type: no chunk is freed before. What goes back to the kernel
// are pages: if all Gs of a chunk are free, its pages are dropped by MADV_DONTNEED, after which they read as zeros. A G of
// zeros equals a new one except for `store` and `chunk`, which only its owner reads (unit test g_store.a_new_g_is_all_zeros).
//
// Putting chunks to rest. While goroutines come and go it is not known which chunks are entirely free: a count per chunk would
// be another cache line to write for each goroutine. When the runtime is idle, the monitor takes the free Gs out of the store,
// some thousands each time that it holds the lock, and those that Ps have in stock, too. Then it owns them. So it counts
// without the lock, drops the Gs of whole chunks, and gives the others back. A chunk whose Gs were dropped `rests`: no thread
// has a G of it, and none can get one except by wake_chunk, under the lock. Its pages go after that, without the lock.
// Meanwhile the chunk is in neither of the lists of resting chunks, so that it can't be woken. A thread that spawns meanwhile
// wakes another chunk, or makes one.
//
// Rejected: freeing chunks, with epochs or hazard pointers for the threads that read stale Gs: each pick would pay for it.
#pragma once

#include "base/atomic.hpp"
#include "base/free_array.hpp"
#include "base/mutex.hpp"
#include "base/sizes.hpp"
#include "sched/g.hpp"

#include <handoff/options.hpp>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

namespace handoff::detail {

using exception_handler = std::function<void(const goroutine_name&, std::exception_ptr)>;   // options::on_unhandled_exception

// All but the names is guarded by the scheduler's lock, unless said otherwise.
class g_store {
public:
    g_store() = default;
    g_store(const g_store&) = delete;
    g_store& operator=(const g_store&) = delete;
    ~g_store();

    // A chunk is a whole number of pages.
    static constexpr std::size_t chunk_bytes = base::sized(std::size_t{64} * 1024, 4 * sizeof(G));
    static constexpr std::uint32_t chunk_size = chunk_bytes / sizeof(G);

    // take returns a list of at least one free G. Throws std::bad_alloc.
    G* take(unsigned count);
    void give(G* list) noexcept;

    // visit calls f for some of the Gs from place `at` on, skipping chunks that rest, and returns the place after them. It is
    // for callers that release the lock in between. The number of places never shrinks. for_each visits all.
    std::size_t places() const noexcept { return chunks_.size() * chunk_size; }
    template <class F>
    std::size_t visit(std::size_t at, F f) {
        const chunk& c = chunks_[at / chunk_size];
        const std::size_t first = at % chunk_size, n = std::min(at_once, chunk_size - first);
        if (c.rests) return at - first + chunk_size;
        std::for_each(c.gs + first, c.gs + first + n, f);
        return at + n;
    }
    static constexpr std::size_t at_once = base::sized(64u, 2u);
    template <class F>
    void for_each(F f) {
        for (std::size_t at = 0; at < places(); at = visit(at, f)) {
        }
    }

    // name sets the name of a goroutine, from any thread. An empty name removes it. g->id must be set.
    void name(G* g, const std::string& name);
    // name_of gives the name of the goroutine `id`, which is or was in g; g itself is not read. Throws std::bad_alloc.
    std::string name_of(const G* g, goroutine_id id);
    goroutine_name describe(const G* g);                    // g is the caller's, or stays valid meanwhile
    goroutine_name describe_briefly(const G* g) noexcept;   // only the number if memory is short

    struct named {
        goroutine_id id;
        std::string name;
    };
    base::mutex names_lock;
    std::unordered_map<const G*, named> names HANDOFF_GUARDED_BY(names_lock);

    // options::on_unhandled_exception, for handles that outlive the runtime too.
    exception_handler on_unhandled_exception;

    // Handles left when the runtime ends, plus one for the runtime. Whoever brings it to 0 deletes the store.
    base::atomic<std::uint64_t> owners{1};

    // ---- For the monitor: rest. See above. ----
    // is_worth_a_look: with the `more` free Gs that Ps have there are enough to look for whole chunks.
    bool is_worth_a_look(std::size_t more) const noexcept { return free_.size() + more >= looked_at_ + worth_a_look; }
    bool lend(std::vector<G*>& to) noexcept;           // moves some to `to`, as it has room; false: no room, or no more
    bool take_back(std::vector<G*>& lent) noexcept;    // moves some back; false: it has them all
    // drop_whole_chunks removes the Gs of whole chunks from `lent`, and returns which chunks these are. Without the lock.
    // Throws std::bad_alloc.
    static std::vector<std::uint32_t> drop_whole_chunks(std::vector<G*>& lent);
    void put_to_rest(const std::vector<std::uint32_t>& chunks) noexcept;
    void looked() noexcept { looked_at_ = free_.size(); }
    std::size_t free_count() const noexcept { return free_.size(); }
    // take_resting takes out a chunk that rests and still has its pages; null if there is none. The caller may drop the pages,
    // and has to put the chunk back.
    G* take_resting(std::uint32_t& which) noexcept;
    void put_back_bare(std::uint32_t which) noexcept { bare_.push_back(which); }

private:
    struct chunk {
        G* gs;
        bool rests;
    };
    void add_chunk();
    void wake_chunk(std::uint32_t which) noexcept;

    static constexpr std::size_t lent_at_once = base::sized(16384u, 3u);
    static constexpr std::size_t worth_a_look = base::sized(16u, 2u) * chunk_size;

    std::vector<chunk> chunks_;
    std::vector<std::uint32_t> resting_, bare_;   // chunks that rest, with pages and without; each has room for all
    base::free_array<G, 4> free_;
    std::size_t looked_at_ = 0;                   // what the last look left in free_; falls with it
};

// created_at writes where a goroutine was spawned. It does not allocate: it also serves the report of a stack overflow.
void created_at(const void* site, std::uint32_t line, char* text, std::size_t size) noexcept;
void created_at(const G& g, char* text, std::size_t size) noexcept;

}  // namespace handoff::detail
