// Which sanitizer this build uses; gcc and clang tell it in different ways.
#pragma once

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HANDOFF_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define HANDOFF_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define HANDOFF_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define HANDOFF_TSAN 1
#endif
