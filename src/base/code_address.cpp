#include "base/code_address.hpp"

#include <cstdio>
#include <cstring>
#include <dlfcn.h>

namespace handoff::base {

void code_address(const void* address, char* text, std::size_t size) noexcept {
    Dl_info where{};
    if (::dladdr(address, &where) == 0 || !where.dli_fname) {
        std::snprintf(text, size, "%p", address);
        return;
    }
    const char* object = std::strrchr(where.dli_fname, '/');
    std::snprintf(text, size, "%s+0x%lx", object ? object + 1 : where.dli_fname,
                  static_cast<unsigned long>(static_cast<const char*>(address) - static_cast<const char*>(where.dli_fbase)));
}

}  // namespace handoff::base
