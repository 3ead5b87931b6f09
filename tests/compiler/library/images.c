/* Calls of several numbers of images in memory for fewer, or of the caller's own, which is exactly as
   large as it must be: images WEIGHTS. Behind each piece of memory is a page that nobody may touch,
   for no sanitizer looks into machine code. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "net.h"

#define NEED(is_so) need(is_so, #is_so, __LINE__)
#define GIVES(error, call) NEED((call) == (error))

enum { MOST = 19, MOST_OUTPUTS = 8, PAGE = 4096 };

static void need(int is_so, const char *what, int line) {
    if (!is_so) {
        fprintf(stderr, "images.c:%d: not so: %s\n", line, what);
        exit(1);
    }
}

/* Memory that ends where a page begins that may not be touched. */
static void *guarded(size_t bytes) {
    size_t whole = (bytes + PAGE - 1) / PAGE * PAGE;
    char *start = mmap(NULL, whole + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(start != MAP_FAILED && !mprotect(start + whole, PAGE, PROT_NONE));
    return memset(start + whole - bytes, 0xFF, bytes);
}

static void give_back(void *memory, size_t bytes) {
    size_t whole = (bytes + PAGE - 1) / PAGE * PAGE;
    NEED(!munmap((char *)memory + bytes - whole, whole + PAGE));
}

static float *input, *wanted[MOST_OUTPUTS]; /* wanted: what each image gives alone */

static int run(net_context *context, int first, float **outputs, int images) {
    const float *inputs[] = {input + net_about()->inputs[0].per_image * (size_t)first};
    return net_run(context, inputs, outputs, images);
}

/* Run on the first images, into memory that has room for these only. */
static void check_run(net_context *context, int images) {
    float *outputs[MOST_OUTPUTS];
    const net_facts *about = net_about();
    for (int i = 0; i < about->output_count; i++)
        outputs[i] = guarded(about->outputs[i].per_image * (size_t)images * sizeof(float));
    GIVES(NET_OK, run(context, 0, outputs, images));
    for (int i = 0; i < about->output_count; i++) {
        size_t bytes = about->outputs[i].per_image * (size_t)images * sizeof(float);
        NEED(!memcmp(outputs[i], wanted[i], bytes));
        give_back(outputs[i], bytes);
    }
}

static void run_alone(const net_network *network) {
    const net_facts *about = net_about();
    net_context *context;
    GIVES(NET_OK, net_context_open(network, &(net_options){.batch = 1}, &context));
    for (int image = 0; image < MOST; image++) {
        float *outputs[MOST_OUTPUTS];
        for (int i = 0; i < about->output_count; i++)
            outputs[i] = wanted[i] + about->outputs[i].per_image * (size_t)image;
        GIVES(NET_OK, run(context, image, outputs, 1));
    }
    net_context_close(context);
}

/* Return how large a context is for that many images at once. */
static size_t check_context(const net_network *network, int batch, int threads) {
    net_options options = {.batch = batch, .threads = threads};
    net_context *context;
    size_t bytes;
    GIVES(NET_OK, net_workspace_bytes(network, &options, &bytes));
    options.workspace = guarded(bytes);
    options.workspace_bytes = bytes;
    GIVES(NET_OK, net_context_open(network, &options, &context));
    for (int images = MOST; images > 0; images -= 2)
        check_run(context, images);
    check_run(context, 8);
    net_context_close(context);
    give_back(options.workspace, bytes);
    return bytes;
}

int main(int count, char **arguments) {
    NEED(count == 2);
    const net_facts *about = net_about();
    NEED(about->batch_count == 8 && about->batches[0] == 1 && about->batches[7] == 8);
    NEED(about->batch == 1 && about->any_batch && about->output_count <= MOST_OUTPUTS);
    size_t numbers = about->inputs[0].per_image * MOST;
    input = guarded(numbers * sizeof(float));
    for (size_t i = 0; i < numbers; i++)
        input[i] = (float)(i * 2654435761u % 1000) / 500 - 1;
    for (int i = 0; i < about->output_count; i++)
        wanted[i] = malloc(about->outputs[i].per_image * MOST * sizeof(float));
    net_network *network;
    GIVES(NET_OK, net_open(arguments[1], NULL, NET_ABI_VERSION, &network));
    run_alone(network);
    for (int threads = 1; threads < 4; threads += 2) {
        size_t most = check_context(network, 0, threads), before = 0;
        for (int batch = 1; batch <= 8; batch++) {
            size_t bytes = check_context(network, batch, threads);
            NEED(before < bytes);
            before = bytes;
        }
        NEED(before == most && check_context(network, 100, threads) == most);
    }
    size_t none;
    GIVES(NET_ERROR_BATCH, net_workspace_bytes(network, &(net_options){.batch = -1}, &none));
    net_close(network);
    for (int i = 0; i < about->output_count; i++)
        free(wanted[i]);
    give_back(input, numbers * sizeof(float));
    puts("all as it should be");
    return 0;
}
