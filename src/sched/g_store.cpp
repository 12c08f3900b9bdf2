#include "sched/g_store.hpp"

#include "base/code_address.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <new>

namespace handoff::detail {

namespace {

std::align_val_t page() noexcept { return std::align_val_t(context::page_size()); }

}  // namespace

g_store::~g_store() {
    for (const chunk& c : chunks_) {
        std::destroy_n(c.gs, chunk_size);
        ::operator delete(c.gs, page());
    }
}

void g_store::add_chunk() {
    for (auto* sleeping : {&resting_, &bare_}) {
        if (sleeping->empty()) continue;
        wake_chunk(sleeping->back());
        sleeping->pop_back();
        return;
    }
    const std::size_t n = chunks_.size() + 1;
    free_.make_room(n * chunk_size);
    if (chunks_.capacity() < n) {
        for (auto* sleeping : {&resting_, &bare_}) sleeping->reserve(2 * n);
        chunks_.reserve(2 * n);
    }
    G* gs = static_cast<G*>(::operator new(chunk_bytes, page()));
    std::uninitialized_value_construct_n(gs, chunk_size);
    chunks_.push_back({gs, true});
    wake_chunk(static_cast<std::uint32_t>(n - 1));
}

// wake_chunk makes the Gs of a chunk available, which is in none of the lists of resting chunks.
void g_store::wake_chunk(std::uint32_t which) noexcept {
    chunk& c = chunks_[which];
    c.rests = false;
    for (G* g = c.gs; g != c.gs + chunk_size; ++g) {
        g->store = this;
        g->chunk = which;
        g->next = nullptr;
        free_.give(g);
    }
}

G* g_store::take(unsigned count) {
    if (free_.empty()) add_chunk();
    G* list = free_.take(count);
    looked_at_ = std::min(looked_at_, free_.size());
    return list;
}

void g_store::give(G* list) noexcept { free_.give(list); }

// ---- Names ---------------------------------------------------------------------------------------------------------

void g_store::name(G* g, const std::string& name) {
    base::lock_guard hold(names_lock);
    if (name.empty()) names.erase(g);
    else names.insert_or_assign(g, named{g->id.load(std::memory_order_relaxed), name});
    g->named = !name.empty();
}

std::string g_store::name_of(const G* g, goroutine_id id) {
    base::lock_guard hold(names_lock);
    const auto it = names.find(g);
    return it != names.end() && it->second.id == id ? it->second.name : std::string();
}

void created_at(const void* site, std::uint32_t line, char* text, std::size_t size) noexcept {
    text[0] = '\0';
    if (!site) return;
    if (line != 0) {
        const char* file = static_cast<const char*>(site);
        if (const char* slash = std::strrchr(file, '/')) file = slash + 1;
        std::snprintf(text, size, "%s:%u", file, line);
        return;
    }
    base::code_address(site, text, size);
}

void created_at(const G& g, char* text, std::size_t size) noexcept {
    created_at(g.site.load(std::memory_order_relaxed), g.site_line.load(std::memory_order_relaxed), text, size);
}

goroutine_name g_store::describe(const G* g) {
    goroutine_name n;
    n.id = g->id.load(std::memory_order_relaxed);
    char created[160];
    created_at(*g, created, sizeof created);
    n.created = created;
    n.name = name_of(g, n.id);
    return n;
}

goroutine_name g_store::describe_briefly(const G* g) noexcept {
    try {
        return describe(g);
    } catch (const std::bad_alloc&) {
        goroutine_name n;
        n.id = g->id.load(std::memory_order_relaxed);
        return n;
    }
}

// ---- Rest ----------------------------------------------------------------------------------------------------------

bool g_store::lend(std::vector<G*>& to) noexcept {
    const std::size_t n = std::min({free_.size(), lent_at_once, to.capacity() - to.size()});
    free_.move_to(to, n);
    return n != 0;
}

bool g_store::take_back(std::vector<G*>& lent) noexcept {
    free_.take_from(lent, std::min(lent_at_once, lent.size()));
    return !lent.empty();
}

std::vector<std::uint32_t> g_store::drop_whole_chunks(std::vector<G*>& lent) {
    std::vector<std::uint32_t> count, whole;
    for (const G* g : lent) {
        if (g->chunk >= count.size()) count.resize(2 * std::size_t{g->chunk} + 1);
        ++count[g->chunk];
    }
    for (std::uint32_t which = 0; which < count.size(); ++which)
        if (count[which] == chunk_size) whole.push_back(which);
    if (!whole.empty()) std::erase_if(lent, [&count](const G* g) { return count[g->chunk] == chunk_size; });
    return whole;
}

void g_store::put_to_rest(const std::vector<std::uint32_t>& chunks) noexcept {
    for (const std::uint32_t which : chunks) {
        chunks_[which].rests = true;
        resting_.push_back(which);
    }
}

G* g_store::take_resting(std::uint32_t& which) noexcept {
    if (resting_.empty()) return nullptr;
    which = resting_.back();
    resting_.pop_back();
    return chunks_[which].gs;
}

}  // namespace handoff::detail
