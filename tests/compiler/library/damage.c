/* Damaged weights are refused, and nothing is read outside of them: damage WEIGHTS FILE COUNT SEED.

   Compiled with the runtime, so that a header can be damaged and then given a right checksum: what
   follows rests on bounds that are checked, not on sums. FILE may be written. */
#define _GNU_SOURCE
#include <stdio.h>

#include "runtime.c"

static uint64_t state;

static size_t random_below(size_t bound) { /* (Source: Marsaglia's xorshift64.) */
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return bound ? (size_t)(state >> 11) % bound : 0;
}

static void need(int is_so, const char *what, long turn) {
    if (!is_so) {
        fprintf(stderr, "damage: turn %ld: %s\n", turn, what);
        exit(1);
    }
}

static size_t numbers_of(const net_tensor *tensor) {
    size_t found = 1;
    for (int axis = 0; axis < tensor->rank; axis++)
        found *= tensor->shape[axis];
    return found;
}

/* Run on zeros and return a sum over the bits of the first result. */
static uint32_t result_of(net_network *network) {
    float *input = calloc(numbers_of(&input_tensors[0]), sizeof(float));
    float *given[OUTPUT_COUNT];
    const float *inputs[] = {input};
    net_context *context;
    for (int i = 0; i < OUTPUT_COUNT; i++)
        given[i] = calloc(numbers_of(&output_tensors[i]), sizeof(float));
    need(!net_context_open(network, NULL, &context), "no context", 0);
    need(!net_run(context, inputs, given, facts.batch), "no result", 0);
    net_context_close(context);
    uint32_t sum = checksum_of((void *)given[0], numbers_of(&output_tensors[0]) * sizeof(float));
    for (int i = 0; i < OUTPUT_COUNT; i++)
        free(given[i]);
    free(input);
    return sum;
}

static void damage_bytes(unsigned char *bytes, size_t count) {
    size_t start = random_below(count), length = 1 + random_below(random_below(2) ? 4 : 600);
    for (size_t i = start; i < count && i < start + length; i++)
        bytes[i] = (unsigned char)random_below(256);
}

/* Change a field of the header, mostly to something that is near a bound. */
static void damage_header(unsigned char *bytes, size_t count) {
    struct header *header = (void *)bytes;
    struct section *section = &header->section[random_below(header->sections)];
    size_t odd[] = {0, 1, 64, count - 64, count, count + 64, SIZE_MAX, SIZE_MAX - 63,
                    section->bytes + 64, section->bytes - 64, random_below(2 * count)};
    size_t value = odd[random_below(sizeof odd / sizeof *odd)];
    switch (random_below(6)) {
    case 0: section->offset = value; break;
    case 1: section->bytes = value; break;
    case 2: section->offset = value; section->bytes = value; break;
    case 3: header->sections = (uint32_t)value; break;
    case 4: header->file_bytes = value; break;
    default: damage_bytes(bytes, HEADER_BYTES - 4);
    }
    header->checksum = checksum_of(bytes, HEADER_BYTES - 4);
}

static int open_file(const char *path, const void *bytes, size_t count, net_network **network) {
    FILE *file = fopen(path, "wb");
    need(file && fwrite(bytes, 1, count, file) == count && !fclose(file), "cannot write", 0);
    return net_open(path, NULL, NET_ABI_VERSION, network);
}

int main(int count, char **arguments) {
    need(count == 5, "arguments", 0);
    FILE *file = fopen(arguments[1], "rb");
    need(file && !fseek(file, 0, SEEK_END), arguments[1], 0);
    size_t whole = (size_t)ftell(file), refused = 0, harmless = 0;
    unsigned char *content = malloc(whole);
    rewind(file);
    need(fread(content, 1, whole, file) == whole && !fclose(file), arguments[1], 0);
    net_network *network;
    need(!net_open(arguments[1], NULL, NET_ABI_VERSION, &network), "undamaged", 0);
    uint32_t wanted = result_of(network);
    net_close(network);
    state = strtoull(arguments[4], NULL, 10) * 2654435761u + 1;
    for (long turn = 0; turn < atol(arguments[3]); turn++) {
        size_t way = random_below(4), bytes = whole;
        if (way == 0)
            bytes = random_below(random_below(2) ? whole : HEADER_BYTES + 1);
        if (way == 1 && random_below(8) == 0)
            bytes = whole + 1 + random_below(5000);
        void *memory = NULL;
        need(!posix_memalign(&memory, 64, bytes + !bytes), "memory", turn);
        memset(memory, 0, bytes);
        memcpy(memory, content, bytes < whole ? bytes : whole);
        if (way == 1 && bytes == whole)
            damage_bytes(memory, bytes);
        if (way == 2)
            ((unsigned char *)memory)[random_below(bytes)] ^= 1u << random_below(8);
        if (way == 3)
            damage_header(memory, bytes);
        int error = random_below(2)
            ? open_file(arguments[2], memory, bytes, &network)
            : net_open_memory(memory, bytes, NULL, NET_ABI_VERSION, &network);
        int is_same = bytes == whole && !memcmp(memory, content, whole);
        need(error == NET_OK || error == NET_ERROR_WEIGHTS || error == NET_ERROR_FOREIGN
                 || (error == NET_ERROR_FILE && !bytes),
             net_error_text(error), turn);
        need(!is_same || error == NET_OK, "refused as it was", turn);
        /* A file may say other things of what is not read, if its sums are right. */
        need(error || is_same || way == 3, "damage was not seen", turn);
        if (error == NET_OK) {
            need(result_of(network) == wanted, "other results", turn);
            net_close(network);
        }
        refused += error != NET_OK;
        harmless += error == NET_OK;
        free(memory);
    }
    free(content);
    printf("%zu refused, %zu harmless\n", refused, harmless);
    return 0;
}
