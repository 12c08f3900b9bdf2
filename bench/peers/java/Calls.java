import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * Real calls that block: file_reads and getaddrinfo. As in Blocking.java the value is that of calls that pin, and
 * `platform_threads` the other.
 *
 *   file_reads    1,000 virtual threads read random blocks of 4 KiB, by FileChannel's read, which is pread, of a file
 *                 of 256 MiB (--quick: 64) that the page cache does not hold: it is dropped after it was written, and
 *                 each block once more before its read. The time of all divided by the number of reads; p99_us is of a
 *                 single read, the wait for a thread included. The code has been compiled by reads of another such
 *                 file of 1 MiB.
 *   getaddrinfo   200 virtual threads look up "localhost" 5 times; the time of all divided by the number of calls. It
 *                 is the C library's function: InetAddress lets threads that look up the same name wait for one another.
 */
final class Calls {
    private static final int BLOCK = 4096;

    /** UncachedFile has no name, so that it goes with the process. Each block starts with its number. */
    private static final class UncachedFile implements AutoCloseable {
        private static final int MIB = 1 << 20;
        final int blocks;
        private final FileChannel channel;
        private final int fd; // what posix_fadvise wants to be given; it is closed with the process

        UncachedFile(int mib) throws IOException {
            String directory = System.getenv("TMPDIR");
            Path path = Files.createTempFile(Path.of(directory == null || directory.isEmpty() ? "/tmp" : directory),
                    "handoff_bench_", null);
            try {
                fd = Native.openForReading(path.toString());
                channel = FileChannel.open(path, StandardOpenOption.READ, StandardOpenOption.WRITE);
            } finally {
                Files.delete(path);
            }
            blocks = mib * (MIB / BLOCK);
            fill(mib);
            channel.force(true);
            Native.dropCached(fd, 0, 0);
        }

        private void fill(int mib) throws IOException {
            ByteBuffer piece = ByteBuffer.allocateDirect(MIB).order(ByteOrder.nativeOrder());
            for (int number = 0; number < blocks;) {
                for (int at = 0; at < MIB; at += BLOCK) piece.putInt(at, number++);
                piece.clear();
                while (piece.hasRemaining()) channel.write(piece);
            }
        }

        void drop(int number) {
            Native.dropCached(fd, (long) number * BLOCK, BLOCK);
        }

        void read(int number, ByteBuffer block) {
            try {
                block.clear();
                int got = channel.read(block, (long) number * BLOCK);
                Figures.check(got == BLOCK && block.getInt(0) == number, "block " + number + " was not read");
            } catch (IOException e) {
                throw new IllegalStateException(e);
            }
        }

        @Override
        public void close() throws IOException {
            channel.close();
        }
    }

    /** readBlocks returns each read's time, in ns, and after them the time of all. */
    private static double[] readBlocks(Blocking.Way way, UncachedFile file, int readsEach) throws InterruptedException {
        final int readers = 1000;
        int[] numbers = new int[readers * readsEach];
        int state = 1;
        for (int i = 0; i < numbers.length; i++) {
            state = Figures.xorshift(state);
            numbers[i] = Integer.remainderUnsigned(state, file.blocks);
        }
        double[] times = new double[numbers.length + 1];
        List<Thread> all = new ArrayList<>(readers);
        double start = Figures.nowNs();
        for (int i = 0; i < readers; i++) {
            int first = i * readsEach;
            all.add(Thread.startVirtualThread(() -> {
                ByteBuffer block = ByteBuffer.allocateDirect(BLOCK).order(ByteOrder.nativeOrder());
                for (int j = first; j < first + readsEach; j++) {
                    int number = numbers[j];
                    way.call(() -> file.drop(number));
                    double begun = Figures.nowNs();
                    way.call(() -> file.read(number, block));
                    times[j] = Figures.nowNs() - begun;
                }
            }));
        }
        Tasks.joinAll(all);
        times[numbers.length] = Figures.nowNs() - start;
        return times;
    }

    static Figures.Figure fileReads(Figures.Settings s) throws Exception {
        int readsEach = s.quick() ? 1 : 4;
        try (UncachedFile small = new UncachedFile(1)) {
            Figures.warmUp(s, () -> readBlocks(Blocking.PINNED, small, 1));
        }
        try (UncachedFile file = new UncachedFile(s.quick() ? 64 : 256)) {
            Figures.ThreadPeak peak = new Figures.ThreadPeak();
            double[] times = readBlocks(Blocking.PINNED, file, readsEach);
            double threads = peak.end();
            double[] other = Blocking.onPlatformThreads(way -> readBlocks(way, file, readsEach));
            int reads = times.length - 1;
            double[] each = java.util.Arrays.copyOf(times, reads);
            return new Figures.Figure("file_reads", Blocking.PROCS, times[reads] * 1e-3 / reads, "µs",
                    Figures.keys("p99_us", Figures.quantile(each, 0.99) * 1e-3, "threads", threads, "platform_threads",
                            other[reads] * 1e-3 / reads));
        }
    }

    // ---- getaddrinfo

    private static final int LOOKUP_TASKS = 200, LOOKUPS_EACH = 5;

    private static void lookUpAll(Blocking.Way way) throws InterruptedException {
        List<Thread> all = new ArrayList<>(LOOKUP_TASKS);
        for (int i = 0; i < LOOKUP_TASKS; i++) {
            all.add(Thread.startVirtualThread(() -> {
                try (Arena arena = Arena.ofShared()) {
                    MemorySegment found = arena.allocate(ValueLayout.ADDRESS);
                    for (int j = 0; j < LOOKUPS_EACH; j++) way.call(() -> Native.lookUpLocalhost(found));
                }
            }));
        }
        Tasks.joinAll(all);
    }

    private static double[] lookUpsUs(Figures.Settings s, Blocking.Way way) throws Exception {
        double[] rounds = Figures.roundsMs(s, () -> lookUpAll(way));
        for (int i = 0; i < rounds.length; i++) rounds[i] *= 1e3 / (LOOKUP_TASKS * LOOKUPS_EACH);
        return rounds;
    }

    static Figures.Figure getaddrinfo(Figures.Settings s) throws Exception {
        double[] rounds = lookUpsUs(s, Blocking.PINNED);
        double[] other = Blocking.onPlatformThreads(way -> lookUpsUs(s, way));
        Map<String, Double> extra = Figures.spreadOf(rounds);
        extra.put("platform_threads", Figures.median(other));
        return new Figures.Figure("getaddrinfo", Blocking.PROCS, Figures.median(rounds), "µs", extra);
    }

    private Calls() {}
}
