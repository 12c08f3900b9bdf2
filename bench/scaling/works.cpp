// The works. What is counted lies between two rendezvous of all Ps, or, where one goroutine drives the others, between
// two of its steps; the start of the runtime and its end are not counted.
#include "works.hpp"

#include "lines.hpp"
#include "sched/sched.hpp"

#include <handoff/handoff.hpp>

#include <atomic>
#include <deque>
#include <memory>

namespace scaling {

namespace {

using namespace std::chrono_literals;
using handoff::go;
namespace here = handoff::this_goroutine;

// The monitor looks every 10 ms, which is longer than any work but those about the monitor lasts.
handoff::options quiet(unsigned procs) {
    handoff::options o;
    o.procs = procs;
    o.stack_size = 64 * 1024;
    o.syscall_grace = o.syscall_retake_after = 10ms;
    o.retake_running_after = 1h;
    return o;
}

handoff::options usual(unsigned procs) {
    handoff::options o;
    o.procs = procs;
    o.stack_size = 64 * 1024;
    return o;
}

void begin() { memory.begin(); }
void end() { memory.end(); }

// on_every_p runs body(i) on a goroutine on each P: nobody goes on before each is on a P of its own. before(i) is not
// counted, and neither is after(i).
struct nothing {
    void operator()(unsigned) const {}
};
template <class Body, class Before = nothing, class After = nothing>
outcome on_every_p(const handoff::options& o, unsigned each, Body body, Before before = {}, After after = {}) {
    outcome out;
    out.operations = static_cast<double>(o.procs) * each;
    handoff::runtime rt(o);
    rt.run([&] {
        handoff::wait_group all;
        for (unsigned i = 0; i < o.procs; ++i) {
            all.add(1);
            go([&, i] {
                the.rendezvous(o.procs, nullptr);
                before(i);
                the.rendezvous(o.procs, begin);
                body(i);
                the.rendezvous(o.procs, end);
                after(i);
                all.done();
            });
        }
        all.wait();
        out.names.add_runtime();
    });
    return out;
}

// An object on cache lines of its own, for each P.
template <class T>
struct alignas(2 * line_size) apart {
    T value{};
};

unsigned each_of(unsigned total, unsigned procs, unsigned least) { return std::max(total / procs, least); }

// ---- What a P does alone ----

outcome spawn(unsigned procs, unsigned total) {
    constexpr unsigned batch = 16;
    const unsigned each = each_of(total, procs, 4 * batch) / batch * batch;
    std::vector<apart<std::atomic<unsigned>>> ended(procs);
    const auto some = [&](unsigned i, unsigned count) {
        std::atomic<unsigned>& n = ended[i].value;
        n.store(0, std::memory_order_relaxed);
        for (unsigned started = 0; started < count;) {
            for (unsigned k = 0; k < batch; ++k) go([&n] { n.fetch_add(1, std::memory_order_relaxed); });
            started += batch;
            while (n.load(std::memory_order_relaxed) < started) here::yield();
        }
    };
    return on_every_p(quiet(procs), each, [&](unsigned i) { some(i, each); }, [&](unsigned i) { some(i, 4 * batch); });
}

outcome join(unsigned procs, unsigned total) {
    const unsigned each = each_of(total, procs, 32);
    const auto some = [](unsigned count) {
        for (unsigned k = 0; k < count; ++k) go([] {}).join();
    };
    return on_every_p(quiet(procs), each, [&](unsigned) { some(each); }, [&](unsigned) { some(8); });
}

outcome yield(unsigned procs, unsigned total) {
    const unsigned each = each_of(total, procs, 64);
    std::vector<apart<std::atomic<bool>>> stop(procs);
    const auto start = [&](unsigned i) {
        go([&stop, i] {
            while (!stop[i].value.load(std::memory_order_relaxed)) here::yield();
        });
        for (unsigned k = 0; k < 8; ++k) here::yield();
    };
    const auto body = [&](unsigned) {
        for (unsigned k = 0; k < each; ++k) here::yield();
    };
    return on_every_p(quiet(procs), each, body, start, [&](unsigned i) { stop[i].value.store(true, std::memory_order_relaxed); });
}

outcome channel_on_one_p(unsigned procs, unsigned total) {
    const unsigned each = each_of(total, procs, 64);
    std::vector<apart<handoff::channel<int>>> there(procs), back(procs);
    const auto start = [&](unsigned i) {
        there[i].value = handoff::channel<int>(0);
        back[i].value = handoff::channel<int>(0);
        go([&, i] {
            while (auto v = there[i].value.recv()) back[i].value.send(*v);
        });
        for (int k = 0; k < 8; ++k) {
            there[i].value.send(k);
            back[i].value.recv();
        }
    };
    const auto body = [&](unsigned i) {
        for (unsigned k = 0; k < each; ++k) {
            there[i].value.send(1);
            back[i].value.recv();
        }
    };
    return on_every_p(quiet(procs), each, body, start, [&](unsigned i) { there[i].value.close(); });
}

outcome mutex_own(unsigned procs, unsigned total) {
    const unsigned each = each_of(total, procs, 64);
    std::vector<apart<handoff::mutex>> own(procs);
    const auto some = [&](unsigned i, unsigned count) {
        for (unsigned k = 0; k < count; ++k) std::lock_guard hold(own[i].value);
    };
    return on_every_p(quiet(procs), each, [&](unsigned i) { some(i, each); }, [&](unsigned i) { some(i, 8); });
}

outcome brackets(unsigned procs, unsigned total) {
    const unsigned each = each_of(total, procs, 64);
    const auto some = [](unsigned count) {
        for (unsigned k = 0; k < count; ++k) handoff::syscall_guard guard;
    };
    return on_every_p(quiet(procs), each, [&](unsigned) { some(each); }, [&](unsigned) { some(8); });
}

outcome sleep_on_every_p(unsigned procs, unsigned total) {
    constexpr unsigned sleepers = 8;
    const unsigned each = each_of(total, procs, 4 * sleepers) / sleepers;
    const auto some = [](unsigned count) {
        handoff::wait_group all;
        for (unsigned g = 0; g < sleepers; ++g) {
            all.add(1);
            go([&all, count] {
                for (unsigned k = 0; k < count; ++k) here::sleep_for(20us);
                all.done();
            });
        }
        all.wait();
    };
    outcome out = on_every_p(quiet(procs), each, [&](unsigned) { some(each); }, [&](unsigned) { some(1); });
    out.operations *= sleepers;
    return out;
}

// ---- What Ps do with each other ----

outcome channel_pairs(unsigned procs, unsigned total, unsigned capacity) {
    const unsigned each = each_of(total, procs, 32);
    std::vector<apart<handoff::channel<int>>> pipes(procs / 2);
    for (auto& c : pipes) c.value = handoff::channel<int>(capacity);
    const auto body = [&](unsigned i) {
        if (i / 2 >= pipes.size()) return;
        auto& c = pipes[i / 2].value;
        for (unsigned k = 0; k < each; ++k) {
            if (i % 2 == 0) c.send(1);
            else c.recv();
        }
    };
    outcome out = on_every_p(quiet(procs), each, body);
    out.operations = static_cast<double>(pipes.size()) * each;
    return out;
}
outcome unbuffered_pairs(unsigned procs, unsigned total) { return channel_pairs(procs, total, 0); }
outcome buffered_pairs(unsigned procs, unsigned total) { return channel_pairs(procs, total, 64); }

outcome buffered_shared(unsigned procs, unsigned total) {
    const unsigned each = each_of(total, procs, 16);
    handoff::channel<int> c(256);
    const auto body = [&](unsigned i) {
        if (i == procs - procs % 2) return;
        for (unsigned k = 0; k < each; ++k) {
            if (i % 2 == 0) c.send(1);
            else c.recv();
        }
    };
    outcome out = on_every_p(quiet(procs), each, body);
    out.operations = static_cast<double>(procs / 2) * each;
    return out;
}

outcome mutex_shared(unsigned procs, unsigned total) {
    const unsigned each = each_of(total, procs, 16);
    handoff::mutex one;
    const auto body = [&](unsigned) {
        for (unsigned k = 0; k < each; ++k) {
            {
                std::lock_guard hold(one);
                compute(100 * ns);
            }
            compute(1 * us);
        }
    };
    return on_every_p(quiet(procs), each, body);
}

// A token for every second P goes round: each step readies a goroutine that waits.
outcome ring(unsigned procs, unsigned total) {
    const unsigned each = each_of(total, procs, 16), tokens = std::max(procs / 2, 1u);
    std::vector<apart<handoff::channel<int>>> links(procs);
    for (auto& c : links) c.value = handoff::channel<int>(procs);
    const auto body = [&](unsigned i) {
        for (unsigned k = 0; k < each; ++k) {
            links[i].value.recv();
            compute(500 * ns);
            links[(i + 1) % procs].value.send(1);
        }
    };
    return on_every_p(quiet(procs), each, body, [&](unsigned i) {
        if (i < tokens) links[2 * i].value.send(1);
    });
}

// One P spawns tasks of 2 us each, which the others come and take.
outcome fan_out(unsigned procs, unsigned total) {
    const unsigned tasks = std::max(total, 16 * procs);
    outcome out;
    out.operations = tasks;
    handoff::runtime rt(quiet(procs));
    rt.run([&] {
        handoff::wait_group all;
        begin();
        for (unsigned i = 0; i < tasks; ++i) {
            all.add(1);
            go([&all] {
                compute(2 * us);
                all.done();
            });
        }
        all.wait();
        end();
        out.names.add_runtime();
    });
    return out;
}

// A tree of goroutines, each of which starts one half and does the other.
unsigned leaves(unsigned n) {
    if (n <= 1) {
        compute(500 * ns);
        return 1;
    }
    auto half = go([n] { return leaves(n / 2); });
    const unsigned other = leaves(n - n / 2);
    return other + half.join();
}

outcome fork_join(unsigned procs, unsigned total) {
    const unsigned n = std::max(total, 16 * procs);
    outcome out;
    out.operations = n;
    handoff::runtime rt(quiet(procs));
    rt.run([&] {
        leaves(n / 4);   // threads are made
        begin();
        leaves(n);
        end();
        out.names.add_runtime();
    });
    return out;
}

// Threads that are none of the runtime's submit goroutines of 1 us, as many threads as a fourth of the Ps.
struct submitter {
    handoff::runtime* rt;
    handoff::wait_group* all;
    unsigned count, of;
};

void* submit(void* arg) {
    submitter& s = *static_cast<submitter*>(arg);
    the.rendezvous(s.of, begin);
    for (unsigned i = 0; i < s.count; ++i) {
        s.all->add(1);
        s.rt->go([all = s.all] {
            compute(1 * us);
            all->done();
        });
        compute(500 * ns);
    }
    return nullptr;
}

outcome go_from_outside(unsigned procs, unsigned total) {
    const unsigned threads = std::max(procs / 4, 1u), each = each_of(total, threads, 16);
    outcome out;
    out.operations = static_cast<double>(threads) * each;
    handoff::runtime rt(quiet(procs));
    handoff::wait_group all;
    std::deque<submitter> submitters(threads, {&rt, &all, each, threads});
    std::vector<unsigned long> ids(threads);
    for (unsigned i = 0; i < threads; ++i) the.create(&ids[i], submit, &submitters[i]);
    for (unsigned long id : ids) the.join(id);
    all.wait();
    end();
    rt.run([&] { out.names.add_runtime(); });
    return out;
}

// ---- Blocking calls ----

outcome calls(const handoff::options& o, unsigned total, handoff::handoff_policy policy, ps lasts) {
    constexpr unsigned goroutines = 4;   // a P
    const unsigned each = each_of(total, o.procs, 4 * goroutines) / goroutines;
    const auto some = [=](unsigned count) {
        handoff::wait_group all;
        for (unsigned g = 0; g < goroutines; ++g) {
            all.add(1);
            go([&all, count, policy, lasts] {
                for (unsigned k = 0; k < count; ++k) {
                    {
                        handoff::syscall_guard guard(policy);
                        sleep(lasts);
                    }
                    compute(2 * us);
                }
                all.done();
            });
        }
        all.wait();
    };
    outcome out;
    out.operations = static_cast<double>(o.procs) * goroutines * each;
    handoff::runtime rt(o);
    rt.run([&] {
        handoff::wait_group all;
        const auto on_all = [&](unsigned count) {
            for (unsigned i = 0; i < o.procs; ++i) {
                all.add(1);
                go([&all, &some, count] {
                    some(count);
                    all.done();
                });
            }
            all.wait();
        };
        on_all(1);   // threads are made
        begin();
        on_all(each);
        end();
        out.names.add_runtime();
    });
    return out;
}
outcome calls_immediate(unsigned procs, unsigned total) {
    return calls(quiet(procs), total, handoff::handoff_policy::immediate, 10 * us);
}
outcome calls_by_monitor(unsigned procs, unsigned total) {
    return calls(usual(procs), total, handoff::handoff_policy::sysmon, 200 * us);
}

// ---- What grows with the number of Ps ----

// One goroutine sleeps 200 us again and again, and all Ps are idle meanwhile.
outcome idle_cycle(unsigned procs, unsigned total) {
    const unsigned each = std::max(total / procs, 8u);
    outcome out;
    out.operations = each;
    handoff::runtime rt(quiet(procs));
    rt.run([&] {
        for (unsigned k = 0; k < 4; ++k) here::sleep_for(200us);
        begin();
        for (unsigned k = 0; k < each; ++k) here::sleep_for(200us);
        end();
        out.names.add_runtime();
    });
    return out;
}

// All Ps but one compute; one goroutine wakes another, which runs on another P.
outcome wake_one_of_all(unsigned procs, unsigned total) {
    const unsigned each = std::max(total / procs, 16u);
    outcome out;
    out.operations = each;
    handoff::runtime rt(quiet(procs));
    rt.run([&] {
        handoff::channel<int> there(0), back(0);
        go([&] {
            while (auto v = there.recv()) {
                compute(20 * us);
                back.send(*v);
            }
        });
        const auto some = [&](unsigned count) {
            for (unsigned k = 0; k < count; ++k) {
                there.send(1);
                compute(20 * us);   // long enough for another P to come and steal it
                back.recv();
            }
        };
        some(4);
        begin();
        some(each);
        end();
        there.close();
        out.names.add_runtime();
    });
    return out;
}

// The monitor's rounds over Ps that enter and leave the library all the time.
outcome monitor(unsigned procs, unsigned total) {
    const unsigned rounds = std::max(total / procs, 4u);
    const handoff::options o = usual(procs);
    outcome out = on_every_p(o, 1, [&](unsigned i) {
        if (i == 0) memory.watch(&handoff::detail::current_m()->s->coarse_now);
        for (unsigned k = 0; k < 20 * rounds; ++k) {
            handoff::syscall_guard guard;
            compute(2 * us);
        }
    });
    out.operations = static_cast<double>(memory.all().watched);
    return out;
}

}  // namespace

const std::vector<work>& works() {
    static const std::vector<work> all = {
        {"spawn", "a goroutine is started, runs and ends on the P that started it", 1, spawn, 32'768},
        {"join", "the same, and is joined", 1, join, 32'768},
        {"yield", "a yield to another goroutine of the P, and back", 1, yield, 32'768},
        {"channel_on_one_p", "a round trip between two goroutines of one P, unbuffered", 1, channel_on_one_p, 16'384},
        {"mutex_own", "lock and unlock of a mutex that nobody else uses", 1, mutex_own, 65'536},
        {"brackets", "a guarded call that does not block", 1, brackets, 65'536},
        {"sleep", "a sleep of 20 us, eight goroutines a P", 1, sleep_on_every_p, 16'384},
        {"unbuffered_pairs", "an item from one P to another, unbuffered", 2, unbuffered_pairs, 16'384},
        {"buffered_pairs", "the same, capacity 64", 2, buffered_pairs, 32'768},
        {"buffered_shared", "an item through one channel that all Ps use, capacity 256", 2, buffered_shared, 16'384},
        {"mutex_shared", "100 ns under one mutex, 1 us without", 1, mutex_shared, 16'384},
        {"ring", "a token goes on to the next P, whose goroutine waits", 2, ring, 16'384},
        {"fan_out", "a task of 2 us, all started on one P", 1, fan_out, 16'384},
        {"fork_join", "a leaf of 500 ns of a tree of goroutines", 1, fork_join, 16'384},
        {"go_from_outside", "a goroutine of 1 us started by a thread that is not the runtime's", 1, go_from_outside, 8'192},
        {"calls_immediate", "a call that blocks for 10 us, handed off at once, and 2 us of computing", 1, calls_immediate,
         8'192},
        {"calls_by_monitor", "a call that blocks for 200 us, found by the monitor, and 2 us of computing", 1,
         calls_by_monitor, 2'048},
        {"idle_cycle", "a wake-up by a timer and the search for more to do, all other Ps idle", 1, idle_cycle, 1'024},
        {"wake_one", "a round trip to a goroutine that another P steals, all others idle", 2, wake_one_of_all, 1'024},
        {"monitor", "a round of the monitor, all Ps in and out of short calls", 1, monitor, 512},
    };
    return all;
}

}  // namespace scaling
