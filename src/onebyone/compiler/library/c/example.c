/* Run the network on one call's worth of numbers: example WEIGHTS INPUT, float32 as they are. */
#include <stdio.h>
#include <stdlib.h>

#include "network.h"

static void need(int error) {
    if (error) {
        fprintf(stderr, "obo_: %s\n", obo_error_text(error));
        exit(1);
    }
}

int main(int count, char **arguments) {
    static float input[@INPUT_NUMBERS@], output[@OUTPUT_NUMBERS@];
    FILE *file = count == 3 ? fopen(arguments[2], "rb") : NULL;
    if (!file || fread(input, sizeof input, 1, file) != 1)
        return fprintf(stderr, "usage: example WEIGHTS INPUT\n"), 2;
    obo_network *network;
    obo_context *context;
    need(obo_open(arguments[1], NULL, OBO_ABI_VERSION, &network));
    need(obo_context_open(network, NULL, &context));
    const float *inputs[] = {input};
    float *outputs[] = {output};
    need(obo_run(context, inputs, outputs, @BATCH@));
    size_t best = 0, numbers = sizeof output / sizeof *output;
    for (size_t i = 0; i < numbers; i++)
        best = output[i] > output[best] ? i : best;
    printf("%s: the largest of %zu numbers is number %zu, %g\n",
           obo_target(network), numbers, best, output[best]);
    obo_context_close(context);
    obo_close(network);
    return fclose(file);
}
