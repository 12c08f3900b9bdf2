// Which M the calling thread is.
#pragma once

namespace handoff::detail {

struct M;

// current_m is the calling thread's M, null on any other thread. Opaque: after a switch the answer may be another.
M* current_m() noexcept;
void set_current_m(M* m) noexcept;

// What current_m() returns, for who reads it once and does not switch before: the brackets. Constant-initialized and
// initial-exec: an access is one instruction, and safe in a signal handler.
extern constinit thread_local M* tls_m __attribute__((tls_model("initial-exec")));

}  // namespace handoff::detail
