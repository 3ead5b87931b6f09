/* Whether the library computes here what it computed where it was exported: selftest WEIGHTS FOLDER.

   FOLDER has inputN.f32, what to run on, and outputN.f32, what PyTorch gave; outputN.TARGET.f32 has
   the bits that a target must give, if it could be run there. Each target that this processor can
   run is tried alone, on two threads of its own, on a caller's, and by 8 threads at once. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "network.h"

enum { AT_ONCE = 8, CALLS = 3 };

static const obo_facts *about;
static const char *folder;
static float **inputs, **exact; /* exact: NULL where the bits are not known */

static void need(int is_so, const char *what) {
    if (!is_so) {
        fprintf(stderr, "selftest: %s\n", what);
        exit(1);
    }
}

static void need_ok(int error) {
    need(error == OBO_OK, obo_error_text(error));
}

static size_t numbers_of(const obo_tensor *tensor) {
    size_t numbers = 1;
    for (int axis = 0; axis < tensor->rank; axis++)
        numbers *= tensor->shape[axis];
    return numbers;
}

static void *memory(size_t bytes) {
    void *found = calloc(1, bytes);
    need(found != NULL, "not enough memory");
    return found;
}

/* Return the numbers of a file, or NULL if there is none. */
static float *read_numbers(const char *kind, int index, const char *target, size_t numbers) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s%d%s%s.f32", folder, kind, index, target ? "." : "",
             target ? target : "");
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    float *found = memory(numbers * sizeof *found);
    need(fread(found, sizeof *found, numbers, file) == numbers, path);
    fclose(file);
    return found;
}

static float **make_outputs(void) {
    float **outputs = memory((size_t)about->output_count * sizeof *outputs);
    for (int i = 0; i < about->output_count; i++)
        outputs[i] = memory(numbers_of(&about->outputs[i]) * sizeof(float));
    return outputs;
}

static void free_all(float **tensors, int count) {
    for (int i = 0; i < count; i++)
        free(tensors[i]);
    free(tensors);
}

static void run_once(obo_context *context, float **outputs) {
    for (int i = 0; i < about->output_count; i++)
        memset(outputs[i], 0xFF, numbers_of(&about->outputs[i]) * sizeof(float));
    need_ok(obo_run(context, (const float *const *)inputs, outputs, about->batch));
}

static void check_equal(float **outputs, const char *what) {
    for (int i = 0; i < about->output_count; i++)
        need(!memcmp(outputs[i], exact[i], numbers_of(&about->outputs[i]) * sizeof(float)), what);
}

/* Compare with what PyTorch gave: relative root mean square. */
static double deviation_of(float **outputs) {
    double worst = 0;
    for (int i = 0; i < about->output_count; i++) {
        size_t numbers = numbers_of(&about->outputs[i]);
        float *wanted = read_numbers("output", i, NULL, numbers);
        double error = 0, size = 0;
        need(wanted != NULL, "FOLDER has no file output0.f32 or one of the others");
        for (size_t n = 0; n < numbers; n++) {
            error += ((double)outputs[i][n] - wanted[n]) * ((double)outputs[i][n] - wanted[n]);
            size += (double)wanted[n] * wanted[n];
        }
        free(wanted);
        need(error == error, "a result is no number");
        worst = error > 0 && sqrt(error / size) > worst ? sqrt(error / size) : worst;
    }
    return worst;
}

static void *call_often(void *network) {
    obo_context *context;
    float **outputs = make_outputs();
    need_ok(obo_context_open(network, NULL, &context));
    for (int call = 0; call < CALLS; call++) {
        run_once(context, outputs);
        check_equal(outputs, "other bits from several threads at once");
    }
    obo_context_close(context);
    free_all(outputs, about->output_count);
    return NULL;
}

static void call_at_once(obo_network *network) {
    pthread_t threads[AT_ONCE];
    for (int i = 0; i < AT_ONCE; i++)
        need(!pthread_create(&threads[i], NULL, call_often, network), "no thread");
    for (int i = 0; i < AT_ONCE; i++)
        pthread_join(threads[i], NULL);
}

/* A caller's own way to run in parallel; the poorest there is will do. */
static void in_turn(void (*task)(void *, int), void *data, int count, void *user) {
    (void)user;
    while (count--)
        task(data, count);
}

static void run_with(obo_network *network, obo_options options, const char *what) {
    obo_context *context;
    float **outputs = make_outputs();
    need_ok(obo_context_open(network, &options, &context));
    for (int call = 0; call < CALLS; call++) {
        run_once(context, outputs);
        check_equal(outputs, what);
    }
    obo_context_close(context);
    free_all(outputs, about->output_count);
}

static void try_target(const char *path, const char *target) {
    obo_network *network;
    obo_context *context;
    int error = obo_open(path, target, OBO_ABI_VERSION, &network);
    if (error == OBO_ERROR_PROCESSOR) {
        printf("%-12s not for this processor\n", target);
        return;
    }
    need_ok(error);
    float **first = make_outputs();
    need_ok(obo_context_open(network, NULL, &context));
    run_once(context, first);
    obo_context_close(context);
    double deviation = deviation_of(first);
    need(deviation <= @MOST_DEVIATION@, "results are too far from PyTorch's");
    int are_known = 1;
    exact = memory((size_t)about->output_count * sizeof *exact);
    for (int i = 0; i < about->output_count; i++) {
        exact[i] = read_numbers("output", i, target, numbers_of(&about->outputs[i]));
        are_known = are_known && exact[i];
    }
    if (are_known)
        check_equal(first, "other bits than where the library was exported");
    for (int i = 0; i < about->output_count; i++) {
        exact[i] = exact[i] ? exact[i] : memory(numbers_of(&about->outputs[i]) * sizeof(float));
        memcpy(exact[i], first[i], numbers_of(&about->outputs[i]) * sizeof(float));
    }
    run_with(network, (obo_options){.threads = 2}, "other bits on two threads");
    run_with(network, (obo_options){.threads = 3, .parallel_for = in_turn}, "other bits in turn");
    call_at_once(network);
    obo_close(network);
    printf("%-12s passed; %s, relative RMS %.1e from PyTorch\n", target,
           are_known ? "the same bits" : "bits are not known", deviation);
    free_all(exact, about->output_count);
    free_all(first, about->output_count);
}

int main(int count, char **arguments) {
    need(count == 3, "usage: selftest WEIGHTS FOLDER ('' for weights inside the library)");
    about = obo_about();
    folder = arguments[2];
    need_ok(obo_check_processor());
    inputs = memory((size_t)about->input_count * sizeof *inputs);
    for (int i = 0; i < about->input_count; i++) {
        inputs[i] = read_numbers("input", i, NULL, numbers_of(&about->inputs[i]));
        need(inputs[i] != NULL, "FOLDER has no file input0.f32 or one of the others");
    }
    for (int i = 0; i < about->target_count; i++)
        try_target(*arguments[1] ? arguments[1] : NULL, about->targets[i]);
    free_all(inputs, about->input_count);
    return 0;
}
