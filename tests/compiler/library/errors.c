/* What is refused, and that nothing else happens: errors WEIGHTS FOREIGN BROKEN, where FOREIGN are
   the weights of another export, and BROKEN a file that may be written. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net.h"

#define NEED(is_so) need(is_so, #is_so, __LINE__)
#define GIVES(error, call) NEED((call) == (error))

static void need(int is_so, const char *what, int line) {
    if (!is_so) {
        fprintf(stderr, "errors.c:%d: not so: %s\n", line, what);
        exit(1);
    }
}

static float *input, *outputs[8], *wanted;
static size_t numbers;

static size_t numbers_of(const net_tensor *tensor) {
    size_t found = 1;
    for (int axis = 0; axis < tensor->rank; axis++)
        found *= tensor->shape[axis];
    return found;
}

static int run(net_context *context, int batch) {
    const float *inputs[] = {input};
    memset(outputs[0], 0xFF, numbers * sizeof(float));
    return net_run(context, inputs, outputs, batch);
}

static int runs_right(net_context *context) {
    return run(context, 1) == NET_OK && !memcmp(outputs[0], wanted, numbers * sizeof(float));
}

static unsigned char *read_file(const char *path, size_t *bytes) {
    FILE *file = fopen(path, "rb");
    NEED(file && !fseek(file, 0, SEEK_END));
    *bytes = (size_t)ftell(file);
    rewind(file);
    void *found = NULL;
    NEED(!posix_memalign(&found, 64, *bytes) && fread(found, 1, *bytes, file) == *bytes);
    fclose(file);
    return found;
}

static int open_cut(const char *path, const unsigned char *content, size_t bytes) {
    net_network *network = NULL;
    FILE *file = fopen(path, "wb");
    NEED(file && fwrite(content, 1, bytes, file) == bytes && !fclose(file));
    int error = net_open(path, NULL, NET_ABI_VERSION, &network);
    NEED((error == NET_OK) == (network != NULL));
    net_close(network);
    return error;
}

/* A caller's way to run in parallel that calls the context again. */
static void call_again(void (*task)(void *, int), void *data, int count, void *user) {
    net_context **context = user;
    if (*context)
        NEED(run(*context, 1) == NET_ERROR_BUSY);
    for (int i = 0; i < count; i++)
        task(data, i);
}

/* Whether a forked child gets the right results. */
static int child_runs_right(net_context *context) {
    pid_t child = fork();
    if (child == 0)
        _exit(runs_right(context) ? 0 : 1);
    int status;
    return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void check_texts(void) {
    for (int error = NET_OK; error <= NET_ERROR_BUSY; error++) {
        NEED(strlen(net_error_text(error)) > 6);
        for (int other = NET_OK; other < error; other++)
            NEED(strcmp(net_error_text(error), net_error_text(other)) != 0);
    }
    NEED(strstr(net_error_text(-1), "no error") && strstr(net_error_text(999), "no error"));
}

static void check_opening(char **paths) {
    net_network *network = NULL;
    size_t bytes;
    unsigned char *content = read_file(paths[1], &bytes);
    GIVES(NET_ERROR_NULL, net_open(paths[1], NULL, NET_ABI_VERSION, NULL));
    GIVES(NET_ERROR_NULL, net_open(NULL, NULL, NET_ABI_VERSION, &network));
    GIVES(NET_ERROR_NULL, net_open_memory(NULL, bytes, NULL, NET_ABI_VERSION, &network));
    GIVES(NET_ERROR_ABI, net_open(paths[1], NULL, NET_ABI_VERSION + 1, &network));
    GIVES(NET_ERROR_ABI, net_open_memory(content, bytes, NULL, 0, &network));
    GIVES(NET_ERROR_TARGET, net_open(paths[1], "z80", NET_ABI_VERSION, &network));
    GIVES(NET_ERROR_FILE, net_open("no such file", NULL, NET_ABI_VERSION, &network));
    GIVES(NET_ERROR_FILE, net_open(".", NULL, NET_ABI_VERSION, &network));
    GIVES(NET_ERROR_FOREIGN, net_open(paths[2], NULL, NET_ABI_VERSION, &network));
    GIVES(NET_ERROR_WEIGHTS, net_open(paths[0], NULL, NET_ABI_VERSION, &network));
    GIVES(NET_ERROR_ALIGNMENT,
          net_open_memory(content + 4, bytes - 4, NULL, NET_ABI_VERSION, &network));
    for (size_t cut = 0; cut < bytes; cut += cut < 5000 ? 977 : bytes / 5)
        GIVES(NET_ERROR_WEIGHTS, open_cut(paths[3], content, cut));
    GIVES(NET_ERROR_WEIGHTS, open_cut(paths[3], content, bytes - 1));
    for (size_t place = 7; place < bytes; place += place < 4000 ? 501 : bytes / 5) {
        content[place] ^= 0x10;
        /* Who opens one target does not read the others' weights. */
        int error = open_cut(paths[3], content, bytes);
        NEED(error == NET_ERROR_WEIGHTS || (error == NET_OK && place >= 4096));
        content[place] ^= 0x10;
    }
    GIVES(NET_OK, open_cut(paths[3], content, bytes));
    NEED(network == NULL);
    net_close(NULL);
    net_context_close(NULL);
    NEED(net_target(NULL) == NULL);
    free(content);
}

static void check_contexts(const net_network *network) {
    net_context *context = NULL;
    net_options options = {0};
    size_t bytes, more;
    GIVES(NET_ERROR_NULL, net_context_open(NULL, NULL, &context));
    GIVES(NET_ERROR_NULL, net_context_open(network, NULL, NULL));
    GIVES(NET_ERROR_NULL, net_workspace_bytes(network, NULL, NULL));
    GIVES(NET_ERROR_NULL, net_workspace_bytes(NULL, NULL, &bytes));
    int odd[] = {-1, 1025, 1 << 30};
    for (int i = 0; i < 3; i++) {
        options.threads = odd[i];
        GIVES(NET_ERROR_THREADS, net_context_open(network, &options, &context));
        GIVES(NET_ERROR_THREADS, net_workspace_bytes(network, &options, &bytes));
    }
    GIVES(NET_ERROR_LAYOUT, net_context_open(network, &(net_options){.layout = 2}, &context));
    GIVES(NET_ERROR_BATCH, net_context_open(network, &(net_options){.batch = -1}, &context));
    NEED(context == NULL);

    GIVES(NET_OK, net_workspace_bytes(network, &(net_options){.threads = 4}, &more));
    GIVES(NET_OK, net_workspace_bytes(network, NULL, &bytes));
    NEED(bytes < more);
    char *workspace = NULL;
    NEED(!posix_memalign((void **)&workspace, 64, bytes));
    options = (net_options){.workspace = workspace, .workspace_bytes = bytes - 1};
    GIVES(NET_ERROR_WORKSPACE, net_context_open(network, &options, &context));
    options = (net_options){.workspace = workspace + 8, .workspace_bytes = bytes};
    GIVES(NET_ERROR_ALIGNMENT, net_context_open(network, &options, &context));
    options = (net_options){.workspace = workspace, .workspace_bytes = bytes};
    GIVES(NET_OK, net_context_open(network, &options, &context));
    NEED(runs_right(context));
    net_context_close(context);
    free(workspace);
}

static void check_calls(const net_network *network) {
    net_context *context = NULL, *nobody = NULL;
    const float *inputs[] = {input}, *nothing[] = {NULL};
    float *nowhere[8] = {NULL};
    GIVES(NET_OK, net_context_open(network, NULL, &context));
    GIVES(NET_ERROR_NULL, net_run(NULL, inputs, outputs, 1));
    GIVES(NET_ERROR_NULL, net_run(context, NULL, outputs, 1));
    GIVES(NET_ERROR_NULL, net_run(context, inputs, NULL, 1));
    GIVES(NET_ERROR_NULL, net_run(context, nothing, outputs, 1));
    GIVES(NET_ERROR_NULL, net_run(context, inputs, nowhere, 1));
    GIVES(NET_ERROR_BATCH, run(context, 0));
    GIVES(NET_ERROR_BATCH, run(context, -5));
    NEED(runs_right(context) && child_runs_right(context) && runs_right(context));
    net_context_close(context);

    net_options options = {.threads = 2, .parallel_for = call_again, .user = &nobody};
    GIVES(NET_OK, net_context_open(network, &options, &context));
    NEED(runs_right(context));
    nobody = context;
    GIVES(NET_OK, run(context, 1));
    net_context_close(context);

    GIVES(NET_OK, net_context_open(network, &(net_options){.threads = 3}, &context));
    for (int call = 0; call < 20; call++) {
        NEED(runs_right(context));
        if (call % 7 == 3)
            usleep(2000); /* workers fall asleep */
    }
    NEED(child_runs_right(context) && runs_right(context));
    net_context_close(context);
}

/* Inputs with channels innermost give the same bits. */
static void check_layouts(const net_network *network) {
    const net_tensor *tensor = &net_about()->inputs[0];
    size_t channels = tensor->shape[1], pixels = tensor->shape[2] * tensor->shape[3];
    float *planes = input;
    net_context *context;
    input = malloc(channels * pixels * sizeof(float));
    for (size_t c = 0; c < channels; c++)
        for (size_t p = 0; p < pixels; p++)
            input[p * channels + c] = planes[c * pixels + p];
    GIVES(NET_OK, net_context_open(network, &(net_options){.layout = NET_NHWC}, &context));
    NEED(runs_right(context));
    net_context_close(context);
    free(input);
    input = planes;
}

int main(int count, char **paths) {
    NEED(count == 4);
    const net_facts *about = net_about();
    NEED(about->input_count == 1 && about->output_count <= 8 && about->batch == 1);
    GIVES(NET_OK, net_check_processor());
    NEED(net_abi_version() == NET_ABI_VERSION);
    input = malloc(numbers_of(&about->inputs[0]) * sizeof(float));
    for (size_t i = 0; i < numbers_of(&about->inputs[0]); i++)
        input[i] = (float)(i * 2654435761u % 1000) / 500 - 1;
    for (int i = 0; i < about->output_count; i++)
        outputs[i] = malloc(numbers_of(&about->outputs[i]) * sizeof(float));
    numbers = numbers_of(&about->outputs[0]);
    wanted = malloc(numbers * sizeof(float));

    net_network *network, *again;
    net_context *context;
    GIVES(NET_OK, net_open(paths[1], NULL, NET_ABI_VERSION, &network));
    GIVES(NET_OK, net_context_open(network, NULL, &context));
    GIVES(NET_OK, run(context, 1));
    memcpy(wanted, outputs[0], numbers * sizeof(float));

    /* A second network and context are apart from the first, which goes on when they end. */
    GIVES(NET_OK, net_open(paths[1], NULL, NET_ABI_VERSION, &again));
    NEED(again != network);
    check_calls(again);
    net_close(again);
    NEED(runs_right(context));
    net_context_close(context);

    check_texts();
    check_opening(paths);
    check_contexts(network);
    check_layouts(network);
    net_close(network);
    for (int i = 0; i < about->output_count; i++)
        free(outputs[i]);
    free(input);
    free(wanted);
    puts("all as it should be");
    return 0;
}
