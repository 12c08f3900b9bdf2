/* The C interface, from C. */
#include <handoff/handoff.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CHECK(condition)                                                       \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                           \
        }                                                                      \
    } while (0)

static int to_reader[2];
static int reader_ended;
static uint64_t id;

static void writer(void* unused) {
    (void)unused;
    CHECK(write(to_reader[1], "x", 1) == 1);
}

/* On one processor: it can only go on if the writer runs while this waits. Which of the two comes first is open: a
 * thread that the machine keeps from running for long loses its processor. */
static void reader(void* how) {
    char c = 0;
    ssize_t n;
    CHECK(handoff_go(NULL, writer, NULL) == 0);
    if (how) handoff_entersyscallblock();
    else handoff_entersyscall();
    n = read(to_reader[0], &c, 1);
    handoff_exitsyscall();
    CHECK(n == 1 && c == 'x');
    __atomic_store_n(&reader_ended, 1, __ATOMIC_RELEASE);
}

static void start_reader(void* how) {
    CHECK(handoff_go(NULL, reader, how) == 0);
}

static void fails(void* result) {
    handoff_entersyscall();
    CHECK(read(-1, NULL, 0) == -1);
    handoff_exitsyscall();
    *(int*)result = handoff_last_errno();
}

static void count_up(void* n) {
    int i;
    for (i = 0; i < 10; ++i) {
        __atomic_fetch_add((int*)n, 1, __ATOMIC_RELAXED);
        handoff_yield();
    }
}

static void note_id(void* unused) {
    (void)unused;
    id = handoff_goroutine_id();
    CHECK(handoff_sleep_ns(1000) == 0);
}

static void wait_for_byte(void* unused) {
    char c = 0;
    (void)unused;
    handoff_entersyscallblock();
    CHECK(read(to_reader[0], &c, 1) == 1);
    handoff_exitsyscall();
}

static void shut_down(void* runtime) {
    CHECK(handoff_runtime_shutdown(runtime, 0) == -EPERM);
}

int main(void) {
    handoff_runtime* rt = NULL;
    handoff_options options = {0};
    int i, n = 0, how;

    options.max_threads = 1;
    CHECK(handoff_runtime_create(&rt, &options) == EINVAL);
    CHECK(rt == NULL);
    handoff_runtime_destroy(NULL);

    options.max_threads = 0;
    options.procs = 1;
    CHECK(handoff_runtime_create(&rt, &options) == 0);
    CHECK(pipe(to_reader) == 0);
    for (how = 0; how < 2; ++how) {
        CHECK(handoff_run(rt, start_reader, how ? rt : NULL) == 0);
        while (__atomic_load_n(&reader_ended, __ATOMIC_ACQUIRE) == 0) CHECK(handoff_sleep_ns(100000) == 0);
        reader_ended = 0;
    }
    CHECK(handoff_run(rt, fails, &i) == 0);
    CHECK(i == EBADF);

    CHECK(handoff_goroutine_id() == 0);
    CHECK(handoff_run(rt, note_id, NULL) == 0);
    CHECK(id != 0);
    CHECK(handoff_sleep_ns(1000) == 0);
    handoff_yield();

    for (i = 0; i < 100; ++i) CHECK(handoff_go(rt, count_up, &n) == 0);
    handoff_runtime_destroy(rt); /* waits for them */
    CHECK(n == 1000);

    CHECK(handoff_runtime_create(&rt, &options) == 0);
    CHECK(handoff_run(rt, shut_down, rt) == 0);
    CHECK(handoff_go(rt, wait_for_byte, NULL) == 0);
    CHECK(handoff_runtime_shutdown(rt, 1000) == 1);
    CHECK(handoff_go(rt, writer, NULL) == EPERM);
    writer(NULL);
    CHECK(handoff_runtime_shutdown(rt, INT64_MAX) == 0);
    handoff_runtime_destroy(rt);

    n = 0;
    CHECK(handoff_run(NULL, count_up, &n) == 0); /* the default runtime */
    CHECK(n == 10);
    CHECK(handoff_runtime_shutdown(NULL, INT64_MAX) == 0);
    CHECK(handoff_go(NULL, count_up, &n) == EPERM);
    puts("passed");
    return 0;
}
