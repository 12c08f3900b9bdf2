import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Calls that block. What a program can't change is a library with native code, so the calls are native ones.
 *
 * A virtual thread in a native call is pinned: its carrier blocks with it, and no other carrier comes in its place.
 * (jdk.virtualThreadScheduler.maxPoolSize, 256 by default, bounds carriers that are added for the few calls of the
 * JDK's own that ask for one. In JDK 25 reading a file or a pipe is none of them.) The values are those of such calls.
 * Nothing is ever handed off while they last: there is no handoff_*, and nothing to recover from.
 *
 * Who knows that a call pins can run it on a platform thread, here of Executors.newCachedThreadPool(), and wait for the
 * future in the virtual thread: that is the key `platform_threads`, measured after the value.
 *
 *   blocking_storm, storm_*  from the first start until all threads are joined; `threads` is the most that the process
 *                            had, looked at each ms, `warm` a second storm. What is not to be measured, the
 *                            compilation, has been brought about by storms whose call is getppid.
 *   compute_beside_blocking  two virtual threads compute, in slices of some 20 µs between which they yield, beside 64
 *                            that call nanosleep for 1 ms over and over, and yield in between, or the computing ones
 *                            would never run; the steps done, in per cent of those with no other thread
 *   call_not_blocking        what a native call adds to getppid: the thread leaves the state in which it runs Java, and
 *                            comes back. That is getppid less getppid as a "critical" call, which does not leave it.
 */
final class Blocking {
    static final int PROCS = 2;

    interface Way {
        void call(Runnable blocking);
    }

    static final Way PINNED = Runnable::run;

    /** onPlatformThreads hands a way to `work`, and ends its threads afterwards. */
    static <T> T onPlatformThreads(WorkWith<T> work) throws Exception {
        try (ExecutorService pool = Executors.newCachedThreadPool()) {
            return work.with(blocking -> {
                try {
                    pool.submit(blocking).get();
                } catch (InterruptedException | ExecutionException e) {
                    throw new IllegalStateException(e);
                }
            });
        }
    }

    interface WorkWith<T> {
        T with(Way way) throws Exception;
    }

    // ---- blocking_storm, storm_*

    record Storm(String work, int tasks, long sleepNs) {
        static final Storm USUAL = new Storm("blocking_storm", 1000, 1_000_000);

        double passMs(Way way, Runnable call) throws InterruptedException {
            double start = Figures.nowNs();
            List<Thread> all = new ArrayList<>(tasks);
            for (int i = 0; i < tasks; i++) all.add(Thread.startVirtualThread(() -> way.call(call)));
            Tasks.joinAll(all);
            return (Figures.nowNs() - start) * 1e-6;
        }

        double passMs(Way way) throws InterruptedException {
            MemorySegment length = Native.timespec(sleepNs);
            return passMs(way, () -> Native.nanosleep(length));
        }

        void warmUp(Figures.Settings s) throws Exception {
            Native.nanosleep(Native.timespec(1));
            Figures.warmUp(s, () -> passMs(PINNED, Native::getppid));
        }
    }

    static List<Figures.Figure> storms(Figures.Settings s, Storm storm) throws Exception {
        storm.warmUp(s);
        Figures.ThreadPeak peak = new Figures.ThreadPeak();
        double first = storm.passMs(PINNED), second = storm.passMs(PINNED), threads = peak.end();
        Figures.ThreadPeak otherPeak = new Figures.ThreadPeak();
        double[] other = onPlatformThreads(way -> new double[] {storm.passMs(way), storm.passMs(way)});
        List<Figures.Figure> figures = new ArrayList<>();
        figures.add(new Figures.Figure(storm.work, PROCS, first, "ms", Figures.keys("threads", threads, "warm", second,
                "platform_threads", other[0], "platform_threads_threads", otherPeak.end())));
        if (storm == Storm.USUAL) figures.add(new Figures.Figure("blocking_storm_warm", PROCS, second, "ms",
                Figures.keys("threads", threads, "platform_threads", other[1])));
        return figures;
    }

    static Figures.Figure stormBusy(Figures.Settings s) throws Exception {
        Storm.USUAL.warmUp(s);
        Figures.ThreadPeak peak = new Figures.ThreadPeak();
        Figures.spinFor(100e6);
        double first = Storm.USUAL.passMs(PINNED), threads = peak.end();
        double other = onPlatformThreads(way -> {
            Figures.spinFor(100e6);
            return Storm.USUAL.passMs(way);
        });
        return new Figures.Figure("blocking_storm_busy", PROCS, first, "ms",
                Figures.keys("threads", threads, "platform_threads", other));
    }

    // ---- compute_beside_blocking

    private static final class Computing implements Runnable {
        private static final int SLICE = 10_000; // some 20 µs
        private final double until;
        private int state = 1;
        private long steps;

        Computing(double until) {
            this.until = until;
        }

        private void slice() {
            int x = state;
            for (int i = 0; i < SLICE; i++) x = Figures.xorshift(x);
            state = x;
            steps += SLICE;
        }

        @Override
        public void run() {
            while (Figures.nowNs() < until) {
                slice();
                Thread.yield();
            }
            Figures.check(state != 0, "xorshift has come to 0"); // it can't, but must be computed
        }
    }

    /** bothCompute returns the steps that two threads do in that time. */
    private static double bothCompute(double lengthNs) throws InterruptedException {
        double until = Figures.nowNs() + lengthNs;
        Computing a = new Computing(until), b = new Computing(until);
        Thread first = Thread.startVirtualThread(a), second = Thread.startVirtualThread(b);
        first.join();
        second.join();
        return a.steps + b.steps;
    }

    private static final class Blockers {
        private final AtomicLong calls = new AtomicLong();
        private final List<Thread> all = new ArrayList<>();
        private volatile boolean stop;

        Blockers(Way way) {
            MemorySegment oneMs = Native.timespec(1_000_000);
            for (int i = 0; i < 64; i++) {
                all.add(Thread.startVirtualThread(() -> {
                    while (!stop) {
                        way.call(() -> Native.nanosleep(oneMs));
                        calls.incrementAndGet();
                        Thread.yield();
                    }
                }));
            }
        }

        void stop() throws InterruptedException {
            stop = true;
            Tasks.joinAll(all);
        }
    }

    /** besideBlockers returns the steps beside the blockers in per cent of `alone`, and the calls meanwhile. */
    private static double[] besideBlockers(Way way, double lengthNs, double alone) throws InterruptedException {
        Blockers blockers = new Blockers(way);
        double beside = bothCompute(lengthNs);
        double calls = blockers.calls.get();
        blockers.stop();
        return new double[] {100 * beside / alone, calls};
    }

    static Figures.Figure computeBesideBlocking(Figures.Settings s) throws Exception {
        double lengthNs = s.quick() ? 100e6 : 300e6;
        bothCompute(s.warmUpNs());
        Figures.ThreadPeak peak = new Figures.ThreadPeak();
        double alone = bothCompute(lengthNs);
        double[] beside = besideBlockers(PINNED, lengthNs, alone);
        double threads = peak.end();
        double[] other = onPlatformThreads(way -> besideBlockers(way, lengthNs, alone));
        return new Figures.Figure("compute_beside_blocking", PROCS, beside[0], "%", Figures.keys("blocking_calls",
                beside[1], "threads", threads, "platform_threads", other[0], "platform_threads_calls", other[1]));
    }

    // ---- call_not_blocking

    private static volatile int parent;

    private static void calls(int n) {
        int sum = 0;
        for (int i = 0; i < n; i++) sum += Native.getppid();
        parent = sum;
    }

    private static void criticalCalls(int n) {
        int sum = 0;
        for (int i = 0; i < n; i++) sum += Native.getppidCritical();
        parent = sum;
    }

    static Figures.Figure callNotBlocking(Figures.Settings s) throws Exception {
        int n = s.quick() ? 10_000 : 40_000;
        Figures.warmUp(s, () -> {
            calls(n);
            criticalCalls(n);
        });
        double[] differences = new double[5 * s.samples()];
        for (int i = 0; i < differences.length; i++) {
            double t0 = Figures.nowNs();
            calls(n);
            double t1 = Figures.nowNs();
            criticalCalls(n);
            double t2 = Figures.nowNs();
            differences[i] = ((t1 - t0) - (t2 - t1)) / n;
        }
        return new Figures.Figure("call_not_blocking", PROCS, Figures.median(differences), "ns",
                Figures.spreadOf(differences));
    }

    private Blocking() {}
}
