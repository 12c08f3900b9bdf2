#include "sched/switch_hook.hpp"

namespace handoff::detail {

constinit base::atomic<switch_hook> on_switch{nullptr};

}  // namespace handoff::detail
