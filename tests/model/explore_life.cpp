// Runtimes that end, several at once, short of threads; groups that are cancelled.
#include "explore_runtime.hpp"

#include <memory>
#include <optional>
#include <vector>

using namespace explore;
using handoff::channel;
using handoff::join_handle;
using handoff::runtime;

namespace {

// A runtime ends while its goroutines still spawn, sleep and wait; handles outlive it.
EXPLORE_SCENARIO(ends, "life.end", 100'000, .length = 1'500) {
    unsigned ran = 0;
    std::optional<join_handle<int>> kept;
    {
        auto rt = std::make_unique<runtime>(perhaps() ? quiet(1 + choose(2)) : greedy(1 + choose(2)));
        for (int i = 0; i < 2; ++i)
            rt->go([&] {
                  linger();
                  handoff::go([&] {
                      linger();
                      ++ran;
                  }).detach();
              }).detach();
        kept = rt->go([] {
            linger();
            return 7;
        });
        if (perhaps()) kept->wait_for(std::chrono::nanoseconds(1 + choose(3'000)));
    }
    EXPLORE_CHECK(ran == 2);
    if (perhaps()) EXPLORE_CHECK(kept->join() == 7);
}

// Goroutines of two runtimes talk to each other; each may end its runtime's work as it wakes somebody of the other.
EXPLORE_SCENARIO(two, "life.two_runtimes", 100'000, .length = 2'500) {
    const channel<int> ch(0);
    int got = 0;
    {
        runtime a(quiet(1 + choose(2))), b(quiet(1));
        a.go([&] {
             for (int i = 0; i < 2; ++i) ch.send(i);
         }).detach();
        b.go([&] {
             for (int i = 0; i < 2; ++i) got += ch.recv().has_value();
         }).detach();
    }
    EXPLORE_CHECK(got == 2);
}

// Goroutines come in bursts, and the monitor puts the chunks of those that have ended to rest in between, while a thread may
// start more. Nobody is lost, and no G is had twice, or rests while it is in use.
EXPLORE_SCENARIO(gs_rest, "life.gs_rest", 30'000, .length = 4'000) {
    runtime rt(quiet(1 + choose(2)));
    unsigned ran = 0, expected = 0;
    const auto burst = [&](unsigned n) {
        std::vector<join_handle<void>> all;
        expected += n;
        for (unsigned i = 0; i < n; ++i)
            all.push_back(rt.go([&] {
                if (choose(8) == 0) linger();
                ++ran;
            }));
        for (auto& h : all) h.join();
        block(choose(2) * choose(25'000'000));   // the monitor rests after 10 ms
    };
    burst(14);
    thread other([&] {
        burst(4 + choose(8));
        burst(1 + choose(4));
    });
    burst(4 + choose(12));
    burst(1 + choose(4));
    other.join();
    EXPLORE_CHECK(ran == expected);
}

// Goroutines of a kind that is known to block end without a processor, and their threads begin the next ones. Some use the
// library after their call, and take one again; the runtime ends with the last of them, whoever that is.
EXPLORE_SCENARIO(without, "life.without", 100'000, .length = 2'500) {
    unsigned ran = 0;
    {
        runtime rt(perhaps() ? greedy(1 + choose(2)) : quiet(1 + choose(2)));
        owners check;
        rt.run([&] {
            handoff::detail::current_m()->s->predict.learnt_of_all(3);
            std::array<join_handle<void>, 4> all;
            for (auto& h : all) {
                h = handoff::go([&] {
                    {
                        const handoff::syscall_guard g;
                        if (perhaps()) block(choose(3'000));
                    }
                    if (perhaps()) check.check();
                    if (choose(4) == 0) handoff::go([&] { linger(); }).detach();
                    ++ran;
                });
            }
            for (auto& h : all)
                if (perhaps()) h.join();
        });
    }
    EXPLORE_CHECK(ran == 4);
}

// Two or three threads, of which the monitor is one: processors wait for threads, and nothing is lost.
EXPLORE_SCENARIO(few_threads, "life.few_threads", 100'000, .length = 2'500) {
    auto o = greedy(2);
    o.max_threads = 2 + choose(2);
    runtime rt(o);
    unsigned ran = 0;
    const auto body = [&] {
        for (int i = 0; i < 2; ++i) {
            const handoff::syscall_guard g(perhaps() ? handoff::handoff_policy::immediate : handoff::handoff_policy::sysmon);
            block(choose(3'000));
        }
        linger();
        ++ran;
    };
    join_handle<void> all[] = {rt.go(body), rt.go(body), rt.go(body)};
    for (auto& h : all) h.join();
    EXPLORE_CHECK(ran == 3);
}

// A group whose goroutines wait for what never comes: one throws, somebody cancels, or the time is over. With a deadline they may
// all end by themselves, as it comes.
EXPLORE_SCENARIO(cancelled, "group.cancel", 100'000, .length = 2'000) {
    runtime rt(quiet(1 + choose(2)));
    rt.go([] {
          const channel<int> never(0);
          unsigned ended = 0;
          const unsigned how = choose(3);
          const bool in_time = how == 2 && perhaps();
          const auto wait = [&](handoff::task_group& g) {
              for (int i = 0; i < 2; ++i)
                  g.go([&] {
                      struct counts {
                          unsigned& n;
                          ~counts() { ++n; }
                      } at_end{ended};
                      if (in_time) linger();
                      else if (perhaps()) never.recv();
                      else handoff::this_goroutine::sleep_for(1h);
                  });
              if (how == 0) g.go([] {
                  linger();
                  throw 1;
              });
              if (how == 1) {
                  linger();
                  g.cancel();
              }
              g.wait();
          };
          try {
              if (how == 2) {
                  handoff::task_group g(std::chrono::nanoseconds(choose(3'000)));
                  wait(g);
              } else {
                  handoff::task_group g;
                  wait(g);
              }
              EXPLORE_CHECK(how != 0);   // an hour may pass before anybody looks at the deadline
          } catch (int) {
              EXPLORE_CHECK(how == 0);
          } catch (const handoff::deadline_exceeded&) {
              EXPLORE_CHECK(how == 2);
          }
          EXPLORE_CHECK(ended <= 2);
      }).join();
}

// Inner groups end by themselves, or by an exception of their owner, while the outer one is cancelled.
EXPLORE_SCENARIO(nested, "group.nested", 100'000, .length = 2'500) {
    runtime rt(quiet(1 + choose(2)));
    rt.go([] {
          const channel<int> never(0);
          unsigned begun = 0, ended = 0;
          handoff::task_group outer;
          for (int i = 0; i < 2; ++i)
              outer.go([&] {
                  handoff::task_group inner;
                  inner.go([&] {
                      struct counts {
                          unsigned& n;
                          ~counts() { ++n; }
                      } at_end{ended};
                      ++begun;
                      if (perhaps()) never.recv();
                      else linger();
                  });
                  linger();
                  if (perhaps()) inner.wait();
              });
          linger();
          outer.cancel();
          outer.wait();
          EXPLORE_CHECK(begun == ended);
      }).join();
}

// Done once, while the others wait.
EXPLORE_SCENARIO(once, "once.call", 100'000, .length = 1'500) {
    runtime rt(quiet(1 + choose(2)));
    handoff::once_flag flag;
    unsigned done = 0;
    bool over = false;
    const auto body = [&] {
        handoff::call_once(flag, [&] {
            ++done;
            linger();
            over = true;
        });
        EXPLORE_CHECK(over);
    };
    join_handle<void> all[] = {rt.go(body), rt.go(body)};
    thread outside(body);
    for (auto& h : all) h.join();
    outside.join();
    EXPLORE_CHECK(done == 1);
}

EXPLORE_SCENARIO(barriers, "barrier.rounds", 100'000, .length = 2'000) {
    runtime rt(quiet(1 + choose(2)));
    handoff::barrier meet(3);
    unsigned rounds[3] = {};
    const auto body = [&](unsigned me) {
        for (unsigned i = 1; i <= 2; ++i) {
            rounds[me] = i;
            meet.arrive_and_wait();
            for (const unsigned r : rounds) EXPLORE_CHECK(r >= i);
            if (perhaps()) linger();
        }
    };
    join_handle<void> all[] = {rt.go(body, 0u), rt.go(body, 1u)};
    thread outside([&] { body(2); });
    for (auto& h : all) h.join();
    outside.join();
}

}  // namespace
