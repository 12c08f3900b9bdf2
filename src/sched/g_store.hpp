// g_store: the Gs of a runtime, their names, and the memory that they take.
//
// Gs are made in chunks. What is free is in `free_`, under sched::lock, or with a P.
//
// Where a G's memory goes. Others than its owner may have a G's address, and read it after the goroutine has ended, and its G
// may be free by then: a thread that looks at the front of another's queue (run_queue::front, steal_first_if: `kind`), the
// monitor and snapshots, which follow M::curg (`kind`, `id`), and prefetches. They read atomics, take what they read for a hint
// or a number to be shown, and a CAS decides where more depends on it. So the address of a G is good, and its atomics are
// atomics of the same type, for as long as the store lives; no chunk is ever freed before. What goes back to the kernel are
// pages: those of a chunk whose Gs are all free are dropped by MADV_DONTNEED, after which they read as zeros. A G of zeros is
// what a new one is but for `store` and `chunk`, which only its owner reads (unit test g_store.a_new_g_is_all_zeros).
//
// Putting chunks to rest. Which chunks are free as a whole is not known while goroutines come and go: a count a chunk would be
// another line to be written for each. When the runtime is idle, the monitor takes the free Gs out of the store, some
// thousands each time that it has the lock. They are its own then, as are those that a P has in stock. So it counts without
// the lock, drops the Gs of whole chunks, and gives the others back. A chunk whose Gs are dropped `rests`: nobody has a G of it,
// and nobody can get one but by wake_chunk, under the lock. The pages go after that, without the lock, while it is in neither
// of the lists of those that rest, so that it can't be woken. Those who spawn meanwhile wake another chunk, or make one.
//
// Rejected: to free chunks, with epochs or hazard pointers for those who read what is stale: each pick would pay for it.
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

// All but the names is guarded by sched::lock, unless said otherwise.
class g_store {
public:
    g_store() = default;
    g_store(const g_store&) = delete;
    g_store& operator=(const g_store&) = delete;
    ~g_store();

    // Whole pages.
    static constexpr std::size_t chunk_bytes = base::sized(std::size_t{64} * 1024, 4 * sizeof(G));
    static constexpr std::uint32_t chunk_size = chunk_bytes / sizeof(G);

    // take returns a list of at least one free G. Throws std::bad_alloc.
    G* take(unsigned count);
    void give(G* list) noexcept;

    // visit calls f for some of the Gs from place `at` on, those that may be in use, and returns the place after them: for who
    // gives the lock up in between. Places become more, never less. for_each visits all.
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

    // Names, from any thread. An empty one forgets it. g->id is set.
    void name(G* g, const std::string& name);
    // name_of gives the name of the goroutine `id`, which is or was in g; g itself is not read. Throws std::bad_alloc.
    std::string name_of(const G* g, goroutine_id id);
    goroutine_name describe(const G* g);                    // g is the caller's, or stays while it looks
    goroutine_name describe_briefly(const G* g) noexcept;   // without memory by its number alone

    struct named {
        goroutine_id id;
        std::string name;
    };
    base::mutex names_lock;
    std::unordered_map<const G*, named> names HANDOFF_GUARDED_BY(names_lock);

    // options::on_unhandled_exception, for handles that outlive the runtime too.
    exception_handler on_unhandled_exception;

    // Handles left when the runtime ends, plus one for the runtime; who brings it to 0 deletes the store.
    base::atomic<std::uint64_t> owners{1};

    // ---- For the monitor: rest. See above. ----
    // With `more` free Gs, which Ps have, there is enough to look for whole chunks.
    bool is_worth_a_look(std::size_t more) const noexcept { return free_.size() + more >= looked_at_ + worth_a_look; }
    bool lend(std::vector<G*>& to) noexcept;           // some, for which `to` has room; false: it has not, or there are no more
    bool take_back(std::vector<G*>& lent) noexcept;    // some; false: it has them all
    // Takes the Gs of whole chunks out of `lent`; returns which these are. Without the lock. Throws std::bad_alloc.
    static std::vector<std::uint32_t> drop_whole_chunks(std::vector<G*>& lent);
    void put_to_rest(const std::vector<std::uint32_t>& chunks) noexcept;
    void looked() noexcept { looked_at_ = free_.size(); }
    std::size_t free_count() const noexcept { return free_.size(); }
    // Takes a chunk out that rests and has its pages; null: there is none. They may go then, and it is to be put back.
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
    std::vector<std::uint32_t> resting_, bare_;   // chunks that rest, with their pages and without; room for all
    base::free_array<G, 4> free_;
    std::size_t looked_at_ = 0;                   // the free Gs that were not worth a rest, at the last look
};

// created_at writes where a goroutine was spawned, without allocating: it serves the overflow report too.
void created_at(const void* site, std::uint32_t line, char* text, std::size_t size) noexcept;
void created_at(const G& g, char* text, std::size_t size) noexcept;

}  // namespace handoff::detail
