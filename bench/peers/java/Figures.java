import java.io.IOException;
import java.io.UncheckedIOException;
import java.math.BigDecimal;
import java.math.MathContext;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * What all workloads share: settings, samples, and a figure printed as a line of JSON. See workloads/figures.hpp for
 * the rules.
 *
 * One thing is different: the virtual machine compiles while it runs. So the one sample that is thrown away elsewhere
 * is here as many as fit a second (--quick: 0.3 s), at least one.
 */
final class Figures {
    /** goroutines: of parked_memory and scale_*; 0: the workload's own number. */
    record Settings(boolean quick, int goroutines) {
        int samples() {
            return quick ? 7 : 15;
        }

        double warmUpNs() {
            return quick ? 0.3e9 : 1e9;
        }
    }

    record Figure(String work, int procs, double value, String unit, Map<String, Double> extra) {
        void print() {
            StringBuilder line = new StringBuilder();
            line.append(String.format("{\"work\": \"%s\", \"subject\": \"java\", \"procs\": ", work)).append(procs);
            line.append(String.format(", \"value\": %s, \"unit\": \"%s\"", digits(value, 4), unit));
            extra.forEach((key, v) -> line.append(String.format(", \"%s\": %s", key, digits(v, 6))));
            line.append(String.format(", \"version\": \"%s\"}", System.getProperty("java.version")));
            System.out.println(line);
        }

        private static String digits(double value, int count) {
            return new BigDecimal(value).round(new MathContext(count)).stripTrailingZeros().toPlainString();
        }
    }

    /** keys takes names and values in turns. */
    static Map<String, Double> keys(Object... namesAndValues) {
        Map<String, Double> extra = new LinkedHashMap<>();
        for (int i = 0; i < namesAndValues.length; i += 2)
            extra.put((String) namesAndValues[i], ((Number) namesAndValues[i + 1]).doubleValue());
        return extra;
    }

    static double nowNs() {
        return System.nanoTime();
    }

    static double quantile(double[] values, double q) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        return sorted[Math.min(sorted.length - 1, (int) (q * sorted.length))];
    }

    static double median(double[] values) {
        return quantile(values, 0.5);
    }

    /** spreadOf is the extra keys that go with a median. */
    static Map<String, Double> spreadOf(double[] values) {
        return keys("min", quantile(values, 0), "max", quantile(values, 1), "p99", quantile(values, 0.99), "samples",
                values.length);
    }

    interface Work {
        void run() throws Exception;
    }

    interface Operations {
        void run(int n) throws Exception;
    }

    static void warmUp(Settings s, Work work) throws Exception {
        double until = nowNs() + s.warmUpNs();
        do {
            work.run();
        } while (nowNs() < until);
    }

    /** perOperation times run(operations) several times over, where run(n) does n operations. */
    static Figure perOperation(Settings s, int procs, String work, int operations, Operations run) throws Exception {
        int n = s.quick() ? operations / 4 : operations;
        warmUp(s, () -> run.run(n));
        double[] samples = new double[s.samples()];
        for (int i = 0; i < samples.length; i++) {
            double start = nowNs();
            run.run(n);
            samples[i] = (nowNs() - start) / n;
        }
        return new Figure(work, procs, median(samples), "ns", spreadOf(samples));
    }

    /** roundsMs times run() several times over, in milliseconds; not quite as often if a round takes seconds. */
    static double[] roundsMs(Settings s, Work run) throws Exception {
        double[] lastNs = new double[1];
        warmUp(s, () -> lastNs[0] = timeNs(run));
        boolean slow = lastNs[0] > 1e9;
        double[] samples = new double[s.quick() ? (slow ? 1 : 3) : slow ? 3 : 5];
        for (int i = 0; i < samples.length; i++) samples[i] = timeNs(run) * 1e-6;
        return samples;
    }

    private static double timeNs(Work run) throws Exception {
        double start = nowNs();
        run.run();
        return nowNs() - start;
    }

    static Figure perRound(Settings s, int procs, String work, Work run) throws Exception {
        double[] samples = roundsMs(s, run);
        return new Figure(work, procs, median(samples), "ms", spreadOf(samples));
    }

    static void check(boolean condition, String what) {
        if (!condition) throw new IllegalStateException(what);
    }

    /** checkSum is for workloads that pass the numbers from 0 to n - 1 on, and add up what arrives. */
    static void checkSum(long sum, long n) {
        check(sum == n * (n - 1) / 2, "the items add up to " + sum);
    }

    static int xorshift(int state) {
        state ^= state << 13;
        state ^= state >>> 17;
        state ^= state << 5;
        return state;
    }

    static void spinFor(double ns) {
        for (double until = nowNs() + ns; nowNs() < until;) Thread.onSpinWait();
    }

    /** status is a field of /proc/self/status; those that are sizes are in KiB. */
    static double status(String field) {
        try {
            for (String line : Files.readAllLines(Path.of("/proc/self/status")))
                if (line.startsWith(field + ":")) return Double.parseDouble(line.split("\\s+")[1]);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        throw new IllegalStateException("/proc/self/status tells no " + field);
    }

    static double threads() {
        return status("Threads");
    }

    /** ThreadPeak is a thread that counts the others of the process every millisecond, and keeps the most. */
    static final class ThreadPeak {
        private volatile boolean stop;
        private double most;
        private final Thread watcher = Thread.ofPlatform().daemon().start(this::watch);

        private void watch() {
            try {
                while (!stop) {
                    most = Math.max(most, threads() - 1);
                    Thread.sleep(1);
                }
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }

        /** end counts once more, and returns the most. */
        double end() throws InterruptedException {
            double atEnd = threads() - 1;
            stop = true;
            watcher.join();
            return Math.max(most, atEnd);
        }
    }

    private Figures() {}
}
