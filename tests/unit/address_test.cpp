// IP addresses as values: what is read and refused, what is printed, what they are for, how they compare. And hosts with ports.
#include "addresses.hpp"

#include <algorithm>
#include <net/if.h>
#include <sys/resource.h>
#include <unordered_set>

using handoff::net::address;
using handoff::net::host_port;
using namespace handoff_test;

namespace {

static_assert(sizeof(address) == 24 && std::is_trivially_copyable_v<address>);
static_assert(noexcept(address::parse({}, std::declval<std::error_code&>())));
static_assert(address() == address::any_v4() && address::any_v4() < address::any_v6());
static_assert(address::v4({127, 1, 2, 3}).is_loopback() && address::v4({127, 1, 2, 3}).to_v4_mapped().is_v6());
static_assert(address::v6({0xfe, 0x80}, 7).scope() == 7 && address::v6({0xfe, 0x80}, 7).bytes().size() == 16);

// What is read, and what is printed then.
TEST(addresses, print_what_they_are_read_from) {
    const struct {
        std::string_view text, printed;
    } cases[] = {
        {"0.0.0.0", "0.0.0.0"},
        {"127.0.0.1", "127.0.0.1"},
        {"255.255.255.255", "255.255.255.255"},
        {"1.20.0.255", "1.20.0.255"},
        {"::", "::"},
        {"::1", "::1"},
        {"0:0:0:0:0:0:0:1", "::1"},
        {"0000:0000:0000:0000:0000:0000:0000:0001", "::1"},
        {"2001:DB8::A", "2001:db8::a"},
        {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},         // the first of two runs of one length
        {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},               // the longest
        {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},      // one group is no run
        {"2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
        {"ff02::", "ff02::"},
        {"::ffff:192.0.2.1", "::ffff:192.0.2.1"},
        {"::FFFF:c000:201", "::ffff:192.0.2.1"},
        {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
        {"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
        {"fe80::1%1", "fe80::1%1"},
        {"fe80::1%4294967295", "fe80::1%4294967295"},
        {"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255%4294967295", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295"},
        {"2001:db8::1%3", "2001:db8::1%3"},
    };
    for (const auto& c : cases) {
        const auto a = accepted<address>(c.text);
        EXPECT_EQ(a.to_string(), c.printed);
        EXPECT_TRUE(accepted<address>(c.printed) == a) << c.text;
        EXPECT_EQ(a.is_v6(), c.text.find(':') != c.text.npos);
        EXPECT_NE(a.is_v4(), a.is_v6());
        EXPECT_EQ(a.bytes().size(), a.is_v4() ? 4u : 16u);
    }
}

TEST(addresses, have_the_bytes_that_are_written) {
    const auto four = accepted<address>("1.2.3.4");
    EXPECT_TRUE(four == address::v4({1, 2, 3, 4}));
    EXPECT_TRUE(std::ranges::equal(four.bytes(), address::v4_bytes{1, 2, 3, 4}));
    EXPECT_EQ(four.scope(), 0u);
    const address::v6_bytes sixteen{0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2};
    EXPECT_TRUE(accepted<address>("2001:db8::102%9") == address::v6(sixteen, 9));
    EXPECT_TRUE(std::ranges::equal(accepted<address>("2001:db8::102").bytes(), sixteen));
    EXPECT_EQ(address::loopback_v4().to_string() + address::loopback_v6().to_string(), "127.0.0.1::1");
    EXPECT_EQ(address::any_v4().to_string() + address::any_v6().to_string(), "0.0.0.0::");
    EXPECT_EQ(address::broadcast_v4().to_string(), "255.255.255.255");
    EXPECT_TRUE(address() == address::any_v4());
}

TEST(addresses, are_refused_unless_all_of_the_text_is_one) {
    const std::string_view cases[] = {
        "", " ", "1", "1.2.3", "1.2.3.4.5", "1.2.3.", ".1.2.3", "1..2.3", "256.1.1.1", "1.1.1.256", "1.2.3.4567", "01.2.3.4",
        "1.2.3.04", "00.0.0.0", "0x1.2.3.4", "1.2.3.0x4", "0177.0.0.1", "2130706433", " 1.2.3.4", "1.2.3.4 ", "1.2.3.4\n",
        "+1.2.3.4", "-1.2.3.4", "1.2.3.4a", "1.2.3.4:80", "1.2.3.4/8", "1.2.3.4%1", "1.2.3.4\0"sv, "1.2.3.4\0junk"sv, "\0"sv,
        "::1\0"sv, "::1\0%1"sv, "fe80::1%1\0"sv, "fe80::1%l\0o"sv, ":", ":::", "1::2::3", "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", ":1:2:3:4:5:6:7", "1:2:3:4:5:6:7:", "12345::", "::00001", "g::", "::-1",
        "::1 ", " ::1", "[::1]", "::1/128", "::1.2.3", "::1.2.3.256", "::01.2.3.4", "::1.2.3.4:5", "1:2:3:4:5:6:7:1.2.3.4",
        "localhost", "fe80::1%", "fe80::1%0", "fe80::1%01", "fe80::1%4294967296", "fe80::1%99999999999999999999", "%lo",
        "fe80::1%lo ", "fe80::1% lo", "fe80::1%a/b", "fe80::1%a:b", "fe80::1%sixteen_letters_",
        "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000",
    };
    for (const auto text : cases) EXPECT_EQ(parse_refused<address>(text, "address \""), std::errc::invalid_argument) << text;
}

TEST(addresses, are_named_by_the_errors_about_them) {
    EXPECT_EQ(parse_refused<address>("127.0.0.01", "handoff: address \"127.0.0.01\": neither an IPv4 nor an IPv6 address"),
              std::errc::invalid_argument);
    EXPECT_EQ(parse_refused<address>("fe80::1%", "its scope is empty"), std::errc::invalid_argument);
    EXPECT_EQ(parse_refused<address>("a\n\\\x7f\xff"sv, R"("a\x0a\\\x7f\xff")"), std::errc::invalid_argument);
    EXPECT_EQ(parse_refused<address>(std::string(200, 'a'), '"' + std::string(200, 'a') + "\":"), std::errc::invalid_argument);
    EXPECT_EQ(parse_refused<address>(std::string(201, 'a'), '"' + std::string(200, 'a') + "...\":"), std::errc::invalid_argument);
}

TEST(addresses, take_the_name_of_an_interface_for_its_number) {
    const unsigned loopback = if_nametoindex("lo");
    if (loopback == 0) GTEST_SKIP() << "this machine has no interface lo";
    const auto a = accepted<address>("fe80::1%lo");
    EXPECT_EQ(a.scope(), loopback);
    EXPECT_EQ(a.to_string(), "fe80::1%" + std::to_string(loopback));
}

TEST(addresses, are_refused_with_an_unknown_interface) {
    const auto code = parse_refused<address>("fe80::1%no%such,[one]", "there is no interface");
    EXPECT_EQ(code, std::errc::no_such_device);
}

// The code is looked at afterwards: the undefined-behaviour sanitizer needs descriptors to look at objects with.
bool refused_without_descriptors() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return false;
    const rlimit none{0, limit.rlim_max};
    if (::setrlimit(RLIMIT_NOFILE, &none) != 0) return false;
    std::error_code named, numbered;
    (void)address::parse("fe80::1%lo", named);
    const auto a = address::parse("fe80::1%1", numbered);
    return ::setrlimit(RLIMIT_NOFILE, &limit) == 0 && named == std::errc::too_many_files_open && !numbered && a.scope() == 1;
}

TEST(addresses, say_why_the_system_was_not_asked) { EXPECT_IN_CHILD(refused_without_descriptors(), ""); }

TEST(addresses, know_what_they_are_for) {
    // u: unspecified, l: loopback, m: multicast, k: link-local
    const struct {
        std::string_view text, is;
    } cases[] = {
        {"0.0.0.0", "u"},         {"0.0.0.1", ""},           {"1.0.0.0", ""},             {"127.0.0.0", "l"},
        {"127.255.255.255", "l"}, {"128.0.0.1", ""},         {"126.255.255.255", ""},     {"223.255.255.255", ""},
        {"224.0.0.0", "m"},       {"239.255.255.255", "m"},  {"240.0.0.0", ""},           {"255.255.255.255", ""},
        {"169.254.0.0", "k"},     {"169.254.255.255", "k"},  {"169.253.0.0", ""},         {"168.254.0.0", ""},
        {"::", "u"},              {"::%1", "u"},             {"::1", "l"},                {"::2", ""},
        {"1::1", ""},             {"ff00::", "m"},           {"ff02::1%1", "m"},          {"feff::", ""},
        {"fe80::", "k"},          {"febf::1", "k"},          {"fec0::", ""},              {"fe7f::", ""},
        {"fd80::", ""},           {"7f00::", ""},            {"e000::", ""},              {"a9fe::", ""},
    };
    for (const auto& c : cases) {
        const auto expect = [&c](const address& a) {
            const std::string is = (a.is_unspecified() ? "u"s : ""s) + (a.is_loopback() ? "l" : "") +
                                   (a.is_multicast() ? "m" : "") + (a.is_link_local() ? "k" : "");
            EXPECT_EQ(is, c.is) << a.to_string();
        };
        const auto a = accepted<address>(c.text);
        expect(a);
        expect(a.to_v4_mapped());
    }
}

TEST(addresses, are_mapped_and_unmapped) {
    const auto four = address::v4({192, 0, 2, 1});
    const auto mapped = accepted<address>("::ffff:192.0.2.1");
    EXPECT_TRUE(four.to_v4_mapped() == mapped);
    EXPECT_TRUE(mapped.unmap() == four);
    EXPECT_TRUE(four != mapped);
    EXPECT_TRUE(mapped.is_v4_mapped() && !four.is_v4_mapped());
    EXPECT_TRUE(accepted<address>("::ffff:192.0.2.1%3").unmap() == four);
    EXPECT_TRUE(mapped.to_v4_mapped() == mapped && four.unmap() == four);
    for (const auto text : {"::192.0.2.1", "::fffe:192.0.2.1", "1::ffff:192.0.2.1", "::1:ffff:192.0.2.1", "fe80::1%3"}) {
        const auto a = accepted<address>(text);
        EXPECT_FALSE(a.is_v4_mapped()) << text;
        EXPECT_TRUE(a.unmap() == a) << text;
    }
}

TEST(addresses, are_ordered_and_hashed) {
    const std::string_view ordered[] = {"0.0.0.0", "1.0.0.2", "1.0.1.1",  "2.0.0.1",   "255.255.255.255",
                                        "::",      "::%1",    "::%65536", "::1.0.0.2", "::ffff:1.0.0.2", "ff02::1"};
    std::vector<address> all;
    std::unordered_set<std::size_t> hashes;
    for (const auto text : ordered) {
        all.push_back(accepted<address>(text));
        hashes.insert(std::hash<address>()(all.back()));
        EXPECT_EQ(std::hash<address>()(accepted<address>(text)), std::hash<address>()(all.back()));
    }
    for (std::size_t i = 0; i < all.size(); ++i)
        for (std::size_t k = 0; k < all.size(); ++k) EXPECT_TRUE((all[i] <=> all[k]) == (i <=> k)) << i << ' ' << k;
    EXPECT_EQ(hashes.size(), all.size());
}

TEST(addresses, come_back_from_their_text) {
    auto random = seeded_random("addresses.come_back_from_their_text");
    for (std::size_t n = scaled(100'000); n != 0; --n) {
        const auto a = random_address(random);
        const auto text = a.to_string();
        ASSERT_TRUE(address::parse(text) == a) << text;
        ASSERT_EQ(text.find("%0"), text.npos);
    }
}

// Texts that are almost addresses. Whatever is read is printed in the same way again.
TEST(addresses, mean_what_they_print) {
    auto random = seeded_random("addresses.mean_what_they_print");
    constexpr std::string_view letters = "0123456789abcdefF:.%[]x \0"sv;
    std::size_t read = 0;
    for (std::size_t n = scaled(100'000); n != 0; --n) {
        std::string text = random_address(random).to_string();
        text.insert(random() % (text.size() + 1), 1, letters[random() % letters.size()]);
        if (random() % 2 == 0) text.erase(random() % text.size(), 1);
        std::error_code ec;
        const auto a = address::parse(text, ec);
        if (ec) continue;
        ++read;
        ASSERT_TRUE(address::parse(a.to_string()) == a) << text;
    }
    EXPECT_GT(read, scaled(100'000) / 100);
}

// ---- Hosts and ports -------------------------------------------------------------------------------------------------

TEST(hosts, are_taken_apart_from_their_port) {
    const struct {
        std::string_view text, host;
        unsigned port;
    } cases[] = {
        {"example.com:80", "example.com", 80},
        {"example.com.:0", "example.com.", 0},
        {"my_host-1:65535", "my_host-1", 65535},
        {"192.0.2.1:443", "192.0.2.1", 443},
        {"[::1]:80", "::1", 80},
        {"[2001:db8::1]:0", "2001:db8::1", 0},
        {"[fe80::1%2]:80", "fe80::1%2", 80},
        {"[fe80::1%no_such]:80", "fe80::1%no_such", 80},
        {"[fe80::1%a]b]:80", "fe80::1%a]b", 80},
        {"b\xc3\xbc" "cher.example:80", "b\xc3\xbc" "cher.example", 80},
        {":8080", "", 8080},
        {"unix:80", "unix", 80},
    };
    for (const auto& c : cases) {
        const auto h = accepted<host_port>(c.text);
        EXPECT_EQ(h.host, c.host);
        EXPECT_EQ(h.port, c.port);
        EXPECT_EQ(h.to_string(), c.text);
        EXPECT_TRUE(accepted<host_port>(c.text, std::uint16_t{7}) == h);
    }
}

TEST(hosts, take_a_default_port_if_they_have_none) {
    for (const std::string_view text : {"example.com", "192.0.2.1", "[2001:db8::1]", "[fe80::1%2]"}) {
        const auto h = accepted<host_port>(text, std::uint16_t{443});
        EXPECT_EQ(h.port, 443);
        EXPECT_EQ(h.to_string(), std::string(text) + ":443");
        EXPECT_EQ(accepted<host_port>(text, std::uint16_t{0}).port, 0);
        EXPECT_EQ(parse_refused<host_port>(text, "it has no port"), std::errc::invalid_argument) << text;
    }
}

TEST(hosts, are_refused_unless_all_of_the_text_is_one) {
    const std::string_view cases[] = {
        "", ":", "host:", "host:+1", "host:-1", "host:080", "host:00", "host:65536", "host:4294967376",
        "host:99999999999999999999", "host:80 ", "host: 80", "host:0x50", "host:http", "host:80\0"sv, "host:80:80", "::1",
        "::1:80", "2001:db8::1", "[::1", "[::1]80", "[::1]x:80", "[::1]:", "[::1]:http", "[]:80", "[]", "[host]:80",
        "[192.0.2.1]:80", "[::1%]:80", "[::1%0]:80", "[::1%01]:80", "[::1%a b]:80", "[::1%sixteen_letters_]:80", "[[::1]]:80",
        "ho st:80", " host:80", "host\n:80", "ho\0st:80"sv, "\0:80"sv, "a/b:80", "user@host:80", "http://host:80",
        "host%2:80", "::1]:80", "a]:80", "a[b]:80", "\x7f:80",
    };
    for (const auto text : cases) {
        EXPECT_EQ(parse_refused<host_port>(text, "host and port \""), std::errc::invalid_argument) << text;
        EXPECT_EQ(parse_refused<host_port>(text, "host and port \"", std::uint16_t{1}), std::errc::invalid_argument) << text;
    }
}

TEST(hosts, are_named_by_the_errors_about_them) {
    EXPECT_EQ(parse_refused<host_port>("::1:80", "an IPv6 address stands in brackets"), std::errc::invalid_argument);
    EXPECT_EQ(parse_refused<host_port>("host:http", "\"host:http\": its port is not a decimal number from 0 to 65535"),
              std::errc::invalid_argument);
}

TEST(hosts, have_253_bytes_at_most) {
    const std::string longest(253, 'a');
    EXPECT_EQ(accepted<host_port>(longest + ":1").host, longest);
    EXPECT_EQ(accepted<host_port>(longest + ".:1").host, longest + '.');
    EXPECT_EQ(parse_refused<host_port>(longest + "a:1", "a host has at most 253 bytes"), std::errc::invalid_argument);
    EXPECT_EQ(parse_refused<host_port>(longest + "..:1", "a host has at most 253 bytes"), std::errc::invalid_argument);
}

}  // namespace
