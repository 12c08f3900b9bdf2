"""Mutations of addresses, endpoints and hosts."""

from mutations import mutation

# ---- Addresses -----------------------------------------------------------------------------------------------------

mutation(
    "addresses_end_at_a_nul",
    "src/net/address.cpp",
    "if (text.size() >= sizeof copy || text.find('\\0') != text.npos) return false;",
    "if (text.size() >= sizeof copy) return false;",
    "addresses.are_refused_unless_*",
)
mutation(
    "scopes_may_be_0",
    "src/net/address.cpp",
    'if (scope == 0) return invalid("its scope is not a decimal number from 1 to 4294967295");',
    "if (scope == 0) return {};",
    "addresses.are_refused_unless_*:hosts.are_refused_unless_*",
)
mutation(
    "empty_scopes_are_bad_numbers",
    "src/net/address.cpp",
    'if (text.empty()) return invalid("its scope is empty");',
    "",
    "addresses.are_named_by_*",
)
mutation(
    "names_of_interfaces_are_cut",
    "src/net/address.cpp",
    "text.size() >= IFNAMSIZ ||",
    "",
    "addresses.are_refused_unless_*:hosts.are_refused_unless_*",
)
mutation(
    "close_hides_why_there_is_no_interface",
    "src/net/address.cpp",
    "    os::set_errno(e);\n",
    "    os::set_errno(e - e);\n",
    "addresses.are_refused_with_an_unknown_interface",
)
mutation(
    "mapped_loopback_is_none",
    "include/handoff/net/address.hpp",
    "    const address a = unmap();\n    return a.is_v6_ ? a.bytes_ == loopback_v6().bytes_",
    "    const address a = *this;\n    return a.is_v6_ ? a.bytes_ == loopback_v6().bytes_",
    "addresses.know_what_they_are_for",
)
mutation(
    "link_local_is_any_of_fe",
    "include/handoff/net/address.hpp",
    "(a.bytes_[1] & 0xc0) == 0x80",
    "(a.bytes_[1] & 0x80) == 0x80",
    "addresses.know_what_they_are_for",
)
mutation(
    "mapped_prefix_is_the_last_two",
    "include/handoff/net/address.hpp",
    "std::equal(mapped_prefix.begin(), mapped_prefix.end(), bytes_.begin())",
    "bytes_[10] == 0xff && bytes_[11] == 0xff",
    "addresses.are_mapped_and_unmapped",
)
mutation(
    "hash_leaves_the_scope_out",
    "src/net/address.cpp",
    "{all, bytes.size() + sizeof scope}",
    "{all, bytes.size()}",
    "addresses.are_ordered_and_hashed",
)
mutation(
    "decimals_may_begin_with_0",
    "src/net/text.cpp",
    "    if (text.size() > 1 && text.front() == '0') return std::nullopt;\n",
    "",
    "*.are_refused_unless_*",
)
mutation(
    "decimals_end_where_they_like",
    "src/net/text.cpp",
    "if (error != std::errc() || stopped != end)",
    "if (error != std::errc())",
    "*.are_refused_unless_*",
)
mutation(
    "ports_wrap_around",
    "src/net/text.cpp",
    "if (!port || *port > 65535)",
    "if (!port)",
    "endpoints.are_refused_unless_*",
)
mutation(
    "backslashes_are_printed_as_they_are",
    "src/net/text.cpp",
    '            to += "\\\\\\\\";',
    "            to += c;",
    "endpoints.*",
)

# ---- Endpoints -----------------------------------------------------------------------------------------------------

mutation(
    "paths_with_an_at_become_abstract",
    "src/net/endpoint.cpp",
    'append_escaped(text += "\\\\x40", p.substr(1));',
    "append_escaped(text, p);",
    "endpoints.print_what_they_are_read_from",
)
mutation(
    "paths_keep_what_is_behind_them",
    "src/net/endpoint.cpp",
    "    size = static_cast<socklen_t>(name_at + std::min(path + 1, longest_path));\n",
    "",
    "endpoints.have_one_form_for_each_meaning",
)
mutation(
    "paths_without_a_nul_are_too_long",
    "src/net/endpoint.cpp",
    "if (path > longest_path) return",
    "if (path >= longest_path) return",
    "endpoints.reach_a_peer_*",
)
mutation(
    "paths_may_be_one_byte_longer",
    "src/net/endpoint.cpp",
    "    if (name.size() > longest_name)",
    "    if (name.size() > longest_name + 1)",
    "endpoints.have_names_*",
)
mutation(
    "paths_end_at_a_nul",
    "src/net/endpoint.cpp",
    "    if (path.find('\\0') != path.npos) return",
    "    if (path == std::string_view(\"\\0\", 1)) return",
    "endpoints.are_refused_unless_*:endpoints.have_names_*",
)
mutation(
    "padding_makes_a_difference",
    "src/net/endpoint.cpp",
    "            std::memset(a.sin_zero, 0, sizeof a.sin_zero);\n",
    "",
    "endpoints.have_one_form_for_each_meaning",
)
mutation(
    "flow_labels_make_a_difference",
    "src/net/endpoint.cpp",
    "            a.sin6_flowinfo = 0;\n",
    "",
    "endpoints.have_one_form_for_each_meaning",
)
mutation(
    "ports_come_before_addresses",
    "src/net/endpoint.cpp",
    "    if (!a.is_ip()) return bytes_of(a) <=> bytes_of(b);",
    "    return bytes_of(a) <=> bytes_of(b);",
    "endpoints.are_ordered_and_hashed",
)
mutation(
    "refused_lengths_are_kept",
    "src/net/endpoint.cpp",
    "    size_ = p ? 0 : size;",
    "    size_ = size;\n    (void)p.why;",
    "endpoints.are_not_made_of_what_does_not_fit",
)

# ---- Hosts ---------------------------------------------------------------------------------------------------------

mutation(
    "brackets_end_at_the_first_one",
    "src/net/text.cpp",
    "text.rfind(']')",
    "text.find(']')",
    "hosts.are_taken_apart_*",
)
mutation(
    "missing_brackets_are_bad_ports",
    "src/net/text.cpp",
    "if (rest.find(':', 1) != rest.npos) return",
    "if (false) return",
    "hosts.are_named_by_*",
)
mutation(
    "hosts_may_have_spaces",
    "src/net/host_port.cpp",
    "return c == '.' || c == '-'",
    "return c == '.' || c == ' ' || c == '-'",
    "hosts.are_refused_unless_*",
)
