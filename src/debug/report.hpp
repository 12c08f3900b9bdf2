// What the runtime reports about single goroutines: unguarded calls and stack overflows.
#pragma once

#include <cstddef>
#include <cstdint>

namespace handoff::detail {

struct G;
struct sched;

// Entries of sched_hooks (sched/hooks.hpp).
void unguarded_call_ended(sched& s, G* g, std::int64_t since, std::int64_t until, long call);
bool describe_overflow(const void* address, const void* sp, char* text, std::size_t size);

}  // namespace handoff::detail
