#include "context/context.hpp"

#include <cxxabi.h>

namespace handoff::context {

exception_state* thread_exception_state() noexcept {
    return reinterpret_cast<exception_state*>(abi::__cxa_get_globals());
}

}  // namespace handoff::context
