// task: what a goroutine runs, and where its result is stored.
//
// A task is built on the spawner's stack and then relocated into the G. If it is large, or its move may throw, it is on the
// heap instead, and the G contains a pointer to it. The runtime sees it only through a task_ops.
#pragma once

#include <handoff/detail/quiet_move.hpp>

#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace handoff::detail {

inline constexpr std::size_t task_inline_size = 64;
inline constexpr std::size_t task_inline_align = 16;

struct task_ops {
    void (*run)(void* task);                                      // calls the closure, then destroys it; may throw
    void (*relocate)(void* to, void* from) noexcept;              // null: copying `size` bytes is enough
    void (*destroy)(void* task, bool has_result) noexcept;        // after run(); null: there is nothing to destroy
    unsigned short size;                                          // bytes in the G, at most task_inline_size
    bool on_heap;                                                 // the G holds a pointer to the task
    bool quiet;                                                   // relocate() is known not to call the library
    bool told_elsewhere;                                          // an exception that no join sees need not be reported
};

// Leaves a closure whose exception is where it belongs already: in its G, and with whom it was told.
struct told_exception {};

// A closure whose exceptions go to somebody besides the handle, as in a task group, declares it.
template <class F>
concept tells_exceptions = requires { requires F::tells_exceptions::value; };

// Raw storage for a result of type R. References are kept as pointers.
template <class R>
struct result_slot {
    using stored = std::conditional_t<std::is_reference_v<R>, std::remove_reference_t<R>*, R>;
    alignas(stored) std::byte bytes[sizeof(stored)];

    template <class F>
    void emplace_from(F&& call) {
        if constexpr (std::is_reference_v<R>) {
            R r = std::forward<F>(call)();
            ::new (static_cast<void*>(bytes)) stored(std::addressof(r));
        } else {
            ::new (static_cast<void*>(bytes)) stored(std::forward<F>(call)());
        }
    }
    stored& get() noexcept { return *std::launder(reinterpret_cast<stored*>(bytes)); }
    R take() {
        if constexpr (std::is_reference_v<R>) return static_cast<R>(*get());
        else return std::move(get());
    }
    void destroy() noexcept { std::destroy_at(std::addressof(get())); }
    static constexpr bool trivial = std::is_trivially_destructible_v<stored>;
};

template <>
struct result_slot<void> {
    template <class F>
    void emplace_from(F&& call) {
        std::forward<F>(call)();
    }
    void take() noexcept {}
    void destroy() noexcept {}
    static constexpr bool trivial = true;
};

// The closure and the result side by side, so that the result is built in place and need not be movable. The result comes
// first, so that a join_handle<R> finds it without knowing F.
template <class F, class R>
struct task {
    result_slot<R> result;
    union {
        F closure;
    };

    template <class G>
    explicit task(std::in_place_t, G&& f) : closure(std::forward<G>(f)) {}
    task(const task&) = delete;
    task& operator=(const task&) = delete;
    ~task() {}

    void run() {
        struct destroyer {
            F& f;
            ~destroyer() { f.~F(); }
        } at_end{closure};
        result.emplace_from([this]() -> R { return std::move(closure)(); });
    }

    // Computes sizeof(task), which is not known yet here.
    static constexpr std::size_t layout_align =
        alignof(F) > alignof(result_slot<R>) ? alignof(F) : alignof(result_slot<R>);
    static constexpr std::size_t layout_size =
        ((sizeof(result_slot<R>) + alignof(F) - 1) / alignof(F) * alignof(F) + sizeof(F) + layout_align - 1) /
        layout_align * layout_align;

    static constexpr bool fits_inline = layout_size <= task_inline_size &&
                                        layout_align <= task_inline_align &&
                                        std::is_nothrow_move_constructible_v<F>;

    static task& at(void* where) noexcept {
        if constexpr (fits_inline) return *static_cast<task*>(where);
        else return **static_cast<task**>(where);
    }
    static void run_at(void* where) { at(where).run(); }
    static void relocate(void* to, void* from) noexcept {
        F& f = static_cast<task*>(from)->closure;
        ::new (to) task(std::in_place, std::move(f));
        f.~F();   // NOLINT(bugprone-use-after-move): the end of what was moved from
    }
    static void destroy_at(void* where, bool has_result) noexcept {
        task& t = at(where);
        if (has_result) t.result.destroy();
        if constexpr (!fits_inline) delete std::addressof(t);
    }
    // Destroys a task whose goroutine could not be spawned.
    static void abandon(void* where) noexcept {
        task& t = at(where);
        t.closure.~F();
        if constexpr (!fits_inline) delete std::addressof(t);
    }

    static constexpr auto relocate_inline() noexcept -> void (*)(void*, void*) noexcept {
        if constexpr (fits_inline && !std::is_trivially_copyable_v<F>) return relocate;   // else F need not be movable
        else return nullptr;
    }

    static constexpr task_ops ops{
        run_at,
        relocate_inline(),
        fits_inline && result_slot<R>::trivial ? nullptr : destroy_at,
        fits_inline ? layout_size : sizeof(task*),
        !fits_inline,
        !fits_inline || quiet_move<F>,
        tells_exceptions<F>,
    };
};

}  // namespace handoff::detail
