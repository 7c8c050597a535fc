/* @TITLE@, as a C library; written by @WRITER@.
 *
 * A context holds the memory of one run at a time. Contexts are independent of each other: as many
 * threads as there are contexts may run the network at once. Weights are shared and never written.
 * Nothing is allocated but by @NAME@_open, and there only where it is given no memory.
 *
 * All arrays are dense, in the order of their sizes, the last one fastest.
 *
@ARRAYS@
 */
#ifndef @UPPER@_H
#define @UPPER@_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

@SIZES@

enum {
  @UPPER@_OK,
  @UPPER@_BAD_ARGUMENT,    /* NULL, or threads that are not 1 to @UPPER@_MOST_THREADS */
  @UPPER@_NO_MEMORY,
  @UPPER@_WRONG_PROCESSOR, /* it lacks instructions that the library was compiled to */
  @UPPER@_WRONG_WEIGHTS,   /* those that are linked belong to another network */
  @UPPER@_NO_THREADS       /* more than one asked for, and compiled without OpenMP */
};
#define @UPPER@_MOST_THREADS 1024

typedef struct @NAME@_context @NAME@_context;

/* Bytes of memory that a context takes; 0 for threads that are not 1 to @UPPER@_MOST_THREADS. */
size_t @NAME@_context_bytes(int threads);

/* Makes a context, in memory of the caller's (so many bytes, wherever they begin) or, for NULL, in
 * memory of its own. A run uses so many threads. Returns one of the codes above. */
int @NAME@_open(@NAME@_context **context, void *memory, int threads);

/* Runs the network once. Inputs and outputs may lie anywhere in memory, but not overlap. */
int @NAME@_run(@NAME@_context *context, const float *const inputs[], float *const outputs[]);

/* Frees what open allocated; NULL is allowed. */
void @NAME@_close(@NAME@_context *context);

#ifdef __cplusplus
}
#endif
#endif
