/* Time an exported library: native WEIGHTS INPUT THREADS. For each number that it reads, it makes as
   many calls and prints their times in nanoseconds; at the end, the results in hexadecimal. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "net.h"

static void need(int error) {
    if (error) {
        fprintf(stderr, "native: %s\n", net_error_text(error));
        exit(1);
    }
}

static uint64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static float *tensor(const net_tensor *like, size_t *numbers) {
    *numbers = 1;
    for (int axis = 0; axis < like->rank; axis++)
        *numbers *= like->shape[axis];
    return calloc(*numbers, sizeof(float));
}

int main(int count, char **arguments) {
    size_t reads, gives;
    float *input = tensor(&net_about()->inputs[0], &reads);
    float *output = tensor(&net_about()->outputs[0], &gives);
    const float *inputs[] = {input};
    float *outputs[] = {output};
    FILE *file = count == 4 ? fopen(arguments[2], "rb") : NULL;
    if (!file || fread(input, sizeof *input, reads, file) != reads)
        return 2;
    net_network *network;
    net_context *context;
    need(net_open(arguments[1], NULL, NET_ABI_VERSION, &network));
    net_options options = {.threads = atoi(arguments[3])};
    need(net_context_open(network, &options, &context));
    for (int calls; scanf("%d", &calls) == 1;) {
        for (int call = 0; call < calls; call++) {
            uint64_t start = nanoseconds();
            need(net_run(context, inputs, outputs, 1));
            printf("%llu ", (unsigned long long)(nanoseconds() - start));
        }
        puts("");
        fflush(stdout);
    }
    for (size_t i = 0; i < gives; i++) {
        uint32_t bits;
        memcpy(&bits, &output[i], sizeof bits);
        printf("%08x", bits);
    }
    net_context_close(context);
    net_close(network);
    return 0;
}
