// Addresses of code as reports name them.
#include "base/code_address.hpp"
#include "testing.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>

using handoff::base::code_address;
using namespace handoff_test;

namespace {

std::string text_of(const void* address, std::size_t room = 200) {
    std::string text(room, 'x');
    code_address(address, text.data(), room);
    return text.c_str();
}

// "object+0x12", so that addr2line -e object 0x12 finds it.
TEST(code_address, is_told_by_its_object_and_the_place_in_it) {
    const void* const here = reinterpret_cast<const void*>(&text_of);
    Dl_info where{};
    ASSERT_NE(::dladdr(here, &where), 0);
    const char* name = std::strrchr(where.dli_fname, '/');
    name = name ? name + 1 : where.dli_fname;
    const std::string text = text_of(here);
    const std::size_t plus = text.rfind("+0x");
    ASSERT_NE(plus, text.npos) << text;
    EXPECT_EQ(text.substr(0, plus), name);
    const auto offset = std::strtoull(text.c_str() + plus + 3, nullptr, 16);
    EXPECT_EQ(static_cast<const void*>(static_cast<const char*>(where.dli_fbase) + offset), here);
}

TEST(code_address, in_no_object_is_a_number) {
    const int here = 0;   // on the stack
    char expected[32];
    std::snprintf(expected, sizeof expected, "%p", static_cast<const void*>(&here));
    EXPECT_EQ(text_of(&here), expected);
}

TEST(code_address, is_cut_where_there_is_no_room) {
    const std::string whole = text_of(reinterpret_cast<const void*>(&text_of));
    EXPECT_EQ(text_of(reinterpret_cast<const void*>(&text_of), 5), whole.substr(0, 4));
}

}  // namespace
