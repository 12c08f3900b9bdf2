#include "sched/pinned.hpp"

#include "base/check.hpp"
#include "sched/sched.hpp"
#include "sched/simulation_hooks.hpp"

#include <cstring>

namespace handoff::detail {

namespace {

// type_text() of the value that this thread is moving; null: none.
constinit thread_local const char* tls_moving __attribute__((tls_model("initial-exec"))) = nullptr;

}  // namespace

pinned_goroutine::pinned_goroutine() noexcept : m_(current_m()) {
    if (!m_) return;
    G* g = m_->curg.load(std::memory_order_relaxed);
    ++g->pinned;
    if (m_->s->sim) {
        ++m_->s->sim->quiet;
        return;
    }
    g->locked.store(true, std::memory_order_relaxed);
    m_->locked_g = g;
}

pinned_goroutine::~pinned_goroutine() {
    if (!m_) return;
    G* g = m_->curg.load(std::memory_order_relaxed);
    --g->pinned;
    if (m_->s->sim) --m_->s->sim->quiet;
    else untie_if_free(m_, g);
}

HANDOFF_OPAQUE move_mark::move_mark(const char* type) noexcept : m_(current_m()) {
    tls_moving = type;
    if (!m_) return;
    ++m_->curg.load(std::memory_order_relaxed)->syscall_depth;
    // release: for a mark outside of a section, as in open_bracket (goroutine/syscall.cpp).
    m_->call.store(begin_call(m_), std::memory_order_release);
}

HANDOFF_OPAQUE move_mark::~move_mark() {
    tls_moving = nullptr;
    if (!m_) return;
    --m_->curg.load(std::memory_order_relaxed)->syscall_depth;
    m_->call.store(begin_call(m_) - 1, std::memory_order_relaxed);   // it was no call, and is not counted
}

HANDOFF_OPAQUE void refuse_in_move() noexcept {
    if (!tls_moving) [[likely]] return;
    // "... [with T = name]", "... [T = name]", or "... [with T = name; other = ...]".
    const char* name = std::strstr(tls_moving, "T = ");
    name = name ? name + 4 : tls_moving;
    std::size_t length = std::strcspn(name, ";");
    if (name[length] == 0 && length != 0) --length;
    base::fatal("the move or destructor of a value of type %.*s calls the library while a channel, which is locked, moves the "
                "value: send a std::unique_ptr to it instead",
                static_cast<int>(length), name);
}

}  // namespace handoff::detail
