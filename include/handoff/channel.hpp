// channel<T>: a queue through which goroutines and threads pass values to each other.
#pragma once

#include <handoff/detail/channel_base.hpp>
#include <handoff/detail/export.hpp>
#include <handoff/detail/fast_path.hpp>
#include <handoff/detail/misuse.hpp>
#include <handoff/detail/quiet_move.hpp>
#include <handoff/detail/time.hpp>
#include <handoff/error.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>

namespace handoff {

// channel<T>(unbounded) makes a channel that is never full.
struct unbounded_t {
    explicit unbounded_t() = default;
};
inline constexpr unbounded_t unbounded{};

namespace detail {

// Values whose move may throw are kept in boxes, so that no move under a channel's lock throws.
template <class T>
inline constexpr bool boxed = !std::is_nothrow_move_constructible_v<T>;
template <class T>
using stored = std::conditional_t<boxed<T>, std::unique_ptr<T>, T>;

template <class T>
struct value_slot {
    alignas(stored<T>) std::byte bytes[sizeof(stored<T>)];

    stored<T>& get() noexcept { return *std::launder(reinterpret_cast<stored<T>*>(bytes)); }
    template <class V>
    void put(V&& v) {
        if constexpr (boxed<T>) ::new (static_cast<void*>(bytes)) stored<T>(std::make_unique<T>(std::forward<V>(v)));
        else ::new (static_cast<void*>(bytes)) stored<T>(std::forward<V>(v));
    }
    // take moves the value out and destroys the slot's content.
    std::optional<T> take() {
        struct destroyer {
            stored<T>& s;
            ~destroyer() { std::destroy_at(&s); }
        } at_end{get()};
        if constexpr (boxed<T>) return std::optional<T>(std::move(*at_end.s));
        else return std::optional<T>(std::move(at_end.s));
    }
};

struct timer_state;
HANDOFF_API void stop_owned_timer(timer_state* t) noexcept;

// What a channel owns beside its values: the channel of after() owns its timer (timer.hpp).
template <class T>
struct owned_by_channel {
    void end() noexcept {}
};
template <>
struct owned_by_channel<std::chrono::steady_clock::time_point> {
    timer_state* timer = nullptr;   // written before anybody else has a handle to the channel
    void end() noexcept {
        if (timer) stop_owned_timer(timer);
    }
};

template <class T>
struct channel_of final : channel_base, owned_by_channel<T> {
    static_assert(std::is_object_v<T> && !std::is_const_v<T>, "channels hold objects; send a pointer for a reference");
    static_assert(std::is_nothrow_destructible_v<T>);

    explicit channel_of(std::size_t capacity)
        : channel_base(ops, capacity, capacity == 0 ? nullptr : std::allocator<value_slot<T>>().allocate(capacity)->bytes) {}
    explicit channel_of(unbounded_t) : channel_of(unbounded_ring()) {
        overflow = make_overflow();
        special = true;
    }
    ~channel_of() {
        this->end();   // before the ring is freed: the timer may send to it
        for (std::size_t n = count.load(std::memory_order_relaxed); n > 0; --n) {
            std::destroy_at(&at(head).get());
            head = next(head);
        }
        if (overflow) {
            for (value_slot<T> left; take_overflowed(*this, left.bytes);) std::destroy_at(&left.get());
            end_overflow(overflow);
        }
        if (cap != 0) std::allocator<value_slot<T>>().deallocate(reinterpret_cast<value_slot<T>*>(ring), cap);
    }

    value_slot<T>& at(std::size_t i) noexcept { return reinterpret_cast<value_slot<T>*>(ring)[i]; }
    std::size_t next(std::size_t i) const noexcept { return i + 1 == cap ? 0 : i + 1; }

    // The fast paths through the ring: they neither wake nor wait for anybody. They return false, and have done nothing, if
    // that is not possible. The first test, without the lock, avoids locking where the answer is clear. Relaxed: the second
    // test, under the lock, decides.
    bool try_push_fast(stored<T>& value) noexcept {
        if (count.load(std::memory_order_relaxed) >= zero_if_closed(cap) || !receivers.empty()) return false;
        spin_guard hold(lock);
        const std::size_t n = count.load(std::memory_order_relaxed);
        if (n == cap || !receivers.empty() || closed.load(std::memory_order_relaxed)) return false;
        if constexpr (loud) {
            const move_mark here(ops.loud);
            ::new (static_cast<void*>(at(tail).bytes)) stored<T>(std::move(value));
        } else {
            ::new (static_cast<void*>(at(tail).bytes)) stored<T>(std::move(value));
        }
        tail = next(tail);
        count.store(n + 1, std::memory_order_relaxed);
        return true;
    }
    bool try_pop_fast(value_slot<T>& slot) noexcept {
        if (zero_if_closed(count.load(std::memory_order_relaxed)) == 0 || !senders.empty()) return false;
        spin_guard hold(lock);
        const std::size_t n = count.load(std::memory_order_relaxed);
        if (n == 0 || !senders.empty()) return false;
        if constexpr (loud) {
            const move_mark here(ops.loud);
            relocate(slot.bytes, at(head).bytes);
        } else {
            relocate(slot.bytes, at(head).bytes);
        }
        head = next(head);
        count.store(n - 1, std::memory_order_relaxed);
        return true;
    }

    static void relocate(void* to, void* from) noexcept {
        auto& old = *std::launder(static_cast<stored<T>*>(from));
        ::new (to) stored<T>(std::move(old));
        std::destroy_at(&old);
    }

    static constexpr bool loud = !quiet_move<stored<T>>;
    static constexpr value_ops ops{sizeof(value_slot<T>), alignof(value_slot<T>), std::is_trivially_copyable_v<stored<T>> ? nullptr : relocate,
                                   loud ? type_text<stored<T>>() : nullptr};
};

struct channel_access;

template <class T>
struct not_held {
    template <class V>
        requires(!std::is_convertible_v<V, T>)
    HANDOFF_MISUSE("channel<T>: the value doesn't convert to T, the type that the channel holds. Pass T(x) if a "
                   "constructor makes one, std::move(x) for what can't be copied")
    not_held(V&&) {}
};

}  // namespace detail

// channel<T> is a handle to a channel. Copies refer to the same channel, which lives as long as any handle to it does, or
// somebody waits on it. As with std::shared_ptr, one handle object is used by one thread or goroutine at a time; give each
// its own copy.
//
// With capacity 0 a sender waits until a receiver takes the value directly from it. With capacity n > 0 the channel buffers
// up to n values. An unbounded one is never full: each value beyond the first 64 has its own piece of the heap, and sending
// throws std::bad_alloc where there is none left. Values come out in the order in which they went in. T must be movable,
// move-only types included, and its destructor must not throw.
//
// A default-constructed or moved-from handle holds no channel; sending, receiving, closing and selecting with it throw
// usage_error. nil() is a channel that is never ready: sending to it and receiving from it wait forever, and a select never
// chooses it.
//
// Values are moved, and moved-from values are destroyed, while the channel is locked. If a move or destructor of T calls
// the library there (to yield, to wait, to lock what is taken, to start a goroutine), the process ends with a message that
// names T; send a std::unique_ptr<T> in that case. Values whose move may throw are kept in such boxes anyway.
//
// A handle is const as a pointer is: its constness does not extend to the channel.
//
// All functions may be called from any thread and from any goroutine of any runtime. A function that waits parks a
// goroutine and blocks a thread. The functions that wait are cancellation points (cancellation.hpp) if they have to wait.
// They take a std::stop_token; a requested stop ends the wait by the exception `cancelled`. Constant time, except for
// close.
template <class T>
class channel {
public:
    using value_type = T;
    using moves_quietly = std::true_type;

    // A handle without a channel.
    channel() noexcept = default;

    // Throws std::bad_alloc, std::bad_array_new_length.
    explicit channel(std::size_t capacity) : c_(new detail::channel_of<T>(capacity)) {}
    explicit channel(unbounded_t how) : c_(new detail::channel_of<T>(how)) {}

    // nil makes a channel that is never ready, to switch a case of a select off. Throws std::bad_alloc.
    static channel nil() {
        channel made(0);
        made.c_->special = true;
        return made;
    }

    // relaxed: whoever copies a handle holds one, so the channel stays alive.
    channel(const channel& other) noexcept : c_(other.c_) {
        if (c_) c_->refs.fetch_add(1, std::memory_order_relaxed);
    }
    channel(channel&& other) noexcept : c_(std::exchange(other.c_, nullptr)) {}
    channel& operator=(channel other) noexcept {
        std::swap(c_, other.c_);
        return *this;
    }
    ~channel() {
        // release: for what this handle's owner did with the channel. acquire: for what the others did, before it is
        // destroyed.
        if (c_ && c_->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) delete c_;
    }

    // send waits until the value is in the channel, or with a receiver. Throws channel_closed if the channel is closed
    // before the call or during the wait; the value is destroyed then.
    void send(T value) const
        requires std::is_copy_constructible_v<T>
    {
        send_impl(std::move(value), nullptr);
    }
    void send(T value, const std::stop_token& stop) const
        requires std::is_copy_constructible_v<T>
    {
        send_impl(std::move(value), &stop);
    }
    // As above, for values that can't be copied.
    void send(T&& value) const
        requires(!std::is_copy_constructible_v<T>)
    {
        send_impl(std::move(value), nullptr);
    }
    void send(T&& value, const std::stop_token& stop) const
        requires(!std::is_copy_constructible_v<T>)
    {
        send_impl(std::move(value), &stop);
    }
    template <class... Args>
    void send(detail::not_held<T>, Args&&...) const {}

    // recv waits for a value. It returns empty once the channel is closed and drained.
    std::optional<T> recv() const { return recv_impl(nullptr); }
    std::optional<T> recv(const std::stop_token& stop) const { return recv_impl(&stop); }

    // try_send sends if it need not wait. Otherwise it returns false, with `value` as it was. (A value whose move may throw
    // is moved to a box first, and assigned back if it can be.) Throws channel_closed.
    bool try_send(T&& value) const { return send_if(std::move(value), detail::steady_limit(detail::at_once)); }
    bool try_send(const T& value) const
        requires std::is_copy_constructible_v<T>
    {
        return send_if(T(value), detail::steady_limit(detail::at_once));
    }
    template <class... Args>
    bool try_send(detail::not_held<T>, Args&&...) const { return false; }

    // try_recv receives if it need not wait. It returns empty if it would have to, or if the channel is closed and drained.
    std::optional<T> try_recv() const { return recv_within(detail::steady_limit(detail::at_once)); }

    // send_for and send_until wait until the value is sent or the time is over. In the latter case they return false, with
    // `value` as it was. Never early. They throw channel_closed.
    template <class Rep, class Period>
    bool send_for(T&& value, std::chrono::duration<Rep, Period> d) const {
        return send_if(std::move(value), detail::limit_after(d));
    }
    template <class Rep, class Period>
        requires std::is_copy_constructible_v<T>
    bool send_for(const T& value, std::chrono::duration<Rep, Period> d) const {
        return send_if(T(value), detail::limit_after(d));
    }
    template <class... Args>
    bool send_for(detail::not_held<T>, Args&&...) const { return false; }
    template <detail::clock_type Clock, class Duration>
    bool send_until(T&& value, std::chrono::time_point<Clock, Duration> t) const {
        return send_if(std::move(value), detail::limit_at(t));
    }
    template <detail::clock_type Clock, class Duration>
        requires std::is_copy_constructible_v<T>
    bool send_until(const T& value, std::chrono::time_point<Clock, Duration> t) const {
        return send_if(T(value), detail::limit_at(t));
    }
    template <class... Args>
    bool send_until(detail::not_held<T>, Args&&...) const { return false; }

    // recv_for and recv_until wait for a value until the time is over. They return empty if the time is over, or if the
    // channel is closed and drained. If closed() was true before the call, it is the latter.
    template <class Rep, class Period>
    std::optional<T> recv_for(std::chrono::duration<Rep, Period> d) const {
        return recv_within(detail::limit_after(d));
    }
    template <detail::clock_type Clock, class Duration>
    std::optional<T> recv_until(std::chrono::time_point<Clock, Duration> t) const {
        return recv_within(detail::limit_at(t));
    }

    // close says that nothing more will be sent. Receivers get the values that are left, then empty ones; senders that wait
    // get channel_closed. Throws usage_error if the channel is closed already, or nil. Linear in the waiters.
    void close() const { detail::channel_close(c_); }

    // closed, len (the number of buffered values) and cap (SIZE_MAX for an unbounded channel). If others use the channel,
    // the answer may be out of date already. For a handle without a channel: false and 0.
    bool closed() const noexcept { return c_ && c_->closed.load(std::memory_order_relaxed); }
    std::size_t len() const noexcept {
        if (!c_) return 0;
        const std::size_t n = c_->count.load(std::memory_order_relaxed);
        return c_->overflow ? n + detail::overflowed(*c_->overflow) : n;
    }
    std::size_t cap() const noexcept { return !c_ ? 0 : c_->overflow ? SIZE_MAX : c_->cap; }

    // False for handles without a channel, and for nil channels.
    explicit operator bool() const noexcept { return c_ && !c_->is_nil(); }
    friend bool operator==(const channel& a, const channel& b) noexcept { return a.c_ == b.c_; }

    // for (T& value : ch) receives until the channel is closed and drained.
    class iterator {
    public:
        using iterator_concept = std::input_iterator_tag;
        using value_type = T;
        using difference_type = std::ptrdiff_t;

        iterator() noexcept = default;
        T& operator*() const noexcept { return *value_; }
        T* operator->() const noexcept { return &*value_; }
        iterator& operator++() {
            value_.reset();
            if (std::optional<T> next = from_->recv()) value_.emplace(std::move(*next));
            return *this;
        }
        void operator++(int) { ++*this; }
        friend bool operator==(const iterator& i, std::default_sentinel_t) noexcept { return !i.value_; }

    private:
        friend channel;
        explicit iterator(const channel& from) : from_(&from) { ++*this; }
        const channel* from_ = nullptr;
        mutable std::optional<T> value_;
    };
    iterator begin() const { return iterator(*this); }
    std::default_sentinel_t end() const noexcept { return {}; }

private:
    friend detail::channel_access;

    void send_impl(T&& value, const std::stop_token* stop) const {
        if constexpr (!detail::boxed<T>)
            if (c_ && c_->try_push_fast(value)) return;
        detail::value_slot<T> slot;
        slot.put(std::move(value));
        owner held{slot};
        switch (detail::channel_send(c_, slot.bytes, detail::no_deadline, stop)) {
            case detail::channel_result::done: held.full = false; return;
            case detail::channel_result::closed: throw channel_closed();
            case detail::channel_result::not_now: return;
        }
    }

    template <class Limit>
    bool send_if(T&& value, const Limit& limit) const {
        if constexpr (!detail::boxed<T>)
            if (c_ && c_->try_push_fast(value)) return true;
        detail::value_slot<T> slot;
        slot.put(std::move(value));
        owner held{slot};
        auto result = detail::channel_result::not_now;
        detail::wait_within(limit, [&](std::int64_t deadline) {
            result = detail::channel_send(c_, slot.bytes, deadline, nullptr);
            return result != detail::channel_result::not_now;
        });
        if (result == detail::channel_result::done) {
            held.full = false;
            return true;
        }
        give_back(value, slot);
        if (result == detail::channel_result::closed) throw channel_closed();
        return false;
    }

    // Moves back by assignment if that can't fail: `value` may be the base of an object that has to stay whole.
    static void give_back(T& value, detail::value_slot<T>& slot) {
        if constexpr (!detail::boxed<T> && std::is_nothrow_move_assignable_v<T>) {
            value = std::move(slot.get());
        } else if constexpr (!detail::boxed<T>) {
            std::destroy_at(&value);
            std::construct_at(&value, std::move(slot.get()));
        } else if constexpr (std::is_move_assignable_v<T>) {
            value = std::move(*slot.get());
        }
    }

    std::optional<T> recv_impl(const std::stop_token* stop) const {
        detail::value_slot<T> slot;
        if (c_ && c_->try_pop_fast(slot)) return slot.take();
        if (detail::channel_recv(c_, slot.bytes, detail::no_deadline, stop) == detail::channel_result::done) return slot.take();
        return std::nullopt;
    }

    template <class Limit>
    std::optional<T> recv_within(const Limit& limit) const {
        detail::value_slot<T> slot;
        if (c_ && c_->try_pop_fast(slot)) return slot.take();
        auto result = detail::channel_result::not_now;
        detail::wait_within(limit, [&](std::int64_t deadline) {
            result = detail::channel_recv(c_, slot.bytes, deadline, nullptr);
            return result != detail::channel_result::not_now;
        });
        if (result == detail::channel_result::done) return slot.take();
        return std::nullopt;
    }

    struct owner {
        detail::value_slot<T>& slot;
        bool full = true;
        ~owner() {
            if (full) std::destroy_at(&slot.get());
        }
    };

    detail::channel_of<T>* c_ = nullptr;
};

namespace detail {

struct channel_access {
    template <class T>
    static channel_of<T>* of(const channel<T>& ch) noexcept {
        return ch.c_;
    }
    // Null: never ready.
    template <class T>
    static channel_of<T>* in_select(const channel<T>& ch) {
        if (!ch.c_) refuse_no_channel("select");
        return ch.c_->is_nil() ? nullptr : ch.c_;
    }
};

}  // namespace detail

}  // namespace handoff
