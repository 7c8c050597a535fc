/* @NAME@ as a custom operator of ONNX Runtime: the one node of @NAME@_onnxruntime.onnx.
 *
 * What it needs of ONNX Runtime's C API is declared here: functions of the API's version 1, by their
 * places in its table, and the custom operators of version 16 (onnxruntime_c_api.h). Both only grow. */
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "@NAME@.h"

#define API_VERSION 16
typedef struct OrtStatus OrtStatus;
typedef struct OrtApi {
  void (*functions[102])(void);
} OrtApi;
typedef struct OrtApiBase {
  const OrtApi *(*get_api)(uint32_t version);
  const char *(*get_version)(void);
} OrtApiBase;
typedef struct OrtCustomOp {
  uint32_t version;
  void *(*create)(const struct OrtCustomOp *, const OrtApi *, const void *info);
  const char *(*name)(const struct OrtCustomOp *);
  const char *(*provider)(const struct OrtCustomOp *);
  int (*input_type)(const struct OrtCustomOp *, size_t index);
  size_t (*inputs)(const struct OrtCustomOp *);
  int (*output_type)(const struct OrtCustomOp *, size_t index);
  size_t (*outputs)(const struct OrtCustomOp *);
  void (*compute)(void *kernel, void *context);
  void (*destroy)(void *kernel);
  int (*input_kind)(const struct OrtCustomOp *, size_t index);
  int (*output_kind)(const struct OrtCustomOp *, size_t index);
  int (*input_memory)(const struct OrtCustomOp *, size_t index);
  int (*variadic[4])(const struct OrtCustomOp *);
  OrtStatus *(*create_2)(const struct OrtCustomOp *, const OrtApi *, const void *info, void **kernel);
  OrtStatus *(*compute_2)(void *kernel, void *context);
} OrtCustomOp;

/* CALL(api, place, result, types)(arguments) */
#define CALL(api, place, result, ...) ((result(*)(__VA_ARGS__))(api)->functions[place])
enum { CREATE_STATUS = 0, CREATE_DOMAIN = 26, ADD_TO_DOMAIN = 27, ADD_DOMAIN = 28, DATA = 51,
       COUNT_OF_SHAPE = 64, SHAPE_OF = 65, INTEGER = 86, TEXT = 87, INPUT = 90, OUTPUT = 91,
       RELEASE_STATUS = 93, RELEASE_SHAPE = 99, RELEASE_DOMAIN = 101 };
enum { FAIL = 1, INVALID_ARGUMENT = 2 };

static OrtStatus *failed(const OrtApi *api, int code, const char *text) {
  return CALL(api, CREATE_STATUS, OrtStatus *, int, const char *)(code, text);
}

/* -- the kernel of a session: contexts that are free; so many as have been at work at once */

typedef struct Free {
  struct Free *next;
  @NAME@_context *context;
} Free;
typedef struct {
  const OrtApi *api;
  int threads;
  atomic_flag busy;
  Free *free;
} Kernel;

static void lock(Kernel *kernel) {
  while (atomic_flag_test_and_set_explicit(&kernel->busy, memory_order_acquire)) {}
}
static void unlock(Kernel *kernel) { atomic_flag_clear_explicit(&kernel->busy, memory_order_release); }

static void give(Kernel *kernel, Free *one) {
  lock(kernel);
  one->next = kernel->free, kernel->free = one;
  unlock(kernel);
}
/* A context that no other run has; a new one where all are at work. Returns a code of @NAME@.h. */
static int take(Kernel *kernel, Free **one) {
  lock(kernel);
  *one = kernel->free;
  if (*one) kernel->free = (*one)->next;
  unlock(kernel);
  if (*one) return @UPPER@_OK;
  *one = malloc(sizeof **one);
  if (!*one) return @UPPER@_NO_MEMORY;
  const int code = @NAME@_open(&(*one)->context, NULL, kernel->threads);
  if (code) free(*one);
  return code;
}
static OrtStatus *told(const OrtApi *api, int code) {
  switch (code) {
    case @UPPER@_NO_MEMORY: return failed(api, FAIL, "@NAME@: no memory for another context");
    case @UPPER@_WRONG_PROCESSOR:
      return failed(api, FAIL, "@NAME@: this processor lacks instructions that the library was compiled to; compile it for this one");
    case @UPPER@_WRONG_WEIGHTS: return failed(api, FAIL, "@NAME@: the weights that are linked belong to another network");
    case @UPPER@_NO_THREADS:
      return failed(api, FAIL, "@NAME@: several threads are asked for, and the library was compiled without OpenMP");
    default: return failed(api, FAIL, "@NAME@: threads must be 1 to 1024");
  }
}

static void destroy(void *kernel) {
  for (Free *one = ((Kernel *)kernel)->free, *next; one; one = next) {
    next = one->next;
    @NAME@_close(one->context);
    free(one);
  }
  free(kernel);
}
static OrtStatus *create(const OrtCustomOp *op, const OrtApi *api, const void *info, void **made) {
  static const char stamp[] = "@STAMP@";
  char found[sizeof stamp] = "";
  size_t size = sizeof found;
  int64_t threads = 1;
  (void)op;
  OrtStatus *status = CALL(api, TEXT, OrtStatus *, const void *, const char *, char *, size_t *)(info, "plan", found, &size);
  if (status || memcmp(found, stamp, sizeof stamp)) {
    CALL(api, RELEASE_STATUS, void, OrtStatus *)(status);
    return failed(api, INVALID_ARGUMENT, "@NAME@: this library is of plan @STAMP@, and the node of another: deploy writes both, use them together");
  }
  status = CALL(api, INTEGER, OrtStatus *, const void *, const char *, int64_t *)(info, "threads", &threads);
  if (status) return status;
  Kernel *kernel = calloc(1, sizeof *kernel);
  Free *first;
  if (!kernel) return told(api, @UPPER@_NO_MEMORY);
  kernel->api = api, kernel->threads = threads < 1 || threads > @UPPER@_MOST_THREADS ? 0 : (int)threads;
  atomic_flag_clear(&kernel->busy);
  const int code = take(kernel, &first);
  if (code) {
    free(kernel);
    return told(api, code);
  }
  give(kernel, first);
  *made = kernel;
  return NULL;
}

static const size_t input_sizes[] = {@INPUT_SIZES@};
@OUTPUT_SHAPES@
static const int64_t *const output_shapes[] = {@OUTPUT_SHAPE_NAMES@};
static const size_t output_ranks[] = {@OUTPUT_RANKS@};

static OrtStatus *pointers(const OrtApi *api, void *context, const float **inputs, float **outputs) {
  OrtStatus *status = NULL;
  for (size_t i = 0; i < @UPPER@_INPUTS && !status; i++) {
    void *value, *shape;
    size_t count;
    if ((status = CALL(api, INPUT, OrtStatus *, const void *, size_t, void **)(context, i, &value))) break;
    if ((status = CALL(api, SHAPE_OF, OrtStatus *, const void *, void **)(value, &shape))) break;
    status = CALL(api, COUNT_OF_SHAPE, OrtStatus *, const void *, size_t *)(shape, &count);
    CALL(api, RELEASE_SHAPE, void, void *)(shape);
    if (!status && count != input_sizes[i])
      status = failed(api, INVALID_ARGUMENT, "@NAME@: an input has another size than the network was deployed for");
    if (!status) status = CALL(api, DATA, OrtStatus *, void *, void **)(value, (void **)&inputs[i]);
  }
  for (size_t i = 0; i < @UPPER@_OUTPUTS && !status; i++) {
    void *value;
    status = CALL(api, OUTPUT, OrtStatus *, void *, size_t, const int64_t *, size_t, void **)(
        context, i, output_shapes[i], output_ranks[i], &value);
    if (!status) status = CALL(api, DATA, OrtStatus *, void *, void **)(value, (void **)&outputs[i]);
  }
  return status;
}
static OrtStatus *compute(void *self, void *context) {
  Kernel *kernel = self;
  const float *inputs[@UPPER@_INPUTS];
  float *outputs[@UPPER@_OUTPUTS];
  Free *one;
  OrtStatus *status = pointers(kernel->api, context, inputs, outputs);
  if (status) return status;
  const int code = take(kernel, &one);
  if (code) return told(kernel->api, code);
  @NAME@_run(one->context, inputs, outputs);
  give(kernel, one);
  return NULL;
}

/* -- the operator */

static const int input_types[] = {@INPUT_TYPES@}; /* 1: float, 9: bool */
static const char *name(const OrtCustomOp *op) { return (void)op, "@NAME@"; }
static const char *provider(const OrtCustomOp *op) { return (void)op, "CPUExecutionProvider"; }
static int input_type(const OrtCustomOp *op, size_t index) { return (void)op, input_types[index]; }
static size_t inputs_of(const OrtCustomOp *op) { return (void)op, @UPPER@_INPUTS; }
static int output_type(const OrtCustomOp *op, size_t index) { return (void)op, (void)index, 1; }
static size_t outputs_of(const OrtCustomOp *op) { return (void)op, @UPPER@_OUTPUTS; }
static int required(const OrtCustomOp *op, size_t index) { return (void)op, (void)index, 0; }
static int none(const OrtCustomOp *op) { return (void)op, 0; }

static const OrtCustomOp custom_operator = {
    .version = API_VERSION, .name = name, .provider = provider, .input_type = input_type, .inputs = inputs_of,
    .output_type = output_type, .outputs = outputs_of, .destroy = destroy, .input_kind = required,
    .output_kind = required, .input_memory = required, .variadic = {none, none, none, none},
    .create_2 = create, .compute_2 = compute};
static _Atomic(void *) domain; /* of all sessions, as long as the process lives */

__attribute__((visibility("default"))) OrtStatus *RegisterCustomOps(void *options, const OrtApiBase *base) {
  const OrtApi *api = base->get_api(API_VERSION);
  void *found = atomic_load(&domain), *nothing = NULL;
  OrtStatus *status;
  if (!api) return failed(base->get_api(1), FAIL, "@NAME@: ONNX Runtime 1.16 or newer is required");
  if (!found) {
    if ((status = CALL(api, CREATE_DOMAIN, OrtStatus *, const char *, void **)("@DOMAIN@", &found))) return status;
    if ((status = CALL(api, ADD_TO_DOMAIN, OrtStatus *, void *, const OrtCustomOp *)(found, &custom_operator))) return status;
    if (!atomic_compare_exchange_strong(&domain, &nothing, found)) { /* another thread was first */
      CALL(api, RELEASE_DOMAIN, void, void *)(found);
      found = nothing;
    }
  }
  return CALL(api, ADD_DOMAIN, OrtStatus *, void *, void *)(options, found);
}
