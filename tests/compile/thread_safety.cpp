// For clang's -Wthread-safety: it knows the library's locks. Compiled as it stands without a warning, and with WRONG set to
// the number of one of the mistakes below with one.
#include <handoff/handoff.hpp>

namespace {

struct __attribute__((scoped_lockable)) guard {
    explicit guard(handoff::mutex& m) __attribute__((acquire_capability(m))) : m_(m) { m_.lock(); }
    ~guard() __attribute__((release_capability())) { m_.unlock(); }
    handoff::mutex& m_;
};

class account {
public:
    void deposit(int n) {
        const guard hold(m_);
        balance_ += n;
    }
    bool try_deposit(int n) {
        if (!m_.try_lock()) return false;
        balance_ += n;
        m_.unlock();
        return true;
    }
    void wait_for_money() {
        m_.lock();
        while (balance_ == 0) changed_.wait(m_);
        m_.unlock();
    }
    int rate() {
        rates_.lock_shared();
        const int r = rate_;
        rates_.unlock_shared();
        return r;
    }
    void set_rate(int r) {
        rates_.lock();
        rate_ = r;
        rates_.unlock();
    }
#if WRONG == 1
    int balance() { return balance_; }
#elif WRONG == 2
    void forget() { m_.lock(); }
#elif WRONG == 3
    void change_as_reader() {
        rates_.lock_shared();
        ++rate_;
        rates_.unlock_shared();
    }
#elif WRONG == 4
    void release_in_vain() { rates_.unlock_shared(); }
#elif WRONG == 5
    void forget_to_ask() {
        m_.try_lock_for(std::chrono::seconds(1));
        ++balance_;
        m_.unlock();
    }
#endif

private:
    handoff::mutex m_;
    handoff::shared_mutex rates_;
    handoff::condition_variable changed_;
    int balance_ __attribute__((guarded_by(m_))) = 0;
    int rate_ __attribute__((guarded_by(rates_))) = 0;
};

}  // namespace

int main() {
    account a;
    a.deposit(1);
    a.set_rate(a.try_deposit(1) ? 1 : 0);
    a.wait_for_money();
    return a.rate() > 1;
}
