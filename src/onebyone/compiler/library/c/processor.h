/* What this processor can run, asked of itself: no instruction is tried that may be missing. */

enum {
    AVX2 = 1 << 0,
    FMA = 1 << 1,
    BMI1 = 1 << 2,
    BMI2 = 1 << 3,
    F16C = 1 << 4,
    MOVBE = 1 << 5,
    AVX512F = 1 << 6,
    AVX512BW = 1 << 7,
    AVX512CD = 1 << 8,
    AVX512DQ = 1 << 9,
    AVX512VL = 1 << 10,
    AVX512_BF16 = 1 << 11,
    AMX_TILE = 1 << 12,
    AMX_BF16 = 1 << 13,
    ASIMD = 1 << 14
};

#if defined(__x86_64__)

#include <cpuid.h>

/* Registers that the system saves; others must not be used. */
enum { SAVES_AVX = 0x6, SAVES_AVX512 = 0xE6, SAVES_TILES = 0x60000 };

static unsigned saved_registers(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static unsigned bit(unsigned word, int place, unsigned feature) {
    return word >> place & 1 ? feature : 0;
}

static unsigned processor_features(void) {
    unsigned a, b, c, d, found = 0, saved;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return 0;
    found |= bit(c, 22, MOVBE);
    saved = c >> 27 & 1 ? saved_registers() : 0;
    if ((saved & SAVES_AVX) != SAVES_AVX)
        return found;
    found |= bit(c, 12, FMA) | bit(c, 29, F16C);
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return found;
    unsigned ways = a;
    found |= bit(b, 3, BMI1) | bit(b, 5, AVX2) | bit(b, 8, BMI2);
    if ((saved & SAVES_AVX512) != SAVES_AVX512)
        return found;
    found |= bit(b, 16, AVX512F) | bit(b, 17, AVX512DQ) | bit(b, 28, AVX512CD);
    found |= bit(b, 30, AVX512BW) | bit(b, 31, AVX512VL);
    if ((saved & SAVES_TILES) == SAVES_TILES)
        found |= bit(d, 22, AMX_BF16) | bit(d, 24, AMX_TILE);
    if (ways >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d))
        found |= bit(a, 5, AVX512_BF16);
    return found;
}

/* Linux gives a process the large registers of matrix tiles when it asks for them. */
static int may_use_tiles(void) {
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

static void pause_processor(void) {
    __asm__ volatile("pause");
}

#elif defined(__aarch64__)

#include <sys/auxv.h>

enum { CAPABILITY_ASIMD = 1 << 1 };

static unsigned processor_features(void) {
    return getauxval(AT_HWCAP) & CAPABILITY_ASIMD ? ASIMD : 0;
}

static int may_use_tiles(void) {
    return 0;
}

static void pause_processor(void) {
    __asm__ volatile("yield");
}

#else
#error "there is code for x86_64 and aarch64 only"
#endif

static int can_run(unsigned needs) {
    return (needs & ~processor_features()) == 0 && (!(needs & AMX_TILE) || may_use_tiles());
}
