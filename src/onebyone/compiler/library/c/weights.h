/* The file of weights: a page that says where each target's lie, and these, all with checksums.

   Numbers are little-endian, as on all processors that there is code for. */

enum { HEADER_BYTES = 4096, FILE_FORMAT = 1, MOST_SECTIONS = 64, LINE_BYTES = 64 };

struct section {
    char target[24];
    uint64_t offset, bytes;
    uint32_t checksum, unused;
};

struct header {
    char magic[8];
    uint32_t format, sections;
    uint64_t file_bytes;
    unsigned char identity[16];
    struct section section[MOST_SECTIONS];
    unsigned char unused[HEADER_BYTES - 40 - MOST_SECTIONS * sizeof(struct section) - 4];
    uint32_t checksum; /* of all before it */
};

typedef char header_is_a_page[sizeof(struct header) == HEADER_BYTES ? 1 : -1];

/* CRC-32 (IEEE 802.3), eight bytes at a time by eight tables. (Source: Kounavis and Berry, 2005.) */
static uint32_t checksum_of(const unsigned char *bytes, size_t count) {
    uint32_t table[8][256], value = 0xFFFFFFFF;
    for (unsigned byte = 0; byte < 256; byte++) {
        uint32_t rest = byte;
        for (int turn = 0; turn < 8; turn++)
            rest = rest >> 1 ^ (rest & 1 ? 0xEDB88320 : 0);
        table[0][byte] = rest;
    }
    for (int ahead = 1; ahead < 8; ahead++)
        for (int byte = 0; byte < 256; byte++) {
            uint32_t rest = table[ahead - 1][byte];
            table[ahead][byte] = rest >> 8 ^ table[0][rest & 0xFF];
        }
    for (; count >= 8; count -= 8, bytes += 8) {
        uint32_t low, high;
        memcpy(&low, bytes, 4);
        memcpy(&high, bytes + 4, 4);
        low ^= value;
        value = table[7][low & 0xFF] ^ table[6][low >> 8 & 0xFF] ^ table[5][low >> 16 & 0xFF]
            ^ table[4][low >> 24] ^ table[3][high & 0xFF] ^ table[2][high >> 8 & 0xFF]
            ^ table[1][high >> 16 & 0xFF] ^ table[0][high >> 24];
    }
    for (; count; count--, bytes++)
        value = value >> 8 ^ table[0][(value ^ *bytes) & 0xFF];
    return ~value;
}

/* Find a target's weights; `found` points into the memory. */
static int find_weights(
    const unsigned char *memory, size_t bytes, const struct target *target, const void **found) {
    const struct header *header = (const void *)memory;
    static const unsigned char identity[16] = WEIGHTS_IDENTITY;
    if (bytes < HEADER_BYTES || memcmp(header->magic, "ONEBYONE", 8) != 0
        || header->checksum != checksum_of(memory, HEADER_BYTES - 4)
        || header->format != FILE_FORMAT || header->file_bytes != bytes
        || header->sections > MOST_SECTIONS)
        return OBO_ERROR_WEIGHTS;
    if (memcmp(header->identity, identity, sizeof identity) != 0)
        return OBO_ERROR_FOREIGN;
    for (uint32_t i = 0; i < header->sections; i++) {
        const struct section *one = &header->section[i];
        if (strncmp(one->target, target->name, sizeof one->target) != 0)
            continue;
        if (one->offset > bytes || one->bytes > bytes - one->offset || one->offset % LINE_BYTES
            || one->bytes < target->constant_bytes
            || checksum_of(memory + one->offset, one->bytes) != one->checksum)
            return OBO_ERROR_WEIGHTS;
        *found = memory + one->offset;
        return OBO_OK;
    }
    return OBO_ERROR_WEIGHTS;
}

/* Map a file, for reading only: all processes that do share one copy. */
static int map_file(const char *path, void **memory, size_t *bytes) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return OBO_ERROR_FILE;
    struct stat about;
    int error = fstat(file, &about) == 0 ? OBO_OK : OBO_ERROR_FILE, reason = errno;
    if (!error && !S_ISREG(about.st_mode)) {
        error = OBO_ERROR_FILE;
        reason = S_ISDIR(about.st_mode) ? EISDIR : EINVAL;
    }
    if (!error && about.st_size == 0)
        error = OBO_ERROR_WEIGHTS;
    if (!error) {
        *bytes = (size_t)about.st_size;
        *memory = mmap(NULL, *bytes, PROT_READ, MAP_SHARED, file, 0);
        error = *memory == MAP_FAILED ? OBO_ERROR_FILE : OBO_OK;
        reason = errno;
    }
    close(file);
    errno = reason;
    return error;
}
