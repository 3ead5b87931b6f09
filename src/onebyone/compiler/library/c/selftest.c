/* Whether the library computes here what it computed where it was exported: selftest WEIGHTS FOLDER.

   FOLDER has inputN.f32, what to run on, and outputN.f32, what PyTorch gave; outputN.TARGET.f32 has
   the bits that a target must give, if it could be run there. Each target that this processor can
   run is tried alone, on two threads of its own, on a caller's, and by 8 threads at once, with each
   number of images that there is code for, and with more in parts, if that may be. These images are
   made of those in the files, and give the bits that they give in calls of the fewest. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "network.h"

enum { AT_ONCE = 8, CALLS = 3 };

static const obo_facts *about;
static const char *folder;
static int *tried, tried_count;   /* numbers of images */
static int made;                  /* as many images as the largest of them, in whole smallest calls */
static float **inputs, **exact;   /* of all these images; exact: in smallest calls, alone */

static void need(int is_so, const char *what) {
    if (!is_so) {
        fprintf(stderr, "selftest: %s\n", what);
        exit(1);
    }
}

static void need_ok(int error) {
    need(error == OBO_OK, obo_error_text(error));
}

static size_t numbers_of(const obo_tensor *tensor, int images) {
    size_t numbers = 1;
    for (int axis = 0; axis < tensor->rank; axis++)
        numbers *= tensor->shape[axis];
    return tensor->per_image ? tensor->per_image * (size_t)images : numbers;
}

static void *memory(size_t bytes) {
    void *found = calloc(1, bytes);
    need(found != NULL, "not enough memory");
    return found;
}

/* Return the numbers of a file, for the smallest call, or NULL if there is none. */
static float *read_numbers(
    const char *kind, int index, const char *target, const obo_tensor *tensor) {
    size_t numbers = numbers_of(tensor, about->batch);
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
        outputs[i] = memory(numbers_of(&about->outputs[i], made) * sizeof(float));
    return outputs;
}

static void free_all(float **tensors, int count) {
    for (int i = 0; i < count; i++)
        free(tensors[i]);
    free(tensors);
}

/* The numbers of tensors from an image on. */
static void move_on(float **from, const obo_tensor *tensors, int count, int image, float **found) {
    for (int i = 0; i < count; i++)
        found[i] = from[i] + tensors[i].per_image * (size_t)image;
}

static void check_equal(float **outputs, float **wanted, int images, const char *what) {
    for (int i = 0; i < about->output_count; i++) {
        size_t bytes = numbers_of(&about->outputs[i], images) * sizeof(float);
        need(!memcmp(outputs[i], wanted[i], bytes), what);
    }
}

/* Run on the first images, and compare with what they give alone. */
static void check_run(obo_context *context, float **outputs, int images, const char *what) {
    for (int i = 0; i < about->output_count; i++)
        memset(outputs[i], 0xFF, numbers_of(&about->outputs[i], made) * sizeof(float));
    need_ok(obo_run(context, (const float *const *)inputs, outputs, images));
    check_equal(outputs, exact, images, what);
}

/* Compare with what PyTorch gave: relative root mean square. */
static double deviation_of(float **outputs) {
    double worst = 0;
    for (int i = 0; i < about->output_count; i++) {
        size_t numbers = numbers_of(&about->outputs[i], about->batch);
        float *wanted = read_numbers("output", i, NULL, &about->outputs[i]);
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

/* What one of several threads is given: a network, and with how many images it begins. */
struct caller {
    const obo_network *network;
    int images;
};

static void *call_often(void *data) {
    const struct caller *caller = data;
    obo_context *context;
    float **outputs = make_outputs();
    need_ok(obo_context_open(caller->network, NULL, &context));
    for (int call = 0; call < CALLS; call++)
        check_run(context, outputs, call ? about->batch : caller->images,
                  "other bits from several threads at once");
    obo_context_close(context);
    free_all(outputs, about->output_count);
    return NULL;
}

static void call_at_once(const obo_network *network) {
    pthread_t threads[AT_ONCE];
    struct caller callers[AT_ONCE];
    for (int i = 0; i < AT_ONCE; i++) {
        callers[i] = (struct caller){network, tried[i % tried_count]};
        need(!pthread_create(&threads[i], NULL, call_often, &callers[i]), "no thread");
    }
    for (int i = 0; i < AT_ONCE; i++)
        pthread_join(threads[i], NULL);
}

/* A caller's own way to run in parallel; the poorest there is will do. */
static void in_turn(void (*task)(void *, int), void *data, int count, void *user) {
    (void)user;
    while (count--)
        task(data, count);
}

static void run_with(const obo_network *network, obo_options options, const char *what) {
    obo_context *context;
    float **outputs = make_outputs();
    need_ok(obo_context_open(network, &options, &context));
    for (int call = 0; call < CALLS || call < tried_count; call++)
        check_run(context, outputs, tried[call % tried_count], what);
    obo_context_close(context);
    free_all(outputs, about->output_count);
}

/* Return what all images give, the fewest at once. */
static float **run_alone(const obo_network *network) {
    obo_context *context;
    float **outputs = make_outputs();
    float **from = memory((size_t)about->input_count * sizeof *from);
    float **to = memory((size_t)about->output_count * sizeof *to);
    need_ok(obo_context_open(network, &(obo_options){.batch = about->batch}, &context));
    for (int image = 0; image < made; image += about->batch) {
        move_on(inputs, about->inputs, about->input_count, image, from);
        move_on(outputs, about->outputs, about->output_count, image, to);
        need_ok(obo_run(context, (const float *const *)from, to, about->batch));
    }
    obo_context_close(context);
    free(from);
    free(to);
    return outputs;
}

/* Compare with the bits in the files; return whether there are any. */
static int check_known(const char *target) {
    float **known = memory((size_t)about->output_count * sizeof *known);
    int are_known = 1;
    for (int i = 0; i < about->output_count; i++) {
        known[i] = read_numbers("output", i, target, &about->outputs[i]);
        are_known = are_known && known[i];
    }
    if (are_known)
        check_equal(exact, known, about->batch, "other bits than where the library was exported");
    free_all(known, about->output_count);
    return are_known;
}

static void try_target(const char *path, const char *target) {
    obo_network *network;
    int error = obo_open(path, target, OBO_ABI_VERSION, &network);
    if (error == OBO_ERROR_PROCESSOR) {
        printf("%-12s not for this processor\n", target);
        return;
    }
    need_ok(error);
    exact = run_alone(network);
    double deviation = deviation_of(exact);
    need(deviation <= @MOST_DEVIATION@, "results are too far from PyTorch's");
    int are_known = check_known(target);
    run_with(network, (obo_options){0}, "other bits with other images");
    run_with(network, (obo_options){.threads = 2}, "other bits on two threads");
    run_with(network, (obo_options){.threads = 3, .parallel_for = in_turn}, "other bits in turn");
    call_at_once(network);
    obo_close(network);
    printf("%-12s passed; %s, relative RMS %.1e from PyTorch\n", target,
           are_known ? "the same bits" : "bits are not known", deviation);
    free_all(exact, about->output_count);
}

/* Find out which numbers of images to try. */
static void choose_images(void) {
    const int *batches = about->batches;
    tried = memory(((size_t)about->batch_count + 1) * sizeof *tried);
    tried_count = about->batch_count + (about->any_batch != 0);
    int most = batches[about->batch_count - 1] + (about->any_batch ? about->batch : 0);
    for (int i = 0; i < tried_count; i++)
        tried[i] = i < about->batch_count ? batches[i] : most;
    made = (most + about->batch - 1) / about->batch * about->batch;
}

/* Read an input of the smallest call; further images have its numbers, each begun at another. */
static float *make_input(int index) {
    const obo_tensor *tensor = &about->inputs[index];
    size_t known = numbers_of(tensor, about->batch), all = numbers_of(tensor, made);
    float *numbers = read_numbers("input", index, NULL, tensor), *found = memory(all * sizeof *found);
    need(numbers != NULL, "FOLDER has no file input0.f32 or one of the others");
    for (size_t n = 0; n < all; n++)
        found[n] = numbers[(n + n / known * 97) % known];
    free(numbers);
    return found;
}

int main(int count, char **arguments) {
    need(count == 3, "usage: selftest WEIGHTS FOLDER ('' for weights inside the library)");
    about = obo_about();
    folder = arguments[2];
    need_ok(obo_check_processor());
    choose_images();
    inputs = memory((size_t)about->input_count * sizeof *inputs);
    for (int i = 0; i < about->input_count; i++)
        inputs[i] = make_input(i);
    for (int i = 0; i < about->target_count; i++)
        try_target(*arguments[1] ? arguments[1] : NULL, about->targets[i]);
    free_all(inputs, about->input_count);
    free(tried);
    return 0;
}
