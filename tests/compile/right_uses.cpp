// Right uses that must go on compiling: what could be taken for one of those in wrong_uses.cpp, if the overloads that
// refuse these were too eager. Compiled without a warning by tests/compile/check.
#include <handoff/handoff.hpp>

#include <array>
#include <concepts>
#include <memory>
#include <string>
#include <utility>
#include <vector>

using handoff::join_handle;
using namespace std::chrono_literals;

namespace {

struct point {
    int x;
    int y() const { return x; }
    void move_to(int to) { x = to; }
};

struct counter {
    int n = 0;
    int operator()() { return ++n; }
};

struct only_rvalue {
    int operator()() && { return 1; }
};

struct only_lvalue {
    void operator()() & {}
};

struct immovable {
    immovable() = default;
    immovable(const immovable&) = delete;
};

struct becomes_options {
    operator handoff::spawn_options() const { return {}; }
};

struct aggregate {
    std::string name;
    int n;
};

int one(int n) noexcept { return n; }
void none() {}
void by_reference(int& n) { ++n; }
std::size_t size_of(const std::string& s) { return s.size(); }
int by_pointer(std::unique_ptr<int> p) { return *p; }
void takes_function(void (*f)()) { f(); }

// What a right call returns says which overload it was.
template <class Is, class T>
void returns(T&& result) {
    static_assert(std::same_as<std::remove_cvref_t<T>, Is>);
    (void)result;
}

template <class Starter>
void right_goroutines(Starter&& start) {
    int n = 0;
    const int c = 0;
    counter f;
    const auto constant = [] { return 1; };
    auto generic = [](auto... all) { return sizeof...(all); };
    auto owner = [p = std::make_unique<int>(1)] { return *p; };
    auto changes = [n]() mutable { return ++n; };
    handoff::spawn_options lvalue;
    const handoff::spawn_options always;
    point at{1};

    returns<join_handle<int>>(start(one, 1));
    returns<join_handle<int>>(start(one, c));
    returns<join_handle<int>>(start(&one, n));
    returns<join_handle<int>>(start(f));
    returns<join_handle<int>>(start(std::ref(f)));
    returns<join_handle<int>>(start(constant));
    returns<join_handle<int>>(start(changes));
    returns<join_handle<int>>(start(only_rvalue()));
    returns<join_handle<int>>(start(std::move(owner)));
    returns<join_handle<int>>(start(by_pointer, std::make_unique<int>(1)));
    returns<join_handle<void>>(start(none));
    returns<join_handle<void>>(start(none, handoff::call_site::current()));
    returns<join_handle<void>>(start(by_reference, std::ref(n)));
    returns<join_handle<void>>(start(takes_function, none));
    returns<join_handle<std::size_t>>(start(size_of, "text"));
    returns<join_handle<std::size_t>>(start(generic));
    returns<join_handle<std::size_t>>(start(generic, 1, "text", none));
    returns<join_handle<int>>(start(&point::y, at));
    returns<join_handle<int>>(start(&point::y, &at));
    returns<join_handle<int&&>>(start(&point::x, point{1}));
    returns<join_handle<void>>(start(&point::move_to, std::ref(at), 2));
    returns<join_handle<void>>(start(std::function<void()>(none)));

    returns<join_handle<int>>(start(lvalue, one, 1));
    returns<join_handle<int>>(start(always, one, n));
    returns<join_handle<int>>(start(std::move(lvalue), f));
    returns<join_handle<void>>(start(handoff::spawn_options{.name = "x"}, none));
    returns<join_handle<void>>(start(becomes_options(), none));
    returns<join_handle<std::size_t>>(start(always, generic, always));
}

void right_braces(handoff::runtime& rt, handoff::task_group& group) {
    returns<join_handle<void>>(handoff::go({.name = "x"}, none));
    returns<join_handle<int>>(handoff::go({"x"}, one, 1));
    returns<join_handle<void>>(rt.go({}, none));
    returns<join_handle<int>>(rt.go({"x"}, one, 1));
    group.go({.name = "x"}, none);
    group.go({"x"}, none);
}

void right_groups(handoff::runtime& rt, handoff::task_group& group) {
    handoff::spawn_options lvalue;
    const handoff::spawn_options always;
    group.go(none);
    returns<join_handle<int>>(group.go(only_rvalue()));
    returns<join_handle<int>>(group.go([](int n, const std::unique_ptr<int>&) { return n; }, 1, std::make_unique<int>(2)));
    if (auto started = group.try_go([] { return 1; })) returns<join_handle<int>>(std::move(*started));
    group.go([p = std::make_unique<int>(1)]() mutable { p.reset(); });
    group.go(none, handoff::call_site::current());
    group.go(lvalue, counter());
    group.go(always, [](auto...) {});
    group.go(handoff::spawn_options(), none);

    static_assert(std::same_as<decltype(rt.run(one, 1)), int>);
    static_assert(std::same_as<decltype(rt.run(by_pointer, std::make_unique<int>())), int>);
    static_assert(std::same_as<decltype(rt.run([](auto&&...) {}, 1, "text")), void>);
}

void right_calls() {
    int n = 0;
    const immovable stays;
    handoff::once_flag once;
    handoff::blocking_call(none);
    handoff::blocking_call(by_reference, n);
    handoff::blocking_call([](const immovable&) {}, stays);
    returns<int>(handoff::blocking_call(one, 1));
    returns<int>(handoff::blocking_call(handoff::handoff_policy::sysmon, one, n));
    returns<int>(handoff::blocking_call(&point::y, point{1}));
    returns<int>(handoff::blocking_call(by_pointer, std::make_unique<int>(1)));
    returns<int>(handoff::blocking_call(only_rvalue()));
    handoff::blocking_call({}, none);
    handoff::call_once(once, none);
    handoff::call_once(once, by_reference, n);
    handoff::call_once(once, counter());
}

void right_values() {
    const handoff::channel<std::string> words;
    const handoff::channel<long> numbers;
    const handoff::channel<std::unique_ptr<int>> pointers;
    const handoff::channel<aggregate> pairs;
    const handoff::channel<std::function<void()>> functions;
    const std::string word;
    const std::stop_token token;
    const auto now = std::chrono::steady_clock::now();
    words.send("text");
    words.send("text", token);
    words.send(word);
    words.send({"text"});
    words.send({});
    words.send({word, 0, 1});
    numbers.send(1);
    numbers.send('c');
    functions.send(none);
    pairs.send({"text", 1});
    pairs.send({.name = "text", .n = 1}, token);
    pointers.send(nullptr);
    pointers.send({});
    pointers.send(std::make_unique<int>(1));
    pointers.send(std::make_unique<int>(1), token);
    auto p = std::make_unique<int>(1);
    returns<bool>(pointers.try_send(std::move(p)));
    returns<bool>(pointers.send_for(std::move(p), 1s));
    returns<bool>(pointers.send_until(std::move(p), now));
    returns<bool>(words.try_send("text"));
    returns<bool>(words.try_send(word));
    returns<bool>(words.try_send({"text"}));
    returns<bool>(words.send_for(word, 1s));
    returns<bool>(words.send_for("text", 1s));
    returns<bool>(words.send_until({"text"}, now));
    returns<bool>(numbers.send_until(1, now));
}

void right_cases() {
    using handoff::select_case;
    const handoff::channel<std::string> words;
    const handoff::channel<std::unique_ptr<int>> pointers;
    std::optional<std::string> word;
    std::stop_source source;
    const auto now = std::chrono::system_clock::now();
    auto kept = handoff::on_send(words, "text");
    handoff::select(handoff::on_recv(words, [](std::optional<std::string>) {}), handoff::on_recv(words, word), kept,
                    handoff::on_recv(words, [](auto&&) {}), handoff::on_recv(handoff::channel<int>(1), [](std::optional<long>) {}),
                    handoff::on_recv(handoff::channel<int>(1)), handoff::on_send(pointers, std::make_unique<int>(1), only_lvalue()),
                    handoff::on_send(pointers, nullptr), handoff::on_send(handoff::channel<int>(1), 1, none),
                    handoff::on_timeout(1s), handoff::on_timeout(1s, none), handoff::on_deadline(now),
                    handoff::on_deadline(now, [p = std::make_unique<int>(1)] {}), handoff::on_stop(source.get_token()),
                    handoff::on_stop({}, counter()));
    handoff::select(handoff::otherwise());
    handoff::select(handoff::otherwise(none));
    handoff::select();
    std::vector<select_case> many;
    many.emplace_back(handoff::on_recv(words));
    handoff::select(many);
    handoff::select(std::span<select_case>(many));
    std::array<select_case, 1> few{handoff::on_timeout(1s, none)};
    handoff::select(few);
}

void right_timers(handoff::runtime& rt) {
    const std::function<void()> f = none;
    auto shared = [p = std::make_shared<int>(1)] {};
    const handoff::timer to_channel(1s), by_function(1s, none), by_object(1s, f), by_lambda(1s, shared), by_result(1s, counter());
    const handoff::timer in(rt, 1s), calls(rt, 1ms, shared), without(1s, nullptr), braced(1s, {}), braced_in(rt, 1s, {shared});
}

}  // namespace

int main() {
    handoff::runtime rt;
    handoff::task_group group(rt);
    right_goroutines([](auto&&... all) { return handoff::go(std::forward<decltype(all)>(all)...); });
    right_goroutines([&](auto&&... all) { return rt.go(std::forward<decltype(all)>(all)...); });
    right_braces(rt, group);
    right_groups(rt, group);
    right_calls();
    right_values();
    right_cases();
    right_timers(rt);
}
