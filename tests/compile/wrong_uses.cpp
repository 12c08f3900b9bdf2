// Wrong uses: each must be refused with one sentence. Not compiled as it stands: tests/compile/check makes a program of
// each line of main, and looks for what its comment says in what the compilers print.
#include <handoff/handoff.hpp>

#include <array>
#include <memory>
#include <string>
#include <vector>

using namespace std::chrono_literals;

struct only_lvalue {
    void operator()() & {}
};
struct only_rvalue {
    void operator()() && {}
};
struct only_const {
    void operator()() = delete;
    void operator()() const {}
};
struct point {
    int x;
    int y() const;
};
struct text {
    explicit text(const char*) {}
};

int no_argument();
int one_argument(int);
void by_reference(int&);
void by_pointer(std::unique_ptr<int>);

int i = 0;
only_lvalue needs_lvalue;
std::unique_ptr<int> pointer;
handoff::spawn_options named;
const handoff::spawn_options always{.name = "x"};
handoff::once_flag once;
handoff::channel<int> numbers;
handoff::channel<std::unique_ptr<int>> pointers;
handoff::channel<text> texts;
std::stop_token token;
std::vector<handoff::select_case> cases;
const std::vector<handoff::select_case> fixed_cases;

void wrong(handoff::runtime& rt, handoff::task_group& group) {
    // go
    handoff::go(by_reference, i);   // go(f, args...): f can't be called with these arguments
    handoff::go([](int& x) { return x; }, 1);   // go(f, args...): f can't be called with these arguments
    handoff::go(one_argument);   // go(f, args...): f can't be called with these arguments
    handoff::go(no_argument, 1);   // go(f, args...): f can't be called with these arguments
    handoff::go(one_argument, 1, 2);   // go(f, args...): f can't be called with these arguments
    handoff::go(one_argument, "text");   // go(f, args...): f can't be called with these arguments
    handoff::go(needs_lvalue);   // go(f, args...): f can't be called with these arguments
    handoff::go(by_pointer, pointer);   // std::move(x) for what can't be copied
    handoff::go([p = std::make_unique<int>(1)] {}, i);   // go(f, args...): f can't be called with these arguments
    handoff::go(&point::y);   // go(f, args...): f can't be called with these arguments
    handoff::go(1);   // go(f, args...): f can't be called with these arguments
    handoff::go(named, one_argument);   // go(f, args...): f can't be called with these arguments
    handoff::go(always, by_reference, i);   // pass std::ref(x) for a reference
    handoff::go(handoff::spawn_options{.name = "x"}, no_argument, 1);   // go(f, args...): f can't be called with these arguments
    handoff::go(named);   // go(f, args...): f can't be called with these arguments
    const int result = handoff::go(by_reference, i).join();   // go(f, args...): f can't be called with these arguments
    std::vector<handoff::join_handle<int>> all; all.push_back(handoff::go(one_argument));   // go(f, args...): f can't be called with
    auto handle = handoff::go(by_reference, i); if (handle.wait_for(1s)) handle.join();   // go(f, args...): f can't be called with
    // runtime
    rt.go(by_reference, i);   // go(f, args...): f can't be called with these arguments
    rt.go(one_argument);   // go(f, args...): f can't be called with these arguments
    rt.go(named, by_reference, i);   // go(f, args...): f can't be called with these arguments
    rt.go(always, needs_lvalue);   // go(f, args...): f can't be called with these arguments
    rt.run(by_reference, i);   // runtime::run(f, args...): f can't be called with these arguments
    rt.run(no_argument, 1);   // runtime::run(f, args...): f can't be called with these arguments
    rt.run(by_pointer, pointer);   // runtime::run(f, args...): f can't be called with these arguments
    const std::string said = rt.run(one_argument);   // runtime::run(f, args...): f can't be called with these arguments
    // task_group
    group.go(one_argument);   // task_group::go(f, args...): f can't be called with these arguments
    group.go(one_argument, std::string());   // task_group::go(f, args...): f can't be called with these arguments
    group.go(needs_lvalue);   // task_group::go(f, args...): f can't be called with these arguments
    group.try_go(one_argument);   // task_group::go(f, args...): f can't be called with these arguments
    handoff::wait_group().go(one_argument);   // wait_group::go(f, args...): f can't be called with these arguments
    group.go(named, one_argument);   // task_group::go(f, args...): f can't be called with these arguments
    group.go(always, [](int) {});   // task_group::go(f, args...): f can't be called with these arguments
    // cases of what is no channel
    handoff::on_join(1);   // on_join(handle, f): handle must be a handoff::join_handle
    handoff::on_join(handoff::go(no_argument), one_argument);   // f a function without parameters
    handoff::on_done(handoff::mutex());   // on_done(x, f): x must be a wait_group, a latch or a task_group
    handoff::on_done(group, one_argument);   // f a function without parameters
    handoff::on_acquire(numbers);   // on_acquire(semaphore, f): semaphore must be a handoff::counting_semaphore
    handoff::on_set(once);   // on_set(event, f): event must be a handoff::event or auto_reset_event
    // calls
    handoff::blocking_call(one_argument);   // blocking_call(f, args...): f can't be called with these arguments
    handoff::blocking_call(by_reference, 1);   // blocking_call(f, args...): f can't be called with these arguments
    handoff::blocking_call(by_pointer, pointer);   // blocking_call(f, args...): f can't be called with these arguments
    handoff::blocking_call(handoff::handoff_policy::immediate, no_argument, 1);   // blocking_call(f, args...): f can't be called
    const long got = handoff::blocking_call(one_argument, "text");   // blocking_call(f, args...): f can't be called
    handoff::call_once(once, one_argument);   // call_once(flag, f, args...): f can't be called with these arguments
    handoff::call_once(once, by_reference, 1);   // call_once(flag, f, args...): f can't be called with these arguments
    // channels
    numbers.send("text");   // channel<T>: the value doesn't convert to T, the type that the channel holds
    numbers.send("text", token);   // channel<T>: the value doesn't convert to T, the type that the channel holds
    pointers.send(pointer);   // std::move(x) for what can't be copied
    pointers.try_send(pointer);   // channel<T>: the value doesn't convert to T, the type that the channel holds
    pointers.send_for(pointer, 1s);   // channel<T>: the value doesn't convert to T, the type that the channel holds
    pointers.send_until(pointer, std::chrono::steady_clock::now());   // channel<T>: the value doesn't convert to T
    texts.send("text");   // Pass T(x) if a constructor makes one
    if (numbers.try_send("text")) numbers.close();   // channel<T>: the value doesn't convert to T
    if (numbers.send_for("text", 1s)) numbers.close();   // channel<T>: the value doesn't convert to T
    if (numbers.send_until("text", std::chrono::steady_clock::now())) numbers.close();   // channel<T>: the value doesn't convert to T
    // cases
    handoff::select(handoff::on_recv(numbers, [](int) {}), handoff::otherwise());   // on_recv(ch, f): ch must be a handoff::channel<T>, and f a function that takes a std::optional<T>
    handoff::select(handoff::on_recv(numbers, [] {}));   // on_recv(ch, f): ch must be a handoff::channel<T>
    handoff::select(handoff::on_recv(handoff::channel<int>(1), [](int) {}));   // on_recv(ch, f): ch must be a handoff::channel<T>
    handoff::on_recv(i);   // on_recv(ch, f): ch must be a handoff::channel<T>
    handoff::on_recv(&numbers, [](std::optional<int>) {});   // on_recv(ch, f): ch must be a handoff::channel<T>
    handoff::on_recv(numbers, only_rvalue());   // on_recv(ch, f): ch must be a handoff::channel<T>
    handoff::select(handoff::on_send(numbers, "text"));   // on_send(ch, value, f): ch must be a handoff::channel<T>, value one of which a T can be made
    handoff::select(handoff::on_send(numbers, 1, [](int) {}));   // and f a function without parameters
    handoff::select(handoff::on_send(numbers));   // on_send(ch, value, f): ch must be a handoff::channel<T>
    handoff::select(handoff::on_send(pointers, pointer));   // on_send(ch, value, f): ch must be a handoff::channel<T>
    auto sent = handoff::on_send(i, 1); handoff::select(sent); i = *sent.value();   // on_send(ch, value, f): ch must be a handoff::channel<T>
    handoff::select(handoff::on_timeout(5));   // on_timeout(d, f): d must be a std::chrono::duration
    handoff::select(handoff::on_timeout(5ms, one_argument));   // on_timeout(d, f): d must be a std::chrono::duration, as in 5ms, and f a function without parameters
    handoff::select(handoff::on_deadline(5ms));   // on_deadline(t, f): t must be a std::chrono::time_point of a clock
    handoff::select(handoff::on_deadline(std::chrono::steady_clock::now(), one_argument));   // and f a function without parameters
    handoff::select(handoff::on_stop(i));   // on_stop(token, f): token must be a std::stop_token
    handoff::select(handoff::on_stop(token, one_argument));   // on_stop(token, f): token must be a std::stop_token
    handoff::select(handoff::on_stop(std::stop_source()));   // on_stop(token, f): token must be a std::stop_token (source.get_token() of a source)
    handoff::select(handoff::otherwise(one_argument));   // otherwise(f): f must be a function without parameters
    handoff::select(handoff::otherwise(1));   // otherwise(f): f must be a function without parameters
    // select
    handoff::select(1);   // select(cases...): each must be a case
    handoff::select(numbers);   // select(cases...): each must be a case
    handoff::select(handoff::on_recv(numbers), [] {});   // select(cases...): each must be a case
    handoff::select(fixed_cases);   // or one variable, a std::vector<select_case>
    handoff::select(std::vector<handoff::select_case>());   // or one variable, a std::vector<select_case>
    // timers
    handoff::timer t(1s, [p = std::make_unique<int>(1)] {});   // timer(d, f): f is kept in a std::function<void()>, so it must be callable without arguments, and copyable
    handoff::timer t(rt, 1s, [p = std::make_unique<int>(1)] {});   // timer(d, f): f is kept in a std::function<void()>
    handoff::timer t(1s, one_argument);   // timer(d, f): f is kept in a std::function<void()>
    handoff::timer t(rt, 1s, i);   // timer(d, f): f is kept in a std::function<void()>
}
