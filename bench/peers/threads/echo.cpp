// The echo server without coroutines: see workloads/echo.cpp. std_thread has a thread for each connection. thread_pool
// is the pool of 64 threads that the other workloads that block have. A socket that blocks keeps its thread from the
// first message to the last, so the pool serves no more connections than it has threads: it takes no part with 500.

#include "../../workloads/echo.hpp"
#include "../../workloads/registry.hpp"
#include "tasks.hpp"

#include <functional>

namespace {

static_assert(bench::echo_50.connections <= bench::blocking_threads);

template <class Tasks, const bench::echo_shape& shape>
std::vector<bench::figure> measure(const bench::settings& s) {
    bench::echo_server server(shape, s);
    unsigned procs = 0;
    {
        Tasks tasks(bench::blocking_threads);
        procs = bench::procs_of(tasks);
        for (std::size_t i = 0; i < shape.connections; ++i)
            tasks.post([connection = server.accept()] { bench::answer(connection, ::read, ::write); });
    }   // here they have ended
    return {server.figure_of(Tasks::subject, procs)};
}

const bench::register_workload few_threads({{"echo_blocking_50"},
                                            "std_thread",
                                            measure<bench::thread_per_task, bench::echo_50>});
const bench::register_workload many_threads({{"echo_blocking_500"},
                                             "std_thread",
                                             measure<bench::thread_per_task, bench::echo_500>});
const bench::register_workload in_pool({{"echo_blocking_50"},
                                        "thread_pool",
                                        measure<bench::task_pool, bench::echo_50>});

}  // namespace
