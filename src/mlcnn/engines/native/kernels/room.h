/* Memory that a thread needs while a kernel runs. A deployed network has it in front of its values,
 * ROOM_BYTES for each thread, so that no run allocates any. */
#ifdef ROOM_BYTES
#if defined(_OPENMP)
#include <omp.h>
#define ROOM_OF_THREAD omp_get_thread_num()
#else
#define ROOM_OF_THREAD 0
#endif
#define TAKE_ROOM(m, bytes) ((void)(bytes), (void *)((char *)(m) - (ROOM_OF_THREAD + 1) * (int64_t)(ROOM_BYTES)))
#define LEAVE_ROOM(room) (void)(room)
#else
#define TAKE_ROOM(m, bytes) aligned_alloc(64, ((bytes) + 63) / 64 * 64)
#define LEAVE_ROOM(room) free(room)
#endif
