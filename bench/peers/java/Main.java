import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;

/**
 * The workloads of handoff_bench in Java's virtual threads, of the same shape and size: see workloads/figures.hpp for
 * the rules, and the .cpp file of each workload there for what is timed; Figures.java says how compilation is kept out,
 * Blocking.java what becomes of calls that block.
 *
 * jdk.virtualThreadScheduler.parallelism is the workload's number of processors; all else is as it comes. What is timed
 * runs in a virtual thread. Needs a JDK >= 22: the foreign function interface.
 */
public final class Main {
    private interface Measure {
        List<Figures.Figure> of(Figures.Settings s) throws Exception;
    }

    private record Workload(int procs, Measure measure) {}

    private static Workload operations(int procs, String name, int operations, Figures.Operations run) {
        return new Workload(procs, s -> List.of(Figures.perOperation(s, procs, name, operations, run)));
    }

    private static Workload rounds(String name, Figures.Work run) {
        return new Workload(2, s -> List.of(Figures.perRound(s, 2, name, run)));
    }

    private interface MeasureOne {
        Figures.Figure of(Figures.Settings s) throws Exception;
    }

    private static Workload onTwo(MeasureOne measure) {
        return new Workload(2, s -> List.of(measure.of(s)));
    }

    private static Workload storms(Blocking.Storm storm) {
        return new Workload(2, s -> Blocking.storms(s, storm));
    }

    private static Map<String, Workload> workloads() {
        Map<String, Workload> all = new TreeMap<>();
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
        all.put("parked_memory", new Workload(2, Scale::parkedMemory));
        all.put("parked_page_tables", new Workload(2, Scale::parkedMemory));
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

    private static void measure(Workload workload, Figures.Settings s) throws InterruptedException {
        System.setProperty("jdk.virtualThreadScheduler.parallelism", Integer.toString(workload.procs));
        FutureTask<List<Figures.Figure>> figures = new FutureTask<>(() -> workload.measure.of(s));
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
        Workload workload = workloads().get(name);
        if (workload == null) complain("no workload '" + name + "'");
        else measure(workload, new Figures.Settings(quick, goroutines));
    }

    private Main() {}
}
