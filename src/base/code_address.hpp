// Addresses of code, in a form in which people can look them up.
#pragma once

#include <cstddef>

namespace handoff::base {

// code_address writes "program+0x1234", which addr2line accepts. Does not allocate.
void code_address(const void* address, char* text, std::size_t size) noexcept;

}  // namespace handoff::base
