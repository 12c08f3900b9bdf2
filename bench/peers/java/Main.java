import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;

/**
 * The works of handoff_bench in Java's virtual threads, of the same shape and size: see workloads/figures.hpp for the
 * rules, and the .cpp file of each work there for what is timed; Figures.java says how compilation is kept out,
 * Blocking.java what becomes of calls that block.
 *
 * jdk.virtualThreadScheduler.parallelism is the work's number of processors; all else is as it comes. What is timed
 * runs in a virtual thread. Needs a JDK >= 22: the foreign function interface.
 */
public final class Main {
    private interface Measure {
        List<Figures.Figure> of(Figures.Settings s) throws Exception;
    }

    private record Work(int procs, Measure measure) {}

    private static Work operations(int procs, String name, int operations, Figures.Operations run) {
        return new Work(procs, s -> List.of(Figures.perOperation(s, procs, name, operations, run)));
    }

    private static Work rounds(String name, Figures.Work run) {
        return new Work(2, s -> List.of(Figures.perRound(s, 2, name, run)));
    }

    private interface MeasureOne {
        Figures.Figure of(Figures.Settings s) throws Exception;
    }

    private static Work onTwo(MeasureOne measure) {
        return new Work(2, s -> List.of(measure.of(s)));
    }

    private static Work storms(Blocking.Storm storm) {
        return new Work(2, s -> Blocking.storms(s, storm));
    }

    private static Map<String, Work> works() {
        Map<String, Work> all = new TreeMap<>();
        all.put("yield", operations(1, "yield", 1_000_000, Tasks::yieldPair));
        all.put("spawn", operations(1, "spawn", Tasks.SPAWN_BATCH * 4096, Tasks::spawnBatches));
        all.put("chan_unbuffered", operations(1, "chan_unbuffered", 250_000, Sync::roundTrips));
        all.put("chan_buffered", operations(1, "chan_buffered", 1_000_000, Sync::produceAndConsume));
        all.put("chan_buffered_2p", operations(2, "chan_buffered_2p", 1_000_000, Sync::produceAndConsume));
        all.put("mutex_uncontended", operations(1, "mutex_uncontended", 4_000_000, Sync::lockPairs));
        all.put("mutex_contended", operations(2, "mutex_contended", 2_000_000, Sync::contend));
        all.put("rwmutex_read", operations(1, "rwmutex_read", 4_000_000, Sync::readLockPairs));
        all.put("wait_group", operations(1, "wait_group", 400_000, Tasks::waitForBatches));
        all.put("skynet", rounds("skynet", Tasks::skynet));
        all.put("sleep_100k", rounds("sleep_100k", Tasks::sleepAll));
        all.put("fib", onTwo(s -> Figures.perRound(s, 2, "fib", () -> Tasks.checkFib(s.quick() ? 20 : 24))));
        all.put("nqueens", onTwo(s -> Figures.perRound(s, 2, "nqueens",
                () -> Tasks.checkQueens(s.quick() ? 8 : 10, s.quick() ? 92 : 724))));
        all.put("blocking_storm", storms(Blocking.Storm.USUAL));
        all.put("blocking_storm_warm", storms(Blocking.Storm.USUAL));
        all.put("blocking_storm_busy", onTwo(Blocking::stormBusy));
        all.put("storm_10000x100us", storms(new Blocking.Storm("storm_10000x100us", 10_000, 100_000)));
        all.put("storm_100x50ms", storms(new Blocking.Storm("storm_100x50ms", 100, 50_000_000)));
        all.put("compute_beside_blocking", onTwo(Blocking::computeBesideBlocking));
        all.put("call_not_blocking", onTwo(Blocking::callNotBlocking));
        all.put("file_reads", onTwo(Calls::fileReads));
        all.put("getaddrinfo", onTwo(Calls::getaddrinfo));
        all.put("parked_memory", new Work(2, Scale::parkedMemory));
        all.put("parked_page_tables", new Work(2, Scale::parkedMemory));
        all.put("scale_parked", onTwo(Scale::parked));
        all.put("scale_ready", onTwo(Scale::ready));
        all.put("scale_sleeping", onTwo(Scale::sleeping));
        return all;
    }

    private static void complain(String what) {
        System.err.println("handoff_bench_java: " + what
                + "\nusage: handoff_bench_java --work NAME [--quick] [--goroutines N]");
        System.exit(2);
    }

    private static int parseCount(String text) {
        try {
            int n = Integer.parseInt(text);
            if (n > 0) return n;
        } catch (NumberFormatException e) {
            // complains below
        }
        complain("--goroutines: not a number above 0: " + text);
        return 0;
    }

    private static void measure(Work work, Figures.Settings s) throws InterruptedException {
        System.setProperty("jdk.virtualThreadScheduler.parallelism", Integer.toString(work.procs));
        FutureTask<List<Figures.Figure>> figures = new FutureTask<>(() -> work.measure.of(s));
        Thread.startVirtualThread(figures);
        try {
            figures.get().forEach(Figures.Figure::print);
        } catch (ExecutionException e) {
            e.getCause().printStackTrace();
            System.exit(1);
        }
    }

    public static void main(String[] arguments) throws InterruptedException {
        boolean quick = false;
        int goroutines = 0;
        String name = "";
        for (int i = 0; i < arguments.length; i++) {
            String argument = arguments[i];
            if (argument.equals("--quick")) {
                quick = true;
                continue;
            }
            boolean isWork = argument.equals("--work");
            if (!isWork && !argument.equals("--goroutines")) complain("unknown argument " + argument);
            if (++i == arguments.length) complain(argument + " wants a value");
            if (isWork) name = arguments[i];
            else goroutines = parseCount(arguments[i]);
        }
        Work work = works().get(name);
        if (work == null) complain("no work '" + name + "'");
        else measure(work, new Figures.Settings(quick, goroutines));
    }

    private Main() {}
}
