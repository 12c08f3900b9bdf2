#include "lines.hpp"

#include <algorithm>

namespace scaling {

lines memory;

// touch_line changes who holds l, and returns when the access is over, its own time aside.
ps lines::touch_line(line& l, thread& t, bool writes, bool& moved) noexcept {
    const unsigned me = t.number;
    const bool held = l.readers ? l.readers->test(me) : l.owner == me;
    const bool fresh = !l.readers && l.owner == nobody;
    moved = !fresh && (writes ? l.readers || l.owner != me : !held);
    ps over = t.time;
    if (moved) {
        over = std::max(t.time, l.free_at) + the.cost().transfer;
        // Readers of a line that nobody has changed are served side by side.
        if (writes || l.modified) l.free_at = over;
    }
    if (writes) {
        l.readers.reset();
        l.owner = me;
        l.modified = true;
    } else if (fresh) {
        l.owner = me;
    } else if (!held) {
        if (!l.readers) {
            l.readers = std::make_unique<holders>();
            l.readers->set(l.owner);
            l.owner = nobody;
        }
        l.readers->set(me);
        l.modified = false;
    }
    return over;
}

void lines::touch(std::uintptr_t address, unsigned size, bool writes, bool locked, const void* code) noexcept {
    thread* t = self();
    if (!t) return;
    the.spend(the.cost().access + (locked ? the.cost().locked : 0));
    const own_code here;
    const std::uintptr_t last = (address + size - 1) / line_size;
    for (std::uintptr_t at = address / line_size; at <= last; ++at) {
        bool moved;
        const ps over = touch_line(lines_[at], *t, writes, moved);
        if (counting_) {
            ++totals_.accesses;
            totals_.locked += locked;
            totals_.visits += t->last_line != at;
            if (writes && address == watched_) ++totals_.watched;
            if (moved) {
                transfers& n = by_site_[{address, code}];
                ++(writes ? n.writes : n.reads);
            }
        }
        t->last_line = at;
        the.spend_undisturbed(over - t->time);
    }
}

void lines::begin() noexcept {
    const own_code here;
    by_site_.clear();
    totals_ = {};
    totals_.began = the.now();
    counting_ = true;
}

void lines::end() noexcept {
    if (!counting_) return;
    counting_ = false;
    totals_.ended = the.now();
}

}  // namespace scaling
