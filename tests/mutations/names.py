"""Mutations of looking names up and of connecting by name."""

from mutations import mutation

# ---- What is a name ------------------------------------------------------------------------------------------------

RESOLVER = "src/net/resolver.cpp"
mutation(
    "old_forms_of_addresses_are_looked_up",
    RESOLVER,
    "    if (::inet_aton(text, &old) != 0) return",
    "    if (false) return",
    "resolver.what_is_no_host_*",
)
mutation(
    "hosts_end_at_a_nul",
    RESOLVER,
    "    if (const problem p = check_host_name(host)) return p;\n",
    "",
    "resolver.what_is_no_host_*",
)
mutation(
    "unknown_interfaces_are_looked_up",
    RESOLVER,
    "    if (host.find(':') != host.npos) return no_address;\n",
    "",
    "resolver.what_is_no_host_*",
)
mutation(
    "negative_numbers_are_services",
    RESOLVER,
    "service.starts_with('-') || ",
    "",
    "resolver.what_is_no_host_*",
)
mutation(
    "ports_are_cut_to_sixteen_bits",
    RESOLVER,
    "if (!n || *n > 65535) return",
    "if (!n) return",
    "resolver.what_is_no_host_*",
)
mutation(
    "v4_addresses_are_always_mapped",
    RESOLVER,
    "if (o.family == ip_family::v6 && o.v4_mapped)",
    "if (o.v4_mapped)",
    "resolver.numbers_need_*",
)
mutation(
    "errno_of_a_lookup_is_lost",
    RESOLVER,
    "case EAI_SYSTEM: return {system, std::generic_category()};",
    "case EAI_SYSTEM: return {result, resolver_category()};",
    "resolver.has_a_category_*",
)

# ---- Lookups -------------------------------------------------------------------------------------------------------

mutation(
    "lookup_is_waited_for_behind_the_deadline",
    RESOLVER,
    "[&](auto t) { return l->done.wait_until(t); }",
    "[&](auto) { l->done.wait(); return true; }",
    "connect_by_name.counts_the_lookup",
)
mutation(
    "places_are_waited_for_behind_the_deadline",
    RESOLVER,
    "[&](auto t) { return places.try_acquire_until(t); }",
    "[&](auto) { places.acquire(); return true; }",
    "connect_by_name.counts_the_lookup",
)
mutation(
    "lookup_that_is_left_alone_gives_its_place",
    RESOLVER,
    "    place mine(state_);\n",
    "    place mine(state_);\n    places.release();\n",
    "*resolvers.bound_the_lookups_*/1",
)
mutation(
    "lookups_keep_their_places",
    RESOLVER,
    "if (const auto of = std::exchange(of_, nullptr)) of->places.release();",
    "of_ = nullptr;",
    "connect_by_name.counts_the_lookup",
)
mutation(
    "lookup_begins_behind_the_deadline",
    RESOLVER,
    "    if (time_is_over(d)) {   // nobody",
    "    if (false) {   // nobody",
    "connect_by_name.counts_the_lookup",
)
mutation(
    "addresses_come_twice",
    RESOLVER,
    "            if (std::find(l.found.begin(), l.found.end(), e) == l.found.end()) l.found.push_back(e);",
    "            l.found.push_back(e);",
    "*resolvers.pass_on_*",
)
mutation(
    "failed_lookups_find_something",
    RESOLVER,
    "        if (l.ec) l.found.clear();\n        else if",
    "        if",
    "*resolvers.pass_on_*",
)
mutation(
    "finding_nothing_is_no_error",
    RESOLVER,
    "        else if (l.found.empty()) l.ec = resolve_errc::no_address;\n",
    "",
    "*resolvers.pass_on_*",
)
mutation(
    "lookups_exceptions_are_lost",
    RESOLVER,
    "std::rethrow_exception(std::exchange(l->thrown, nullptr));",
    "l->thrown = nullptr;",
    "*resolvers.pass_on_*",
)
mutation(
    "mapped_addresses_come_beside_others",
    RESOLVER,
    "if (mapped && (!found.empty() || !r.options.v4_mapped)) break;",
    "if (mapped && !r.options.v4_mapped) break;",
    "connect_by_name.finds_the_hosts_*",
)

# ---- Connecting by name --------------------------------------------------------------------------------------------

CONNECT = "src/net/connect.cpp"


def found_by_connecting(name, old, new, tests, file=CONNECT):
    mutation(name, file, old, new, f"connect_by_name.{tests}")


found_by_connecting(
    "addresses_are_tried_in_their_order",
    "of[e.family() != all.front().family()]",
    "of[0]",
    "tries_the_families_*",
)
found_by_connecting(
    "v6_is_always_first",
    "of[e.family() != all.front().family()]",
    "of[e.family() != AF_INET6]",
    "tries_the_families_*",
)
found_by_connecting(
    "next_attempt_waits_behind_a_failure",
    "        if (a->last) next_at_ = at_once;\n",
    "",
    "begins_at_once_*",
)
found_by_connecting(
    "next_attempt_begins_when_any_has_failed",
    "if (a->last) next_at_",
    "next_at_",
    "does_not_begin_early_*",
)
found_by_connecting(
    "next_attempt_begins_before_the_others_are_looked_at",
    "if (look() || begin_due()) {",
    "if (begin_due() || look()) {",
    "begins_no_attempt_*",
)
found_by_connecting(
    "attempts_end_when_the_next_begins",
    "            for (attempt& a : attempts_) a.last = false;\n",
    "            attempts_.clear();\n",
    "lets_attempts_go_on_*",
)
found_by_connecting(
    "connecting_waits_for_the_next_attempt_alone",
    "std::min(d.steady(), next_ < to_.size() ? next_at_ : no_deadline)",
    "next_ < to_.size() ? next_at_ : no_deadline",
    "ends_at_the_deadline",
)
found_by_connecting(
    "last_error_is_told_whatever_it_is",
    "if (!telling_ || has_reached(ec) || !has_reached(telling_)) telling_ = ec;",
    "telling_ = ec;",
    "says_the_error_*",
)
found_by_connecting(
    "attempts_are_of_any_family",
    "        if (!to.is_ip()) {",
    "        if (false) {",
    "says_the_error_*",
)
found_by_connecting(
    "attempt_connects_to_itself",
    "        return false;\n    }\n    refuse_own_peer(h, to, ec);\n    return true;",
    "        return false;\n    }\n    return true;",
    "refuses_a_connection_*",
    "src/net/open.cpp",
)
mutation(
    "connections_by_name_collect_what_is_written",
    CONNECT,
    "        if (!ec) s.set_nodelay(true, ec);\n",
    "",
    "*connections_by_name.are_as_any_other*",
)
