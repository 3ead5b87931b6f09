/* @TITLE@

   Machine code for @TARGETS@; needs the C library only. All functions may be called from any
   thread; a context serves one call at a time. Whatever returns `int` returns OBO_OK or one of
   the errors below, and writes its results only when it succeeds. */
#ifndef OBO_H
#define OBO_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define OBO_ABI_VERSION 1 /* of this header; the library compares it with its own */

enum {
    OBO_OK = 0,
    OBO_ERROR_NULL,      /* a pointer is NULL */
    OBO_ERROR_ABI,       /* header and library are of different versions */
    OBO_ERROR_PROCESSOR, /* this processor cannot run the code */
    OBO_ERROR_TARGET,    /* the library has no such target */
    OBO_ERROR_FILE,      /* the weights cannot be opened or mapped; errno says why */
    OBO_ERROR_WEIGHTS,   /* they are damaged, cut off, or no weights */
    OBO_ERROR_FOREIGN,   /* they were exported with another library */
    OBO_ERROR_ALIGNMENT, /* memory does not start at a multiple of 64 bytes */
    OBO_ERROR_WORKSPACE, /* the workspace is too small */
    OBO_ERROR_BATCH,     /* no such number of images */
    OBO_ERROR_THREADS,   /* no such number of threads, or they could not be started */
    OBO_ERROR_LAYOUT,    /* no such layout */
    OBO_ERROR_MEMORY,    /* there is not enough memory */
    OBO_ERROR_BUSY       /* the context is in another call */
};

const char *obo_error_text(int error);

unsigned obo_abi_version(void);

/* OBO_ERROR_PROCESSOR if no target of this library runs here; nothing else fails then. */
int obo_check_processor(void);

/* A tensor of float32. `shape` is that of the smallest call; `strides` say how many numbers lie
   between neighbours along each axis. A call of n images reads or writes n * `per_image` numbers,
   one image after the other, or, where that is 0, `shape` however many there are. Inputs may also
   be given in OBO_NHWC. */
typedef struct {
    const char *name;
    int rank;
    size_t shape[4];
    size_t strides[4];
    size_t per_image;
} obo_tensor;

/* What is known without any weights. */
typedef struct {
    const char *name;
    int batch;       /* images of the smallest call */
    int any_batch;   /* whether calls of several times as many are allowed, in parts if need be; */
                     /* else only those in `batches` are */
    int batch_count; /* of `batches`: what there is code for at once, the smallest first */
    const int *batches;
    int channels;    /* of `mean` and `deviation`: an image on a scale of 0 to 1 becomes an */
    const float *mean;      /* input as (image - mean) / deviation; 0 and NULL if unknown */
    const float *deviation;
    int input_count, output_count, class_count, target_count;
    const obo_tensor *inputs, *outputs;
    const char *const *classes; /* a name for each score, if they are known */
    const char *const *targets; /* best first */
} obo_facts;

const obo_facts *obo_about(void);

/* Weights: read-only, shared by all contexts, threads and processes. */
typedef struct obo_network obo_network;

/* Map the file of weights and check its sums. `path` is NULL for weights inside the library;
   `target` is NULL for the best that this processor runs; `abi` is OBO_ABI_VERSION. The file may
   be replaced or removed while it is open, but not changed or cut. */
int obo_open(const char *path, const char *target, unsigned abi, obo_network **network);

/* The same from memory, at a multiple of 64 bytes, which stays the caller's until `obo_close`. */
int obo_open_memory(
    const void *memory, size_t bytes, const char *target, unsigned abi, obo_network **network);

/* After its contexts have been closed; NULL is nothing. */
void obo_close(obo_network *network);

const char *obo_target(const obo_network *network); /* such as "avx512"; NULL of NULL */

/* A context: the memory of one call at a time. */
typedef struct obo_context obo_context;

enum { OBO_NCHW = 0, OBO_NHWC = 1 };

/* Call `task(data, i)` once for each i below `count`, in any order, on whichever threads, and
   return when all have returned. */
typedef void (*obo_parallel_for)(
    void (*task)(void *data, int i), void *data, int count, void *user);

/* All zero is what most want: NCHW, the caller's thread alone, memory of its own, for any call. */
typedef struct {
    int batch;    /* most images at once, for which there is memory; larger calls are made in */
                  /* parts; 0: as many as there is code for, the last of `obo_about()->batches` */
    int threads;  /* 0 or 1: the caller's; else with workers that the context starts, which look */
                  /* for the next call for 0.1 ms and then sleep; or with those of `parallel_for` */
    int layout;   /* of inputs: OBO_NCHW or OBO_NHWC */
    obo_parallel_for parallel_for; /* NULL: none */
    void *user;                    /* for `parallel_for` */
    void *workspace;               /* NULL: the context allocates it */
    size_t workspace_bytes;
} obo_options;

/* Bytes that a context with these options (NULL: all zero) needs; everything it uses is in there.
   One size serves calls of any number of images; fewer at once (`batch`) need less. */
int obo_workspace_bytes(const obo_network *network, const obo_options *options, size_t *bytes);

int obo_context_open(
    const obo_network *network, const obo_options *options, obo_context **context);
void obo_context_close(obo_context *context); /* NULL is nothing */

/* Run on `batch` images: an address for each input and each output. They are computed in parts, the
   largest that there is code and memory for first. An image's results are the same bits for any
   number of threads and of other images. Allocates nothing. A forked child may go on with a
   context that was in no call; workers are started anew. */
int obo_run(
    obo_context *context, const float *const *inputs, float *const *outputs, int batch);

#ifdef __cplusplus
}
#endif

#endif
