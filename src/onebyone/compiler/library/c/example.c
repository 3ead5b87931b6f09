/* Run the network on files of plain float32, one for each input: example WEIGHTS @FILES@ */
#include <stdio.h>
#include <stdlib.h>

#include "network.h"

static void need(int error) {
    if (error) {
        fprintf(stderr, "obo_: %s\n", obo_error_text(error));
        exit(1);
    }
}

static void read_numbers(const char *path, float *numbers, size_t bytes) {
    FILE *file = fopen(path, "rb");
    if (!file || fread(numbers, bytes, 1, file) != 1 || fclose(file))
        exit(fprintf(stderr, "%s: %zu bytes were wanted\n", path, bytes) > 0 ? 2 : 1);
}

int main(int count, char **arguments) {
    static float @INPUT_BUFFERS@;
    static float @OUTPUT_BUFFERS@;
    const float *inputs[] = {@INPUT_NAMES@};
    float *outputs[] = {@OUTPUT_NAMES@};
    if (count != @ARGUMENTS@)
        return fprintf(stderr, "usage: example WEIGHTS @FILES@\n"), 2;
    @READ_INPUTS@
    obo_network *network;
    obo_context *context;
    need(obo_open(arguments[1], NULL, OBO_ABI_VERSION, &network));
    need(obo_context_open(network, NULL, &context));
    need(obo_run(context, inputs, outputs, @BATCH@));
    size_t best = 0, numbers = sizeof output0 / sizeof *output0;
    for (size_t i = 0; i < numbers; i++)
        best = output0[i] > output0[best] ? i : best;
    printf("%s: the largest of %zu numbers is number %zu, %g\n",
           obo_target(network), numbers, best, output0[best]);
    obo_context_close(context);
    obo_close(network);
    return 0;
}
