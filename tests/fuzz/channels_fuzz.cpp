// Sequences of operations on channels and selects against a sequential model that knows who waits where.
//
// All on one processor. Each operation that may wait is a goroutine of its own, a `party`, which the model knows to be
// either over or in certain queues; before the next operation all that can go on has gone on. So the order in all queues
// is that of the operations. Where the library chooses at random (among the ready cases of a select) the model follows.
#include "fuzz.hpp"

#include <handoff/handoff.hpp>

#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <stop_token>
#include <vector>

namespace {

using handoff::channel;
using value = std::uint32_t;

constexpr unsigned channel_count = 3;
constexpr std::size_t no_case = SIZE_MAX;

// One case of a party: a send or a receive is a select of one.
struct operation {
    unsigned channel;
    bool sends;
    value v;   // what is sent
};

enum class outcome { waits, done, closed, cancelled };

struct party {
    std::vector<operation> cases;
    bool selects = false;
    std::stop_source stop;
    handoff::join_handle<void> handle;

    // What really happened; written by its goroutine.
    outcome is = outcome::waits;
    std::size_t fired = no_case;
    std::optional<value> received;

    // What the model says. Of an outcome `done`: at one of these cases, with what each receives.
    outcome expected = outcome::waits;
    unsigned at = 0;
    bool sent = false;
    std::optional<value> expected_value;
};

struct model_channel {
    std::size_t capacity;
    std::deque<value> ring;
    bool closed = false;
    std::vector<party*> senders, receivers;   // an entry for each case that waits
};

class game {
public:
    explicit game(fuzz::choices& c) : c_(c) {
        for (unsigned i = 0; i < channel_count; ++i) {
            const unsigned capacity = c_.below(4);
            real_.emplace_back(capacity);
            model_.push_back({capacity, {}, false, {}, {}});
        }
    }

    void play() {
        while (c_.any_left() && parties_.size() < 64) {
            step();
            settle();
            for (unsigned i = 0; i < channel_count; ++i) {
                FUZZ_CHECK(real_[i].len() == model_[i].ring.size());
                FUZZ_CHECK(real_[i].closed() == model_[i].closed);
            }
        }
        for (auto& p : parties_)
            if (p->expected == outcome::waits) cancel(*p);
        settle();
        for (auto& p : parties_) p->handle.join();
    }

private:
    void step() {
        const unsigned at = c_.below(channel_count);
        switch (c_.below(8)) {
            case 0: start({{at, true, ++last_}}, false); break;
            case 1: start({{at, false, 0}}, false); break;
            case 2: case 3: start(any_cases(), true); break;
            case 4: try_send(at); break;
            case 5: try_recv(at); break;
            case 6: close(at); break;
            default:
                if (!parties_.empty()) cancel(*parties_[c_.below(static_cast<unsigned>(parties_.size()))]);
        }
    }

    std::vector<operation> any_cases() {
        std::vector<operation> cases;
        for (unsigned n = 1 + c_.below(4); n > 0; --n) {
            const unsigned at = c_.below(channel_count);
            const bool sends = c_.below(2) != 0;
            cases.push_back({at, sends, sends ? ++last_ : 0});
        }
        return cases;
    }

    // ---- The library's side ----

    void start(std::vector<operation> cases, bool selects) {
        party& p = *parties_.emplace_back(std::make_unique<party>());
        p.cases = std::move(cases);
        p.selects = selects;
        const std::vector<std::size_t> ready = ready_cases(p);
        p.handle = handoff::go([this, &p] { p.selects ? select(p) : single(p); });
        if (ready.empty()) {
            for (const operation& o : p.cases) queue(o).push_back(&p);
            return;
        }
        while (p.is == outcome::waits) handoff::this_goroutine::yield();
        // Which of them it was is the library's choice.
        FUZZ_CHECK(std::find(ready.begin(), ready.end(), p.fired) != ready.end());
        carry_out(p, p.cases[p.fired]);
    }

    void single(party& p) {
        const operation o = p.cases[0];
        try {
            p.fired = 0;
            if (o.sends) {
                real_[o.channel].send(o.v, p.stop.get_token());
            } else {
                p.received = real_[o.channel].recv(p.stop.get_token());
            }
            p.is = outcome::done;
        } catch (const handoff::channel_closed&) {
            p.is = outcome::closed;
        } catch (const handoff::cancelled&) {
            p.is = outcome::cancelled;
        }
    }

    void select(party& p) {
        std::vector<handoff::select_case> cases;
        for (std::size_t i = 0; i < p.cases.size(); ++i) {
            const operation& o = p.cases[i];
            if (o.sends) cases.push_back(handoff::on_send(real_[o.channel], o.v));
            else cases.push_back(handoff::on_recv(real_[o.channel], p.received));
        }
        cases.push_back(handoff::on_stop(p.stop.get_token()));
        try {
            const std::size_t i = handoff::select(cases);
            p.fired = i < p.cases.size() ? i : no_case;
            p.is = p.fired == no_case ? outcome::cancelled : outcome::done;
        } catch (const handoff::channel_closed&) {
            // It is not told which; one that sends on a channel that is closed.
            p.is = outcome::closed;
            for (std::size_t k = 0; k < p.cases.size(); ++k)
                if (p.cases[k].sends && model_[p.cases[k].channel].closed) p.fired = k;
            FUZZ_CHECK(p.fired != no_case);
        }
    }

    void try_send(unsigned at) {
        const operation o{at, true, ++last_};
        bool sent = false, thrown = false;
        try {
            sent = real_[at].try_send(o.v);
        } catch (const handoff::channel_closed&) {
            thrown = true;
        }
        FUZZ_CHECK(thrown == model_[at].closed);
        FUZZ_CHECK(sent == (!thrown && is_ready(o)));
        if (sent) move(o);
    }

    void try_recv(unsigned at) {
        const operation o{at, false, 0};
        const std::optional<value> got = real_[at].try_recv();
        const bool can = is_ready(o) && !(model_[at].closed && model_[at].ring.empty());
        FUZZ_CHECK(got.has_value() == can);
        if (can) FUZZ_CHECK(move(o) == got);
    }

    void close(unsigned at) {
        model_channel& m = model_[at];
        bool thrown = false;
        const bool twice = std::exchange(m.closed, true);   // before: a select that hears of it looks here
        try {
            real_[at].close();
        } catch (const handoff::usage_error&) {
            thrown = true;
        }
        FUZZ_CHECK(thrown == twice);
        while (!m.receivers.empty()) end(*m.receivers.front(), outcome::done, at, false, std::nullopt);
        while (!m.senders.empty()) end(*m.senders.front(), outcome::closed, at, true, std::nullopt);
    }

    void cancel(party& p) {
        p.stop.request_stop();
        if (p.expected == outcome::waits) end(p, outcome::cancelled, 0, false, std::nullopt);
    }

    // settle lets all goroutines go on that can, and compares those that have ended with the model.
    void settle() {
        for (int i = 0; i < 3; ++i) handoff::this_goroutine::yield();
        for (auto& p : parties_) {
            for (int i = 0; p->is == outcome::waits && p->expected != outcome::waits; ++i) {
                FUZZ_CHECK(i < 1'000'000);
                handoff::this_goroutine::yield();
            }
            FUZZ_CHECK(p->is == p->expected);
            if (p->is != outcome::done) continue;
            const operation& o = p->cases[p->fired];
            FUZZ_CHECK(o.channel == p->at && o.sends == p->sent);
            if (!o.sends) FUZZ_CHECK(p->received == p->expected_value);
        }
    }

    // ---- The model's side ----

    std::vector<party*>& queue(const operation& o) {
        return o.sends ? model_[o.channel].senders : model_[o.channel].receivers;
    }

    bool is_ready(const operation& o) const {
        const model_channel& m = model_[o.channel];
        if (m.closed) return true;
        return o.sends ? m.ring.size() < m.capacity || !m.receivers.empty() : !m.ring.empty() || !m.senders.empty();
    }

    std::vector<std::size_t> ready_cases(const party& p) const {
        std::vector<std::size_t> ready;
        for (std::size_t i = 0; i < p.cases.size(); ++i)
            if (is_ready(p.cases[i])) ready.push_back(i);
        return ready;
    }

    // carry_out: p has just done o.
    void carry_out(party& p, const operation& o) {
        if (o.sends && model_[o.channel].closed) return end(p, outcome::closed, o.channel, true, std::nullopt);
        const std::optional<value> got = move(o);
        end(p, outcome::done, o.channel, o.sends, got);
    }

    // move does o, which is ready and no send on a closed channel; what it receives, if anything.
    std::optional<value> move(const operation& o) {
        model_channel& m = model_[o.channel];
        if (o.sends) {
            if (!m.receivers.empty()) end(*m.receivers.front(), outcome::done, o.channel, false, o.v);
            else m.ring.push_back(o.v);
            return std::nullopt;
        }
        if (m.ring.empty() && m.senders.empty()) return std::nullopt;   // closed
        if (!m.senders.empty()) m.ring.push_back(send_of(*m.senders.front(), o.channel));
        const value v = m.ring.front();
        m.ring.pop_front();
        return v;
    }

    // send_of ends a waiting sender; returns what it has sent. Of several cases on that channel any may have been the one:
    // only the real select knows.
    value send_of(party& p, unsigned at) {
        end(p, outcome::done, at, true, std::nullopt);
        while (p.is == outcome::waits) handoff::this_goroutine::yield();
        FUZZ_CHECK(p.is == outcome::done && p.cases[p.fired].channel == at && p.cases[p.fired].sends);
        return p.cases[p.fired].v;
    }

    void end(party& p, outcome how, unsigned at, bool sent, std::optional<value> v) {
        p.expected = how;
        p.at = at;
        p.sent = sent;
        p.expected_value = v;
        for (model_channel& m : model_) {
            std::erase(m.senders, &p);
            std::erase(m.receivers, &p);
        }
    }

    fuzz::choices& c_;
    std::vector<channel<value>> real_;
    std::vector<model_channel> model_;
    std::vector<std::unique_ptr<party>> parties_;
    value last_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static handoff::runtime rt({.procs = 1});
    rt.run([&] {
        fuzz::choices c(data, size);
        game(c).play();
    });
    return 0;
}
