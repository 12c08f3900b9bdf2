// Sequences of operations on timers, tickers, sleeps and timed waits against a sequential model that knows what has to
// fire, and when.
//
// All in a simulation, so to the nanosecond. The driver operates at times that are whole units; so do the functions of
// timers and the other goroutines. All that is due is therefore due at whole units, too. A little after each of these
// instants, when everybody waits, the driver compares what has happened with the model. Where something is due at the
// very instant of an operation on it, either may come first; what the operation returns tells the model which.
#include "fuzz.hpp"

#include <handoff/handoff.hpp>

#include <algorithm>
#include <cstdarg>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace {

using time_ns = std::int64_t;   // since the begin of the simulation
using time_channel = handoff::channel<handoff::timer::time_point>;
using std::chrono::nanoseconds;

constexpr time_ns unit = 1000;
constexpr time_ns a_little = 10;
constexpr time_ns never = INT64_MAX;
constexpr std::size_t most_timers = 60, most_goroutines = 40;
constexpr unsigned most_operations = 200;
constexpr nanoseconds far_away = std::chrono::hours(24 * 365 * 50);   // not reached

// ---- The model of one timer ----------------------------------------------------------------------------------------

// What happens to one timer within the present instant, and what must have happened by its end.
struct model_timer {
    bool sends;            // to a channel; else it calls a function
    time_ns period;        // 0: once
    time_ns due;           // never: it does not run

    std::optional<time_ns> lies{};   // what lies in its channel since before this instant
    unsigned receivers = 0;          // that wait for its channel

    // Of this instant.
    unsigned fired = 0;              // known to have
    unsigned perhaps = 0;            // of which nothing tells whether they were before an operation at the same time
    bool anew = false;               // it has fired since its channel was emptied last
    bool took_old = false;           // what lay there was received, and nothing emptied the channel since
    unsigned happened = 0;           // calls of its function, receives of a new value

    bool runs() const { return due != never; }

    // What is due now but has not been seen to fire has perhaps, once it is stopped without an answer.
    void abandon(time_ns now) {
        if (due == now) ++perhaps;
        empty();
    }
    void empty() {
        due = never;
        lies.reset();
        anew = took_old = false;
    }

    // stopped: stop, or reset before it starts anew, has answered. Null if that was right.
    const char* stopped(time_ns now, bool was_running) {
        if (was_running && !runs() && !lies) return "it was not running";
        if (!was_running && runs() && due != now) return "it was running";
        if (!was_running && lies) return "nobody had received its time";
        if (!was_running && runs()) ++fired;   // just before
        empty();
        return nullptr;
    }

    // received: at `now` somebody got `value`. False if it can't have been there.
    bool received(time_ns now, time_ns value) {
        if (lies && *lies == value) {
            lies.reset();
            took_old = true;
            return true;
        }
        ++happened;
        return value == now;
    }

    // settle ends an instant. `left`: values that lie in the channel.
    const char* settle(time_ns now, std::size_t left) {
        if (runs() && due <= now) {
            ++fired;
            anew = true;
            due = period != 0 ? due + period : never;
        }
        const char* wrong = sends ? wrong_channel(left) : nullptr;
        if (happened + (sends && left != 0 && !lies ? 1 : 0) > fired + perhaps) wrong = "it fired when it was not to";
        if (!sends && happened < fired) wrong = "it did not fire when it was to";
        if (sends && left != 0 && !lies) lies = now;
        fired = perhaps = happened = 0;
        anew = took_old = false;
        return wrong;
    }

    const char* wrong_channel(std::size_t left) const {
        if (left > 1) return "its channel holds more than one time";
        if (left != 0 && receivers != 0) return "a time lies in its channel beside one that waits for it";
        if (lies && (left == 0 || happened != 0)) return "the time in its channel has gone";
        if (!lies && left != 0 && !anew) return "a time lies in its channel that should not";
        if (!lies && left == 0 && anew && happened == 0 && !took_old) return "it did not fire when it was to";
        return nullptr;
    }
};

// ---- The account of what was done ----------------------------------------------------------------------------------

struct event {
    time_ns at;
    std::string text;
};

[[gnu::format(printf, 1, 2)]] std::string text_of(const char* format, ...) {
    char buffer[200];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(buffer, sizeof buffer, format, arguments);
    va_end(arguments);
    return buffer;
}

std::string in_units(time_ns t) {
    if (t == never) return "never";
    const long long whole = t / unit, rest = std::abs(t % unit);
    return rest == 0 ? text_of("%lld", whole) : text_of("%lld.%03lld", whole, rest);
}

// ---- The game ------------------------------------------------------------------------------------------------------

struct slot {
    unsigned number;
    model_timer model;
    time_channel ch;
    std::optional<handoff::timer> once;
    std::optional<handoff::ticker> again;
    bool is_after = false;
    bool busy = false;   // somebody is within a call of it: by one at a time

    bool usable() const { return !busy && (once || again); }
};

// Who operates: the driver, a timer's function, or a goroutine that waits.
struct actor {
    const char* kind;
    unsigned number;
    slot* own = nullptr;
};

// A goroutine that sleeps or waits for timers, once.
struct party {
    unsigned number;
    time_ns deadline = never;
    std::vector<slot*> of;    // whose channels it waits for
    std::stop_source stop;
    time_ns stopped_at = never;
    bool ended = false;
    handoff::join_handle<void> handle;
};

class game {
public:
    explicit game(fuzz::choices& c, handoff::simulation& sim) : c_(c), sim_(sim) {}

    void play() {
        const actor me{"driver", 0};
        while (acts_left()) {
            switch (c_.below(8)) {
                case 0: advance(now() + unit * (1 + c_.below(4))); break;
                case 1: advance(now() + unit * (1 + c_.below(255))); break;
                case 2: advance_to_next(); break;
                default: act(me);
            }
        }
        finish();
    }

    [[noreturn]] void fail(const std::string& what) const {
        for (const event& e : events_) print(e);
        std::fprintf(stderr, "%10s  WRONG: %s\n(times in units of %lld ns; seed %llu of the simulation)\n",
                     in_units(now()).c_str(), what.c_str(), static_cast<long long>(unit),
                     static_cast<unsigned long long>(sim_.seed()));
        std::abort();
    }

private:
    static void print(const event& e) { std::fprintf(stderr, "%10s  %s\n", in_units(e.at).c_str(), e.text.c_str()); }
    time_ns now() const { return sim_.elapsed().count(); }
    bool acts_left() const { return !over_ && c_.any_left() && operations_ < most_operations; }
    void note(const actor& who, const std::string& did) {
        events_.push_back({now(), text_of("%s %u: %s", who.kind, who.number, did.c_str())});
        static const bool traced = std::getenv("HANDOFF_FUZZ_TRACE");   // for what ends elsewhere than in fail()
        if (traced) print(events_.back());
    }

    // ---- Operations ----

    void act(const actor& who) {
        ++operations_;
        switch (c_.below(14)) {
            case 0: make(who, false, 0); break;
            case 1:   // a heap with several levels
                for (unsigned n = 2 + c_.below(8); n > 0; --n) make(who, false, 0);
                break;
            case 2: make(who, true, 0); break;
            case 3: make(who, true, unit * (1 + c_.below(8))); break;
            case 4: make_after(who); break;
            case 5: stop(who); break;
            case 6: case 7: reset(who); break;
            case 8: drop(who); break;
            case 9: try_recv(who); break;
            case 10: start_sleep(who); break;
            case 11: case 12: start_wait(who); break;
            default: cancel(who);
        }
    }

    nanoseconds any_duration() {
        constexpr int some[] = {0, 1, 2, 3, 4, 5, 7, 10, 20, 50, 100, -1};
        const unsigned i = c_.below(std::size(some) + 1);
        return i < std::size(some) ? nanoseconds(unit * some[i]) : far_away;
    }
    static time_ns after_now(time_ns now, nanoseconds d) { return now + std::max<time_ns>(d.count(), 0); }

    slot* any_slot(const actor& who) {
        const unsigned n = static_cast<unsigned>(slots_.size()) + (who.own ? 3 : 0);
        const unsigned i = n != 0 ? c_.below(n) : 0;
        if (i < slots_.size()) return slots_[i].get();
        return who.own;
    }

    slot& new_slot(bool sends, time_ns period, time_ns due) {
        const auto n = static_cast<unsigned>(slots_.size());
        slots_.push_back(std::make_unique<slot>(slot{n, {sends, period, due}, {}, {}, {}}));
        return *slots_.back();
    }

    void make(const actor& who, bool sends, time_ns period) {
        if (slots_.size() == most_timers) return;
        const nanoseconds d = period != 0 ? nanoseconds(period) : any_duration();
        // busy, since nobody knows it yet but itself: it may fire within its constructor.
        slot& s = new_slot(sends, period, after_now(now(), d));
        s.busy = true;
        note(who, text_of("timer %u: a %s, in %s", s.number, period ? "ticker" : sends ? "timer" : "function",
                          in_units(d.count()).c_str()));
        if (period != 0) s.again.emplace(d);
        else if (sends) s.once.emplace(d);
        else s.once.emplace(d, [this, &s] { called(s); });
        if (sends) s.ch = period != 0 ? s.again->chan() : s.once->chan();
        s.busy = false;
    }

    void make_after(const actor& who) {
        if (slots_.size() == most_timers) return;
        const nanoseconds d = any_duration();
        slot& s = new_slot(true, 0, after_now(now(), d));
        note(who, text_of("timer %u: an after, in %s", s.number, in_units(d.count()).c_str()));
        s.is_after = true;
        s.ch = handoff::after(d);
    }

    void check(const slot& s, const char* wrong) const {
        if (wrong) fail(text_of("timer %u: %s", s.number, wrong));
    }

    void stop(const actor& who) {
        slot* s = any_slot(who);
        if (!s || !s->usable()) return;
        s->busy = true;
        if (s->once) {
            const bool was = s->once->stop();
            note(who, text_of("stop timer %u: %s", s->number, was ? "true" : "false"));
            check(*s, s->model.stopped(now(), was));
        } else {
            s->again->stop();
            note(who, text_of("stop ticker %u", s->number));
            s->model.abandon(now());
        }
        s->busy = false;
    }

    void reset(const actor& who) {
        slot* s = any_slot(who);
        if (!s || !s->usable()) return;
        s->busy = true;
        if (s->once) {
            const nanoseconds d = any_duration();
            const bool was = s->once->reset(d);
            note(who, text_of("reset timer %u to %s: %s", s->number, in_units(d.count()).c_str(),
                              was ? "true" : "false"));
            check(*s, s->model.stopped(now(), was));
            s->model.due = after_now(now(), d);
        } else {
            const nanoseconds d(unit * (1 + c_.below(8)));
            s->again->reset(d);
            note(who, text_of("reset ticker %u to %s", s->number, in_units(d.count()).c_str()));
            s->model.abandon(now());
            s->model.period = d.count();
            s->model.due = now() + d.count();
        }
        s->busy = false;
    }

    void drop(const actor& who) {
        slot* s = any_slot(who);
        if (!s || !s->usable()) return;
        note(who, text_of("drop timer %u", s->number));
        s->busy = true;
        if (s->once) s->once.reset();
        else s->again.reset();
        s->model.abandon(now());
        s->busy = false;
    }

    void try_recv(const actor& who) {
        slot* s = any_slot(who);
        if (!s || !s->ch) return;
        received(who, *s, s->ch.try_recv());
    }

    void received(const actor& who, slot& s, std::optional<handoff::timer::time_point> got) {
        if (!got) return note(who, text_of("nothing from timer %u", s.number));
        const time_ns value = now() - (handoff::clock::now() - *got).count();
        note(who, text_of("received %s from timer %u", in_units(value).c_str(), s.number));
        if (!s.model.received(now(), value)) fail(text_of("timer %u can't have sent that", s.number));
    }

    // What a timer's function does.
    void called(slot& s) {
        ++calling_;
        const actor me{"function of timer", s.number, &s};
        note(me, "called");
        if (now() % unit != 0) fail(text_of("timer %u: it did not fire when it was to", s.number));
        ++s.model.happened;
        for (unsigned n = acts_left() ? c_.below(4) : 0; n > 0 && acts_left(); --n) act(me);
        --calling_;
    }

    // ---- Goroutines that wait ----

    party* new_party(nanoseconds d) {
        if (parties_.size() == most_goroutines) return nullptr;
        party& p = *parties_.emplace_back(std::make_unique<party>());
        p.number = static_cast<unsigned>(parties_.size());
        p.deadline = after_now(now(), d);
        return &p;
    }

    // ended: p's wait is over; by its deadline, or early since it got something or was cancelled.
    void ended(party& p, bool timed_out, bool cancelled) {
        for (slot* s : p.of) --s->model.receivers;
        p.ended = true;
        if (timed_out && now() != p.deadline)
            fail(text_of("goroutine %u: its time was over at %s", p.number, in_units(p.deadline).c_str()));
        if (now() > p.deadline) fail(text_of("goroutine %u waited for too long", p.number));
        if (cancelled && now() != p.stopped_at) fail(text_of("goroutine %u: was not cancelled now", p.number));
    }

    void start_sleep(const actor& who) {
        const nanoseconds d = any_duration();
        party* p = new_party(d);
        if (!p) return;
        note(who, text_of("goroutine %u: sleep for %s", p->number, in_units(d.count()).c_str()));
        p->handle = handoff::go([this, p, d] {
            const actor me{"goroutine", p->number};
            bool cancelled = false;
            try {
                handoff::this_goroutine::sleep_for(d, p->stop.get_token());
            } catch (const handoff::cancelled&) {
                cancelled = true;
            }
            note(me, cancelled ? "cancelled" : "slept");
            ended(*p, !cancelled, cancelled);
        });
    }

    // A receive from a timer's channel with a limit; or a select on some of them.
    void start_wait(const actor& who) {
        const nanoseconds d = any_duration();
        std::vector<slot*> of;
        for (unsigned n = c_.below(4); of.size() <= n;) {
            slot* s = any_slot(who);
            if (!s || !s->ch) break;
            of.push_back(s);
        }
        party* p = of.empty() ? nullptr : new_party(d);
        if (!p) return;
        const bool selects = of.size() > 1 || d == far_away;   // a far one needs to be cancelled
        std::string list;
        for (const slot* s : of) list += text_of(" %u", s->number);
        note(who, text_of("goroutine %u: %s%s for %s", p->number, selects ? "select" : "receive", list.c_str(),
                          in_units(d.count()).c_str()));
        p->of = std::move(of);
        for (slot* s : p->of) ++s->model.receivers;
        p->handle = handoff::go([this, p, selects] { selects ? select(*p) : receive(*p); });
    }

    nanoseconds left_of(const party& p) const { return nanoseconds(p.deadline - now()); }

    void receive(party& p) {
        const auto got = p.of[0]->ch.recv_for(left_of(p));
        ended(p, !got, false);
        received({"goroutine", p.number}, *p.of[0], got);
    }

    void select(party& p) {
        const actor me{"goroutine", p.number};
        std::optional<handoff::timer::time_point> got;
        std::vector<handoff::select_case> cases;
        for (const slot* s : p.of) cases.push_back(handoff::on_recv(s->ch, got));
        cases.push_back(handoff::on_timeout(left_of(p)));
        cases.push_back(handoff::on_stop(p.stop.get_token()));
        const std::size_t i = handoff::select(cases);
        ended(p, i == p.of.size(), i == p.of.size() + 1);
        if (i < p.of.size()) received(me, *p.of[i], got);
        else note(me, i == p.of.size() ? "timed out" : "cancelled");
    }

    void cancel(const actor& who) {
        if (!parties_.empty()) cancel(who, *parties_[c_.below(static_cast<unsigned>(parties_.size()))]);
    }
    void cancel(const actor& who, party& p) {
        if (p.stopped_at != never) return;
        note(who, text_of("cancel goroutine %u", p.number));
        p.stopped_at = now();
        p.stop.request_stop();
    }

    // ---- Time ----

    time_ns next_due() const {
        time_ns next = never;
        for (const auto& s : slots_) next = std::min(next, s->model.due);
        for (const auto& p : parties_)
            if (!p->ended) next = std::min(next, p->deadline);
        return next;
    }

    // advance goes on from this instant to t, a later one, and compares after each at which something is due before it.
    // The driver is up shortly before and after these, when nothing is to fire, but not at them.
    void advance(time_ns t) {
        settle(now());
        for (time_ns next = next_due(); next < t; next = next_due()) {
            sleep_until(next - unit / 2);
            settle(next);
        }
        sleep_until(t);
    }

    // Of what becomes due within this instant the driver sees nothing.
    void advance_to_next() {
        const time_ns next = next_due();
        advance(next > now() && next < now() + far_away.count() / 2 ? next : now() + unit);
    }

    void sleep_until(time_ns t) {
        handoff::this_goroutine::sleep_for(nanoseconds(t - now()));
        if (now() != t) fail(text_of("the driver woke then, and not at %s", in_units(t).c_str()));
    }

    // settle lets everybody go on at that instant until all wait, and compares.
    void settle(time_ns instant) {
        sleep_until(instant + a_little);
        for (const auto& s : slots_) check(*s, s->model.settle(instant, s->ch.len()));
        for (const auto& p : parties_) {
            if (p->ended) continue;
            if (p->deadline <= instant) fail(text_of("goroutine %u still waits", p->number));
            const bool can_be_stopped = p->of.size() != 1 || left_of(*p) > far_away / 2;
            if (p->stopped_at != never && can_be_stopped)
                fail(text_of("goroutine %u was cancelled, and waits", p->number));
        }
        if (calling_ != 0) fail("the function of a timer hangs");
    }

    // finish stops everything, and sees that nothing happens any more.
    void finish() {
        over_ = true;
        const actor me{"driver", 0};
        settle(now());
        for (const auto& p : parties_)
            if (!p->ended) cancel(me, *p);
        for (const auto& s : slots_) {
            s->once.reset();
            s->again.reset();
        }
        note(me, "all are stopped");
        sleep_until(now() + 200 * unit);
        for (const auto& s : slots_)
            if (!s->is_after && (s->model.happened != 0 || s->ch.len() != 0))
                fail(text_of("timer %u: there is something of it after the end", s->number));
        for (const auto& p : parties_) {
            if (!p->ended) fail(text_of("goroutine %u still waits", p->number));
            p->handle.join();
        }
    }

    fuzz::choices& c_;
    handoff::simulation& sim_;
    std::vector<std::unique_ptr<slot>> slots_;
    std::vector<std::unique_ptr<party>> parties_;
    std::vector<event> events_;
    unsigned operations_ = 0;
    unsigned calling_ = 0;   // functions of timers that are at work
    bool over_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::choices c(data, size);
    handoff::simulation sim(c.below(256), {.stack_size = 64 * 1024});   // small: what ASan does costs by the size
    game g(c, sim);
    try {
        sim.run([&] { g.play(); });
    } catch (const std::exception& e) {
        g.fail(e.what());
    }
    return 0;
}
