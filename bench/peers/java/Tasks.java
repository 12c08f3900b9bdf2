import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;

/** Virtual threads that start, yield, sleep and end: yield, spawn, wait_group, skynet, sleep_100k, fib, nqueens. */
final class Tasks {
    static void joinAll(List<Thread> all) throws InterruptedException {
        for (Thread t : all) t.join();
    }

    // ---- yield: see workloads/yield.cpp.

    static void yieldPair(int n) throws InterruptedException {
        Runnable half = () -> {
            for (int i = 0; i < n / 2; i++) Thread.yield();
        };
        Thread a = Thread.startVirtualThread(half), b = Thread.startVirtualThread(half);
        a.join();
        b.join();
    }

    // ---- spawn: see workloads/spawn.cpp.

    static final int SPAWN_BATCH = 128;

    static void spawnBatches(int n) {
        AtomicInteger done = new AtomicInteger();
        for (int started = 0; started < n;) {
            for (int i = 0; i < SPAWN_BATCH; i++) Thread.startVirtualThread(done::incrementAndGet);
            started += SPAWN_BATCH;
            while (done.get() < started) Thread.yield();
        }
    }

    // ---- wait_group: see workloads/wait_group.cpp. What Java has for it is the CountDownLatch.

    static void waitForBatches(int n) throws InterruptedException {
        final int batch = 1000;
        for (int started = 0; started < n; started += batch) {
            CountDownLatch all = new CountDownLatch(batch);
            for (int i = 0; i < batch; i++) Thread.startVirtualThread(all::countDown);
            all.await();
        }
    }

    // ---- skynet: see workloads/skynet.cpp.

    private static void skynetNode(ArrayBlockingQueue<Long> to, long number, long leaves) {
        try {
            if (leaves == 1) {
                to.put(number);
                return;
            }
            ArrayBlockingQueue<Long> from = new ArrayBlockingQueue<>(10);
            for (int i = 0; i < 10; i++) {
                long first = number + i * (leaves / 10);
                Thread.startVirtualThread(() -> skynetNode(from, first, leaves / 10));
            }
            long sum = 0;
            for (int i = 0; i < 10; i++) sum += from.take();
            to.put(sum);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    static void skynet() throws InterruptedException {
        final long leaves = 1_000_000;
        ArrayBlockingQueue<Long> result = new ArrayBlockingQueue<>(1);
        Thread.startVirtualThread(() -> skynetNode(result, 0, leaves));
        Figures.checkSum(result.take(), leaves);
    }

    // ---- sleep_100k: see workloads/timers.cpp.

    static void sleep(long ms) {
        try {
            Thread.sleep(ms);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    static void sleepAll() throws InterruptedException {
        final int sleepers = 100_000;
        List<Thread> all = new ArrayList<>(sleepers);
        for (int i = 0; i < sleepers; i++) all.add(Thread.startVirtualThread(() -> sleep(1)));
        joinAll(all);
    }

    // ---- fib: each call with n >= 2 starts fib(n - 1) in a virtual thread, computes fib(n - 2) itself, and joins.

    private static final class Fib implements Runnable {
        private final int n;
        private int result;

        Fib(int n) {
            this.n = n;
        }

        @Override
        public void run() {
            result = of(n);
        }

        static int of(int n) {
            if (n < 2) return n;
            Fib other = new Fib(n - 1);
            Thread thread = Thread.startVirtualThread(other);
            int own = of(n - 2);
            join(thread);
            return own + other.result;
        }
    }

    private static void join(Thread thread) {
        try {
            thread.join();
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    static void checkFib(int n) throws InterruptedException {
        int a = 0, b = 1;
        for (int i = 0; i < n; i++) {
            int next = a + b;
            a = b;
            b = next;
        }
        Fib fib = new Fib(n);
        Thread.startVirtualThread(fib).join();
        Figures.check(fib.result == a, "fib(" + n + ") is not " + fib.result);
    }

    // ---- nqueens: each placement in the first rows is a thread that its parent row starts; below, it is sequential.

    /** left and right are the diagonals, as they meet this row; a bit for each column. */
    private record Board(int size, int row, int columns, int left, int right) {
        static final int PARALLEL_ROWS = 4;

        int free() {
            return ~(columns | left | right) & ((1 << size) - 1);
        }

        Board withQueen(int column) {
            return new Board(size, row + 1, columns | column, (left | column) << 1, (right | column) >> 1);
        }

        int solutions() {
            if (row == size) return 1;
            int count = 0;
            for (int open = free(); open != 0; open &= open - 1) count += withQueen(open & -open).solutions();
            return count;
        }

        int inParallel() {
            if (row == PARALLEL_ROWS) return solutions();
            int[] counts = new int[Integer.bitCount(free())];
            Thread[] threads = new Thread[counts.length];
            int placements = 0;
            for (int open = free(); open != 0; open &= open - 1) {
                Board next = withQueen(open & -open);
                int i = placements++;
                threads[i] = Thread.startVirtualThread(() -> counts[i] = next.inParallel());
            }
            int count = 0;
            for (int i = 0; i < placements; i++) {
                join(threads[i]);
                count += counts[i];
            }
            return count;
        }
    }

    static void checkQueens(int size, int expected) {
        int solutions = new Board(size, 0, 0, 0, 0).inParallel();
        Figures.check(solutions == expected, solutions + " ways to place " + size + " queens");
    }

    private Tasks() {}
}
