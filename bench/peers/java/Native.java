import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/** C functions, called as a library with native code calls them: by the foreign function interface. */
final class Native {
    private static final Linker LINKER = Linker.nativeLinker();

    private static final MethodHandle NANOSLEEP = function("nanosleep", JAVA_INT, ADDRESS, ADDRESS);
    private static final MethodHandle GETPPID = function("getppid", JAVA_INT);
    private static final MethodHandle GETPPID_CRITICAL =
            LINKER.downcallHandle(LINKER.defaultLookup().findOrThrow("getppid"), FunctionDescriptor.of(JAVA_INT),
                    Linker.Option.critical(false));
    private static final MethodHandle OPEN =
            LINKER.downcallHandle(LINKER.defaultLookup().findOrThrow("open"),
                    FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT), Linker.Option.firstVariadicArg(2));
    private static final MethodHandle FADVISE =
            function("posix_fadvise", JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_INT);
    private static final MethodHandle GETADDRINFO =
            function("getaddrinfo", JAVA_INT, ADDRESS, ADDRESS, ADDRESS, ADDRESS);
    private static final MethodHandle FREEADDRINFO =
            LINKER.downcallHandle(LINKER.defaultLookup().findOrThrow("freeaddrinfo"),
                    FunctionDescriptor.ofVoid(ADDRESS));

    private static MethodHandle function(String name, MemoryLayout result, MemoryLayout... arguments) {
        return LINKER.downcallHandle(LINKER.defaultLookup().findOrThrow(name),
                FunctionDescriptor.of(result, arguments));
    }

    private static AssertionError unexpected(Throwable t) {
        return new AssertionError("a C function does not throw", t);
    }

    /** timespec is less than a second that nanosleep can be told, over and over and by all threads. */
    static MemorySegment timespec(long ns) {
        MemorySegment t = Arena.global().allocate(2 * JAVA_LONG.byteSize(), JAVA_LONG.byteAlignment());
        t.setAtIndex(JAVA_LONG, 1, ns);
        return t;
    }

    static void nanosleep(MemorySegment timespec) {
        try {
            Figures.check((int) NANOSLEEP.invokeExact(timespec, MemorySegment.NULL) == 0, "nanosleep failed");
        } catch (Error | RuntimeException e) {
            throw e;
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    static int getppid() {
        try {
            return (int) GETPPID.invokeExact();
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    /** getppidCritical is called without the thread's leaving the state in which it runs Java. */
    static int getppidCritical() {
        try {
            return (int) GETPPID_CRITICAL.invokeExact();
        } catch (Throwable t) {
            throw unexpected(t);
        }
    }

    static int openForReading(String path) {
        int fd;
        try (Arena arena = Arena.ofConfined()) {
            fd = (int) OPEN.invokeExact(arena.allocateFrom(path), 0);
        } catch (Throwable t) {
            throw unexpected(t);
        }
        Figures.check(fd >= 0, "can't open " + path);
        return fd;
    }

    /** dropCached makes the page cache forget a range; a length of 0 reaches to the end. */
    static void dropCached(int fd, long offset, long length) {
        final int dontneed = 4;
        int error;
        try {
            error = (int) FADVISE.invokeExact(fd, offset, length, dontneed);
        } catch (Throwable t) {
            throw unexpected(t);
        }
        Figures.check(error == 0, "posix_fadvise failed with error " + error);
    }

    // struct addrinfo: four ints (flags, family, socktype, protocol), a length, three pointers.
    private static final MemorySegment HINTS = Arena.global().allocate(48, 8);
    private static final MemorySegment LOCALHOST = Arena.global().allocateFrom("localhost");
    private static final MemorySegment PORT = Arena.global().allocateFrom("80");

    static {
        final int sockStream = 1;
        HINTS.setAtIndex(JAVA_INT, 2, sockStream);
    }

    /** lookUpLocalhost writes the pointer to the result into `found`, and frees it again. */
    static void lookUpLocalhost(MemorySegment found) {
        int error;
        try {
            error = (int) GETADDRINFO.invokeExact(LOCALHOST, PORT, HINTS, found);
            if (error == 0) FREEADDRINFO.invokeExact(found.get(ADDRESS, 0));
        } catch (Throwable t) {
            throw unexpected(t);
        }
        Figures.check(error == 0, "getaddrinfo of localhost failed with error " + error);
    }

    private Native() {}
}
