import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.locks.ReentrantLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;

/**
 * chan_*, mutex_*, rwmutex_read: see workloads/channels.cpp and workloads/locks.cpp. Java's channels are its blocking
 * queues, of boxed numbers; they can't be closed, so the last item is a mark. It has nothing that selects between two.
 */
final class Sync {
    private static final int CAPACITY = 128;
    private static final Long END = -1L;

    static void roundTrips(int n) throws InterruptedException {
        SynchronousQueue<Long> there = new SynchronousQueue<>(), back = new SynchronousQueue<>();
        Thread echo = Thread.startVirtualThread(() -> {
            try {
                for (Long v = there.take(); !v.equals(END); v = there.take()) back.put(v);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        });
        long sum = 0;
        for (long i = 0; i < n; i++) {
            there.put(i);
            sum += back.take();
        }
        there.put(END);
        echo.join();
        Figures.checkSum(sum, n);
    }

    static void produceAndConsume(int n) throws InterruptedException {
        BlockingQueue<Long> items = new ArrayBlockingQueue<>(CAPACITY);
        Thread producer = Thread.startVirtualThread(() -> {
            try {
                for (long i = 0; i < n; i++) items.put(i);
                items.put(END);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        });
        long sum = 0;
        for (Long v = items.take(); !v.equals(END); v = items.take()) sum += v;
        producer.join();
        Figures.checkSum(sum, n);
    }

    static void lockPairs(int n) {
        ReentrantLock lock = new ReentrantLock();
        for (int i = 0; i < n; i++) {
            lock.lock();
            lock.unlock();
        }
    }

    static void readLockPairs(int n) {
        ReentrantReadWriteLock.ReadLock lock = new ReentrantReadWriteLock().readLock();
        for (int i = 0; i < n; i++) {
            lock.lock();
            lock.unlock();
        }
    }

    private static final class Guarded {
        private final ReentrantLock lock = new ReentrantLock();
        private int pairs;
        private int state = 1;

        void step() {
            lock.lock();
            try {
                pairs++;
                state = Figures.xorshift(Figures.xorshift(state));
            } finally {
                lock.unlock();
            }
        }
    }

    static void contend(int n) throws InterruptedException {
        final int contenders = 8;
        Guarded shared = new Guarded();
        List<Thread> all = new ArrayList<>();
        for (int i = 0; i < contenders; i++) {
            all.add(Thread.startVirtualThread(() -> {
                for (int j = 0; j < n / contenders; j++) shared.step();
            }));
        }
        Tasks.joinAll(all);
        Figures.check(shared.pairs == n, shared.pairs + " pairs of " + n + " were counted");
    }

    private Sync() {}
}
