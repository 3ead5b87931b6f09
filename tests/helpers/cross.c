/* Run a network that was compiled for another processor: `network THREADS SPINS` in a folder with
   `constants` and `input0`...; writes `output0`... and prints for how long the last thread computed.

   All memory ends at a page that nobody may touch, and holds NaN before it is first written. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "facts.h"

void invoke(int64_t *pool, int64_t *context);
void *work(void *worker);
void prepare(int64_t *context);
void run(int64_t *context, int64_t thread);

static void need(int is_so, const char *what) {
    if (!is_so) {
        fprintf(stderr, "no %s\n", what);
        exit(2);
    }
}

static void *fresh(size_t bytes) {
    size_t page = sysconf(_SC_PAGESIZE), room = (bytes + page - 1) / page * page;
    int access = PROT_READ | PROT_WRITE, kind = MAP_PRIVATE | MAP_ANONYMOUS;
    char *start = mmap(NULL, room + page, access, kind, -1, 0);
    need(start != MAP_FAILED && !mprotect(start + room, page, PROT_NONE), "memory");
    memset(start, 0xFF, room);
    return start + room - bytes;
}

static int64_t *words(size_t count) {
    return memset(fresh(8 * count), 0, 8 * count);
}

static void *load(const char *name, size_t bytes) {
    FILE *file = fopen(name, "rb");
    void *memory = fresh(bytes);
    need(file && fread(memory, 1, bytes, file) == bytes && !fclose(file), name);
    return memory;
}

static void save(const char *name, const void *memory, size_t bytes) {
    FILE *file = fopen(name, "wb");
    need(file && fwrite(memory, 1, bytes, file) == bytes && !fclose(file), name);
}

int main(int count, char **arguments) {
    need(count == 3, "arguments: network THREADS SPINS");
    int64_t threads = atoi(arguments[1]), spins = atoi(arguments[2]);
    char name[32];

    int64_t *bases = words(FIRST_TENSOR + INPUT_WORDS * INPUTS + OUTPUTS);
    int64_t *base = bases + FIRST_TENSOR;
    bases[ARENA] = (int64_t)fresh(ARENA_BYTES);
    bases[SCRATCH] = (int64_t)fresh(SCRATCH_BYTES);
    bases[CONSTANTS] = (int64_t)load("constants", CONSTANT_BYTES);
    for (int i = 0; i < INPUTS; i++, base += INPUT_WORDS) {
        snprintf(name, sizeof name, "input%d", i);
        base[0] = (int64_t)load(name, input_bytes[i]);
        memcpy(base + 1, input_strides[i], sizeof input_strides[i]);
    }
    void **outputs = (void **)base, *firsts[OUTPUTS];
    for (int i = 0; i < OUTPUTS; i++) {
        outputs[i] = fresh(output_bytes[i]);
        firsts[i] = fresh(output_bytes[i]);
    }

    /* 8 words more than are needed: where a cache line starts is found as the library finds it. */
    int64_t counters = (int64_t)words(COUNTER_WORDS + 8);
    int64_t *timings = words(OPERATIONS * threads * TIMING_WORDS);
    int64_t *context = words(CONTEXT_WORDS), *pool = words(POOL_WORDS);
    int64_t *worker = words(WORKER_WORDS);
    context[CONTEXT_RUN] = (int64_t)run;
    context[CONTEXT_PREPARE] = (int64_t)prepare;
    context[CONTEXT_BASES] = (int64_t)bases;
    context[CONTEXT_COUNTERS] = (counters + 63) / 64 * 64;
    context[CONTEXT_THREADS] = threads;
    context[CONTEXT_SPINS] = pool[POOL_SPINS] = spins;
    if (threads > 1) {
        context[CONTEXT_PROFILE] = (int64_t)timings;
        worker[WORKER_POOL] = (int64_t)pool;
        worker[WORKER_NUMBER] = 1;
        pthread_t handle;
        need(!pthread_create(&handle, NULL, work, worker), "thread");
    }

    /* Who is woken may find that all is done; so call again until the worker had a part. */
    int64_t busy = 0;
    for (int call = 0; call < 3 || (threads > 1 && !busy && call < 1000); call++) {
        for (int i = 0; i < OUTPUTS; i++)
            memset(outputs[i], 0xFF, output_bytes[i]);
        invoke(threads > 1 ? pool : NULL, context);
        for (int i = 0; i < OUTPUTS; i++) {
            if (call == 0)
                memcpy(firsts[i], outputs[i], output_bytes[i]);
            need(!memcmp(firsts[i], outputs[i], output_bytes[i]), "equal results of equal calls");
        }
        for (int i = 0; i < OPERATIONS; i++)
            busy += timings[(i * threads + threads - 1) * TIMING_WORDS + 2];
    }
    for (int i = 0; i < OUTPUTS; i++) {
        snprintf(name, sizeof name, "output%d", i);
        save(name, outputs[i], output_bytes[i]);
    }
    printf("%lld\n", (long long)busy);
    return 0;
}
