// handoff: goroutines for C++ whose processor is handed off when they block.
//
// Includes every part of the library; each part also has a header of its own.
#pragma once

#include <handoff/error.hpp>
#include <handoff/goroutine.hpp>
#include <handoff/options.hpp>
#include <handoff/runtime.hpp>
#include <handoff/stats.hpp>
#include <handoff/syscall.hpp>
#include <handoff/version.hpp>
