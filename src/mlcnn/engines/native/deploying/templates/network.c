/* @TITLE@: its plan, and the four functions of @NAME@.h.
 *
 * Compile with gcc or clang, together with @NAME@_weights.S; see CMakeLists.txt for the flags. */
#define BLOCK @BLOCK@               /* floats of a vector */
#define ROOM_BYTES @ROOM_BYTES@     /* see kernels/room.h */
#define KERNELS @KERNELS@ /* see kernels/run.h */
#define PAIRS @PAIRS@                 /* see kernels/direct.h */
#define VALUES @VALUES@             /* floats of all values of a run */

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "@NAME@: the weights are little-endian, and this processor is not"
#endif
#if (BLOCK == 16 && !defined(__AVX512F__)) || (BLOCK == 8 && !defined(__AVX__))
#error "@NAME@: planned for @MARCH@: compile for a processor of this kind (CMake: -D@UPPER@_MARCH=...), or deploy anew for yours"
#endif

#include "@NAME@.h"
#include "kernels/run.h"
#include "kernels/processor.h"

#if GROUP != @GROUP@ || VNNI != @VNNI@@TABLES_CHECK@
#error "@NAME@: planned for @MARCH@: compile for a processor of this kind (CMake: -D@UPPER@_MARCH=...), or deploy anew for yours"
#endif

#define HEADER 64 /* bytes in front of the weights */
static const char stamp[] = "mlcnn 1 @STAMP@";
extern const float @NAME@_weights[] __attribute__((visibility("hidden")));

static const Step steps[] = {
@STEPS@
};

struct @NAME@_context {
  void *allocated;
  float *values;
  int threads;
};

static uintptr_t aligned(uintptr_t address) { return (address + 63) & ~(uintptr_t)63; }

size_t @NAME@_context_bytes(int threads) {
  if (threads < 1 || threads > @UPPER@_MOST_THREADS) return 0;
  return 63 + aligned(sizeof(@NAME@_context)) + (size_t)threads * ROOM_BYTES + VALUES * sizeof(float);
}

int @NAME@_open(@NAME@_context **context, void *memory, int threads) {
  const size_t bytes = @NAME@_context_bytes(threads);
  void *allocated = NULL;
  if (!context) return @UPPER@_BAD_ARGUMENT;
  *context = NULL;
  if (!bytes) return @UPPER@_BAD_ARGUMENT;
  if (!runs_here()) return @UPPER@_WRONG_PROCESSOR;
  if (memcmp(@NAME@_weights, stamp, sizeof stamp)) return @UPPER@_WRONG_WEIGHTS;
#ifndef _OPENMP
  if (threads > 1) return @UPPER@_NO_THREADS;
#endif
  if (!memory) memory = allocated = malloc(bytes);
  if (!memory) return @UPPER@_NO_MEMORY;
  memset(memory, 0, bytes);
  *context = (@NAME@_context *)aligned((uintptr_t)memory);
  (*context)->allocated = allocated;
  (*context)->threads = threads;
  (*context)->values =
      (float *)((char *)*context + aligned(sizeof(@NAME@_context)) + (size_t)threads * ROOM_BYTES);
  return @UPPER@_OK;
}

int @NAME@_run(@NAME@_context *context, const float *const inputs[], float *const outputs[]) {
  float *buffers[@UPPER@_INPUTS + @UPPER@_OUTPUTS];
  if (!context || !inputs || !outputs) return @UPPER@_BAD_ARGUMENT;
  for (int i = 0; i < @UPPER@_INPUTS; i++) {
    if (!inputs[i]) return @UPPER@_BAD_ARGUMENT;
    buffers[i] = (float *)inputs[i]; /* no step writes it */
  }
  for (int i = 0; i < @UPPER@_OUTPUTS; i++) {
    if (!outputs[i]) return @UPPER@_BAD_ARGUMENT;
    buffers[@UPPER@_INPUTS + i] = outputs[i];
  }
  run(steps, sizeof steps / sizeof *steps, -1, context->values,
      @NAME@_weights + HEADER / sizeof(float), buffers, context->threads);
  return @UPPER@_OK;
}

void @NAME@_close(@NAME@_context *context) {
  if (context) free(context->allocated);
}
