// handoff: goroutines for C++ whose processor is handed off when they block.
//
// Includes every part of the library but for future.hpp, watch.hpp and broadcast.hpp, which take the compiler more time
// than most programs have use for, and file.hpp, directory.hpp and the network (net/), which bring the system's headers. Each
// part also has a header of its own.
#pragma once

// What is named by the errors of wrong calls comes first, so that the compiler shows a short way to it.
#include <handoff/error.hpp>
#include <handoff/options.hpp>
#include <handoff/goroutine.hpp>
#include <handoff/syscall.hpp>
#include <handoff/channel.hpp>
#include <handoff/select.hpp>
#include <handoff/once.hpp>
#include <handoff/timer.hpp>
#include <handoff/wait_group.hpp>
#include <handoff/task_group.hpp>
#include <handoff/runtime.hpp>

#include <handoff/barrier.hpp>
#include <handoff/cancellable_call.hpp>
#include <handoff/cancellation.hpp>
#include <handoff/channel_ends.hpp>
#include <handoff/clock.hpp>
#include <handoff/condition_variable.hpp>
#include <handoff/event.hpp>
#include <handoff/goroutine_local.hpp>
#include <handoff/latch.hpp>
#include <handoff/mutex.hpp>
#include <handoff/once_value.hpp>
#include <handoff/recursive_mutex.hpp>
#include <handoff/select_cases.hpp>
#include <handoff/semaphore.hpp>
#include <handoff/shared_mutex.hpp>
#include <handoff/simulation.hpp>
#include <handoff/stats.hpp>
#include <handoff/thread_stack.hpp>
#include <handoff/version.hpp>
