// The names of the library's objects in memory, and of places in its code.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace scaling {

class layout {
public:
    // add_runtime names the parts of the runtime whose goroutine calls, as they are now.
    void add_runtime();
    void add(const void* at, std::size_t size, std::string name);
    std::string name_of(std::uintptr_t address) const;   // empty: not known

private:
    struct region {
        std::uintptr_t at, end;
        std::string name;
    };
    mutable bool sorted_ = false;
    mutable std::vector<region> regions_;
};

// places_of asks addr2line for "file:line function" of each; of inlined code the innermost that is the project's.
std::unordered_map<const void*, std::string> places_of(const std::vector<const void*>& code);

}  // namespace scaling
