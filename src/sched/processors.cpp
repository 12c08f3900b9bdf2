#include "sched/processors.hpp"

namespace handoff::detail {

processors::~processors() {
    for_each([](P& p) { delete &p; });   // stacks belong to the stack pool, Gs to the store
}

}  // namespace handoff::detail
