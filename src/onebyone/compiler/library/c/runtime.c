/* The C library of one network: finding a target, weights, memory for calls, and calls.

   What differs from network to network is in tables.h; the machine code has `run(words, thread)`
   and `prepare(words)`, and words say which of its programs. Nothing global is ever written. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "network.h"

/* Machine code for calls of `batch` images. */
struct program {
    int batch;
    size_t groups, arena_bytes;
};

/* Programs of one target, the largest first; they share its weights, and threads' own memory. */
struct target {
    const char *name;
    unsigned needs;
    void (*run)(int64_t *words, int64_t thread);
    void (*prepare)(int64_t *words);
    size_t constant_bytes, scratch_bytes;
    int program_count;
    const struct program *programs;
};

#include "processor.h"
#include "tables.h"
#include "weights.h"
#include "workers.h"

enum { MOST_THREADS = 1024, BASES = FIRST_TENSOR + INPUT_WORDS * INPUT_COUNT + OUTPUT_COUNT };

struct obo_network {
    const struct target *target;
    const void *constants;
    void *mapped; /* NULL if the memory is the caller's */
    size_t mapped_bytes;
};

/* One program in one context: what machine code is told. Each has counters of its own, so that a
   thread that comes late to one program never counts in another. */
struct job {
    int64_t words[CONTEXT_WORDS];
    int64_t bases[BASES];
    const struct program *program;
};

struct obo_context {
    const obo_network *network;
    obo_options options;
    struct job *jobs;
    int first_program; /* those before it are for larger batches than the context is */
    int busy;
    void *owned;
    struct workers workers;
};

const char *obo_error_text(int error) {
    static const char *const texts[] = {
        [OBO_OK] = "success",
        [OBO_ERROR_NULL] = "a pointer is NULL that must not be",
        [OBO_ERROR_ABI] = "the program was compiled with the header of another version of this "
                          "library; compile it again",
        [OBO_ERROR_PROCESSOR] = "this processor cannot run the library's code; export it for "
                                "another target, such as baseline",
        [OBO_ERROR_TARGET] = "the library has no target of that name",
        [OBO_ERROR_FILE] = "the file of weights cannot be opened or mapped; errno says why",
        [OBO_ERROR_WEIGHTS] = "the weights are damaged, cut off, or no weights; copy the file "
                              "again",
        [OBO_ERROR_FOREIGN] = "the weights were exported with another library; both must come "
                              "from one export",
        [OBO_ERROR_ALIGNMENT] = "memory must start at a multiple of 64 bytes",
        [OBO_ERROR_WORKSPACE] = "the workspace is smaller than workspace_bytes says",
        [OBO_ERROR_BATCH] = "there is no code for that number of images, or the context was "
                            "opened for fewer",
        [OBO_ERROR_THREADS] = "threads must be 0 to 1024, and could be started",
        [OBO_ERROR_LAYOUT] = "there is no such layout",
        [OBO_ERROR_MEMORY] = "there is not enough memory",
        [OBO_ERROR_BUSY] = "the context is in another call; open a context for each thread",
    };
    int count = (int)(sizeof texts / sizeof *texts);
    return 0 <= error && error < count ? texts[error] : "there is no error of that number";
}

unsigned obo_abi_version(void) {
    return OBO_ABI_VERSION;
}

const obo_facts *obo_about(void) {
    return &facts;
}

int obo_check_processor(void) {
    for (int i = 0; i < TARGET_COUNT; i++)
        if (can_run(targets[i].needs))
            return OBO_OK;
    return OBO_ERROR_PROCESSOR;
}

/* Find the best target, or the one of that name. */
static int find_target(const char *name, const struct target **found) {
    int is_known = !name;
    for (int i = 0; i < TARGET_COUNT; i++) {
        if (name && strcmp(name, targets[i].name) != 0)
            continue;
        is_known = 1;
        if (can_run(targets[i].needs)) {
            *found = &targets[i];
            return OBO_OK;
        }
    }
    return is_known ? OBO_ERROR_PROCESSOR : OBO_ERROR_TARGET;
}

int obo_open_memory(
    const void *memory, size_t bytes, const char *name, unsigned abi, obo_network **network) {
    if (!memory || !network)
        return OBO_ERROR_NULL;
    if (abi != OBO_ABI_VERSION)
        return OBO_ERROR_ABI;
    if ((uintptr_t)memory % LINE_BYTES)
        return OBO_ERROR_ALIGNMENT;
    const struct target *target;
    const void *constants;
    int error = find_target(name, &target);
    if (!error)
        error = find_weights(memory, bytes, target, &constants);
    if (error)
        return error;
    obo_network *made = malloc(sizeof *made);
    if (!made)
        return OBO_ERROR_MEMORY;
    *made = (obo_network){.target = target, .constants = constants};
    *network = made;
    return OBO_OK;
}

int obo_open(const char *path, const char *name, unsigned abi, obo_network **network) {
    if (!network)
        return OBO_ERROR_NULL;
    if (!path)
        return obo_open_memory(EMBEDDED, EMBEDDED_BYTES, name, abi, network);
    if (abi != OBO_ABI_VERSION)
        return OBO_ERROR_ABI;
    void *memory;
    size_t bytes;
    int error = map_file(path, &memory, &bytes);
    if (error)
        return error;
    error = obo_open_memory(memory, bytes, name, abi, network);
    if (error) {
        munmap(memory, bytes);
        return error;
    }
    (*network)->mapped = memory;
    (*network)->mapped_bytes = bytes;
    return OBO_OK;
}

void obo_close(obo_network *network) {
    if (network && network->mapped)
        munmap(network->mapped, network->mapped_bytes);
    free(network);
}

const char *obo_target(const obo_network *network) {
    return network ? network->target->name : NULL;
}

/* Where the parts of a context lie in its workspace; offsets in bytes. */
struct places {
    size_t jobs, workers, counters, arena, scratch, end;
};

static size_t whole_lines(size_t bytes) {
    return (bytes + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
}

/* A group's counters: chunks done, and one for each share, in whole cache lines. */
static size_t counter_bytes(const struct program *program, int threads) {
    return program->groups * whole_lines(8 * (1 + (size_t)threads));
}

static int first_program(const struct target *target, int batch) {
    int first = 0;
    while (first < target->program_count && target->programs[first].batch > batch)
        first++;
    return first;
}

/* Fill in what is 0 for a default, and say what cannot be. */
static int check_options(const obo_network *network, obo_options *options) {
    options->batch = options->batch ? options->batch : network->target->programs[0].batch;
    options->threads = options->threads ? options->threads : 1;
    if (options->threads < 1 || options->threads > MOST_THREADS)
        return OBO_ERROR_THREADS;
    if (options->layout != OBO_NCHW && options->layout != OBO_NHWC)
        return OBO_ERROR_LAYOUT;
    if (first_program(network->target, options->batch) == network->target->program_count)
        return OBO_ERROR_BATCH;
    return OBO_OK;
}

static struct places place(const struct target *target, const obo_options *options) {
    struct places at;
    int first = first_program(target, options->batch), count = target->program_count - first;
    size_t counters = 0, arena = 0, threads = (size_t)options->threads;
    for (const struct program *one = target->programs + first; count--; one++) {
        counters += counter_bytes(one, options->threads);
        arena = one->arena_bytes > arena ? one->arena_bytes : arena;
    }
    size_t jobs = sizeof(struct job) * (size_t)(target->program_count - first);
    at.jobs = whole_lines(sizeof(obo_context));
    at.workers = at.jobs + whole_lines(jobs);
    at.counters = at.workers + whole_lines(sizeof(struct worker) * threads);
    at.arena = at.counters + counters;
    at.scratch = at.arena + whole_lines(arena);
    at.end = at.scratch + threads * target->scratch_bytes;
    return at;
}

int obo_workspace_bytes(const obo_network *network, const obo_options *options, size_t *bytes) {
    if (!network || !bytes)
        return OBO_ERROR_NULL;
    obo_options wanted = options ? *options : (obo_options){0};
    int error = check_options(network, &wanted);
    if (!error)
        *bytes = place(network->target, &wanted).end;
    return error;
}

/* Tell each program of a context where its memory is. */
static void prepare_jobs(obo_context *context, char *memory, const struct places *at) {
    const struct target *target = context->network->target;
    char *counters = memory + at->counters;
    for (int i = context->first_program; i < target->program_count; i++) {
        struct job *job = &context->jobs[i - context->first_program];
        size_t bytes = counter_bytes(&target->programs[i], context->options.threads);
        job->program = &target->programs[i];
        job->words[CONTEXT_RUN] = (int64_t)target->run;
        job->words[CONTEXT_PREPARE] = (int64_t)target->prepare;
        job->words[CONTEXT_PROGRAM] = i;
        job->words[CONTEXT_BASES] = (int64_t)job->bases;
        job->words[CONTEXT_COUNTERS] = (int64_t)counters;
        job->words[CONTEXT_THREADS] = context->options.threads;
        job->words[CONTEXT_SPINS] = context->workers.spins;
        job->bases[ARENA] = (int64_t)(memory + at->arena);
        job->bases[SCRATCH] = (int64_t)(memory + at->scratch);
        job->bases[CONSTANTS] = (int64_t)context->network->constants;
        counters += bytes;
    }
}

int obo_context_open(
    const obo_network *network, const obo_options *options, obo_context **context) {
    if (!network || !context)
        return OBO_ERROR_NULL;
    obo_options wanted = options ? *options : (obo_options){0};
    int error = check_options(network, &wanted);
    if (error)
        return error;
    struct places at = place(network->target, &wanted);
    void *memory = wanted.workspace;
    if (memory && (uintptr_t)memory % LINE_BYTES)
        return OBO_ERROR_ALIGNMENT;
    if (memory && wanted.workspace_bytes < at.end)
        return OBO_ERROR_WORKSPACE;
    if (!memory && posix_memalign(&memory, LINE_BYTES, at.end) != 0)
        return OBO_ERROR_MEMORY;
    memset(memory, 0, at.arena);
    obo_context *made = memory;
    made->network = network;
    made->options = wanted;
    made->owned = wanted.workspace ? NULL : memory;
    made->first_program = first_program(network->target, wanted.batch);
    made->jobs = (void *)((char *)memory + at.jobs);
    made->workers.each = (void *)((char *)memory + at.workers);
    made->workers.spins = wanted.threads > 1 ? count_spins() : 1;
    prepare_jobs(made, memory, &at);
    if (wanted.threads > 1 && !wanted.parallel_for)
        error = start_workers(&made->workers, wanted.threads - 1);
    if (error)
        free(made->owned);
    else
        *context = made;
    return error;
}

void obo_context_close(obo_context *context) {
    if (!context)
        return;
    stop_workers(&context->workers);
    free(context->owned);
}

/* The largest program for at most that many images; NULL if there is none. */
static struct job *job_for(obo_context *context, int batch) {
    int count = context->network->target->program_count - context->first_program;
    for (int i = 0; i < count; i++) {
        int images = context->jobs[i].program->batch;
        if (images == batch || (images < batch && facts.any_batch))
            return &context->jobs[i];
    }
    return NULL;
}

static int can_run_batch(obo_context *context, int batch) {
    if (batch < 1)
        return 0;
    for (struct job *job; batch; batch -= job->program->batch)
        if (!(job = job_for(context, batch)))
            return 0;
    return 1;
}

/* Tell machine code where the caller's tensors are, from image number `first` on. */
static void place_tensors(
    struct job *job, int layout, const float *const *inputs, float *const *outputs, size_t first) {
    for (int i = 0; i < INPUT_COUNT; i++) {
        const obo_tensor *tensor = &input_tensors[i];
        int64_t *words = job->bases + FIRST_TENSOR + INPUT_WORDS * input_slots[i];
        int64_t channels = (int64_t)tensor->shape[1], width = (int64_t)tensor->shape[3];
        int64_t pixels = (int64_t)tensor->shape[2] * width;
        words[0] = (int64_t)(inputs[i] + first * tensor->per_image);
        words[1] = channels * pixels;
        words[2] = layout == OBO_NHWC ? 1 : pixels;
        words[3] = layout == OBO_NHWC ? width * channels : width;
        words[4] = layout == OBO_NHWC ? channels : 1;
    }
    for (int i = 0; i < OUTPUT_COUNT; i++) {
        float *start = outputs[i] + first * output_tensors[i].per_image;
        job->bases[FIRST_TENSOR + INPUT_WORDS * INPUT_COUNT + output_slots[i]] = (int64_t)start;
    }
}

static void run_task(void *data, int thread) {
    run_part(data, thread);
}

static void call(obo_context *context, struct job *job) {
    const obo_options *options = &context->options;
    context->network->target->prepare(job->words);
    if (options->parallel_for) {
        options->parallel_for(run_task, job->words, options->threads, options->user);
        return;
    }
    struct workers *workers = &context->workers;
    int are_asleep = __atomic_load_n(&workers->sleepers, __ATOMIC_SEQ_CST) != 0;
    if (are_asleep)
        make_room(workers);
    if (options->threads > 1) {
        __atomic_store_n(&workers->job, job->words, __ATOMIC_SEQ_CST);
        wake_all(workers);
    }
    run_part(job->words, 0);
    if (are_asleep)
        let_go(workers);
}

int obo_run(
    obo_context *context, const float *const *inputs, float *const *outputs, int batch) {
    if (!context || !inputs || !outputs)
        return OBO_ERROR_NULL;
    for (int i = 0; i < INPUT_COUNT; i++)
        if (!inputs[i])
            return OBO_ERROR_NULL;
    for (int i = 0; i < OUTPUT_COUNT; i++)
        if (!outputs[i])
            return OBO_ERROR_NULL;
    if (!can_run_batch(context, batch))
        return OBO_ERROR_BATCH;
    if (__atomic_exchange_n(&context->busy, 1, __ATOMIC_SEQ_CST))
        return OBO_ERROR_BUSY;
    int error = OBO_OK, has_workers = context->options.threads > 1 && !context->options.parallel_for;
    if (has_workers && context->workers.process != getpid())
        error = start_workers(&context->workers, context->options.threads - 1);
    for (int done = 0; !error && done < batch;) {
        struct job *job = job_for(context, batch - done);
        place_tensors(job, context->options.layout, inputs, outputs, (size_t)done);
        call(context, job);
        done += job->program->batch;
    }
    __atomic_store_n(&context->busy, 0, __ATOMIC_SEQ_CST);
    return error;
}
