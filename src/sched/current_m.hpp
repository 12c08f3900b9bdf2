// Which M the calling thread is.
#pragma once

namespace handoff::detail {

struct M;

// current_m is the calling thread's M; null on a thread that is not the runtime's. Opaque to the compiler: after a switch the
// answer may differ.
M* current_m() noexcept;
void set_current_m(M* m) noexcept;

// What current_m() returns, for the brackets, which read it once, and before any switch. Constant-initialized and initial-exec:
// an access is one instruction, and safe in a signal handler.
extern constinit thread_local M* tls_m __attribute__((tls_model("initial-exec")));

}  // namespace handoff::detail
