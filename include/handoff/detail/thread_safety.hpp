// The attributes that clang's -Wthread-safety checks; empty for other compilers.
#pragma once

#if defined(__clang__)
#define HANDOFF_TSA(x) __attribute__((x))
#else
#define HANDOFF_TSA(x)
#endif
#define HANDOFF_CAPABILITY(what) HANDOFF_TSA(capability(what))
#define HANDOFF_ACQUIRE HANDOFF_TSA(acquire_capability())
#define HANDOFF_TRY_ACQUIRE HANDOFF_TSA(try_acquire_capability(true))
#define HANDOFF_RELEASE HANDOFF_TSA(release_capability())
#define HANDOFF_ACQUIRE_SHARED HANDOFF_TSA(acquire_shared_capability())
#define HANDOFF_TRY_ACQUIRE_SHARED HANDOFF_TSA(try_acquire_shared_capability(true))
#define HANDOFF_RELEASE_SHARED HANDOFF_TSA(release_shared_capability())
#define HANDOFF_NO_TSA HANDOFF_TSA(no_thread_safety_analysis)
