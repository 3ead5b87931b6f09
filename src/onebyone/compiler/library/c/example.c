/* Run the network on files of plain float32, one for each input: example WEIGHTS @FILES@ */
#include <stdio.h>
#include <stdlib.h>

#include "network.h"

static void need(int is_so, const char *why) {
    if (!is_so) {
        fprintf(stderr, "obo_: %s\n", why);
        exit(1);
    }
}

static void need_ok(int error) {
    need(error == OBO_OK, obo_error_text(error));
}

int main(int count, char **arguments) {
    static float @INPUT_BUFFERS@, @OUTPUT_BUFFERS@;
    const float *inputs[] = {@INPUT_NAMES@};
    float *outputs[] = {@OUTPUT_NAMES@};
    FILE *file;
    need(count == @ARGUMENTS@, "usage: example WEIGHTS @FILES@");
    @READ_INPUTS@
    obo_network *network;
    obo_context *context;
    need_ok(obo_open(arguments[1], NULL, OBO_ABI_VERSION, &network));
    need_ok(obo_context_open(network, NULL, &context));
    need_ok(obo_run(context, inputs, outputs, @BATCH@));
    size_t best = 0, numbers = sizeof output0 / sizeof *output0;
    for (size_t i = 0; i < numbers; i++)
        best = output0[i] > output0[best] ? i : best;
    printf("%s: number %zu of %zu is the largest, %g\n", obo_target(network), best, numbers,
           output0[best]);
    obo_context_close(context);
    obo_close(network);
    return 0;
}
