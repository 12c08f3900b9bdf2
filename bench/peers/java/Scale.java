import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Cost as the number of virtual threads grows: parked_memory and scale_*.
 *
 *   parked_memory    see workloads/parked_memory.cpp; the threads wait for a latch. Before each reading the garbage is
 *                    collected, but the virtual machine keeps some of the memory that this frees: `heap` is the growth
 *                    of what is in use of the heap, a thread.
 *   scale_parked     N threads wait at a semaphore without permits; when all have come to it, N permits are added. From
 *                    the first start until all have ended, divided by N; `bytes` is VmRSS's growth a thread, in a first
 *                    round of its own
 *   scale_ready      N threads yield 3 times and end
 *   scale_sleeping   N threads sleep; until all have ended, less one sleep's length, divided by N
 *
 * N = --goroutines. How often what is repeated: see workloads/scale.hpp.
 */
final class Scale {
    private static final int PROCS = 2;

    private static double heapInUse() {
        Runtime runtime = Runtime.getRuntime();
        return runtime.totalMemory() - runtime.freeMemory();
    }

    /** residentBytes collects the garbage first. */
    private static double residentBytes() {
        System.gc();
        return Figures.status("VmRSS") * 1024;
    }

    // ---- parked_memory

    static List<Figures.Figure> parkedMemory(Figures.Settings s) throws Exception {
        int n = s.goroutines() > 0 ? s.goroutines() : s.quick() ? 200_000 : 1_000_000;
        Thread.startVirtualThread(() -> {}).join(); // warm-up
        AtomicInteger aboutToPark = new AtomicInteger();
        CountDownLatch gate = new CountDownLatch(1), all = new CountDownLatch(n);

        double before = residentBytes(), heapBefore = heapInUse(), tablesBefore = Figures.status("VmPTE") * 1024;
        for (int i = 0; i < n; i++) {
            Thread.startVirtualThread(() -> {
                aboutToPark.incrementAndGet();
                await(gate);
                all.countDown();
            });
            if (i % 128 == 127) Thread.yield();
        }
        while (aboutToPark.get() < n) Thread.sleep(1);
        Thread.sleep(100); // for those between the count and the park
        double after = residentBytes(), heap = heapInUse(), tables = Figures.status("VmPTE") * 1024;
        gate.countDown();
        all.await();
        return List.of(
                new Figures.Figure("parked_memory", PROCS, (after - before) / n, "B",
                        Figures.keys("goroutines", n, "heap", (heap - heapBefore) / n)),
                new Figures.Figure("parked_page_tables", PROCS, (tables - tablesBefore) / n, "B",
                        Figures.keys("goroutines", n)));
    }

    private static void await(CountDownLatch latch) {
        try {
            latch.await();
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    // ---- scale_*

    private record Shape(int n, int rounds, int samples) {
        static Shape of(Figures.Settings s) {
            int n = s.goroutines() > 0 ? s.goroutines() : 1000;
            int inSample = s.quick() ? 2_500 : 10_000, most = s.quick() ? 200_000 : 1_000_000;
            return new Shape(n, Math.max(1, inSample / n), Math.clamp(most / n, 1, s.samples()));
        }

        Figures.Figure measure(String work, double lessNs, Figures.Work round) throws Exception {
            double[] values = new double[samples];
            for (int i = 0; i < samples; i++) {
                double start = Figures.nowNs();
                for (int j = 0; j < rounds; j++) round.run();
                values[i] = ((Figures.nowNs() - start) / rounds - lessNs) / n;
            }
            Map<String, Double> extra = Figures.spreadOf(values);
            extra.put("goroutines", (double) n);
            return new Figures.Figure(work, PROCS, Figures.median(values), "ns", extra);
        }
    }

    private static void parkedRound(int n, Figures.Work atHeight) throws Exception {
        AtomicInteger aboutToPark = new AtomicInteger();
        Semaphore gate = new Semaphore(0);
        List<Thread> all = new ArrayList<>(n);
        for (int i = 0; i < n; i++) {
            all.add(Thread.startVirtualThread(() -> {
                aboutToPark.incrementAndGet();
                gate.acquireUninterruptibly();
            }));
        }
        while (aboutToPark.get() < n) Thread.yield();
        atHeight.run();
        gate.release(n);
        Tasks.joinAll(all);
    }

    static Figures.Figure parked(Figures.Settings s) throws Exception {
        Shape shape = Shape.of(s);
        parkedRound(1, () -> {});
        double before = residentBytes();
        double[] height = new double[1];
        double start = Figures.nowNs();
        parkedRound(shape.n, () -> {
            Thread.sleep(10); // for those between the count and the park
            height[0] = residentBytes();
        });
        if (Figures.nowNs() - start < s.warmUpNs()) Figures.warmUp(s, () -> parkedRound(shape.n, () -> {}));
        Figures.Figure figure = shape.measure("scale_parked", 0, () -> parkedRound(shape.n, () -> {}));
        figure.extra().put("bytes", (height[0] - before) / shape.n);
        return figure;
    }

    private static void startAndJoin(int n, Runnable task) throws InterruptedException {
        List<Thread> all = new ArrayList<>(n);
        for (int i = 0; i < n; i++) all.add(Thread.startVirtualThread(task));
        Tasks.joinAll(all);
    }

    static Figures.Figure ready(Figures.Settings s) throws Exception {
        Shape shape = Shape.of(s);
        Runnable yieldThrice = () -> {
            for (int k = 0; k < 3; k++) Thread.yield();
        };
        Figures.warmUp(s, () -> startAndJoin(shape.n, yieldThrice));
        return shape.measure("scale_ready", 0, () -> startAndJoin(shape.n, yieldThrice));
    }

    static Figures.Figure sleeping(Figures.Settings s) throws Exception {
        Shape shape = Shape.of(s);
        Shape fewer = new Shape(shape.n, Math.min(shape.rounds, 10), shape.samples);
        long lengthMs = shape.n <= 1000 ? 1 : shape.n <= 100_000 ? 10 : 100;
        Runnable sleep = () -> Tasks.sleep(lengthMs);
        Figures.warmUp(s, () -> startAndJoin(shape.n, sleep));
        return fewer.measure("scale_sleeping", lengthMs * 1e6, () -> startAndJoin(shape.n, sleep));
    }

    private Scale() {}
}
