/* Runs the network "branchy" by ONNX Runtime's C API: LIBRARY-OF-ONNX-RUNTIME CUSTOM-OPERATORS NETWORK.
 * Functions are found by their places in the API's table, of which version 1 is enough. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define CALL(place, ...) ((void *(*)(__VA_ARGS__))api[place])
static void (**api)(void);

static void check(void *status) {
  if (!status) return;
  fprintf(stderr, "%s\n", (const char *)CALL(2, void *)(status));
  exit(1);
}

int main(int count, char **arguments) {
  void *(*get_base)(void), *env, *options, *handle, *session, *memory, *values[2], *results[2] = {0, 0};
  void *library = count == 4 ? dlopen(arguments[1], RTLD_NOW) : NULL;
  if (!library) return 2;
  *(void **)&get_base = dlsym(library, "OrtGetApiBase");
  api = (*(void (**(**)(uint32_t))(void))get_base())(16);
  check(CALL(3, int, const char *, void **)(2, "test", &env));
  check(CALL(10, void **)(&options));
  check(CALL(29, void *, const char *, void **)(options, arguments[2], &handle));
  check(CALL(7, void *, const char *, void *, void **)(env, arguments[3], options, &session));
  check(CALL(69, int, int, void **)(0, 0, &memory));

  static float x[2 * 3 * 9 * 7], z[2 * 12 * 9 * 7];
  const int64_t shapes[2][4] = {{2, 3, 9, 7}, {2, 12, 9, 7}};
  float *arrays[2] = {x, z}, *classes;
  const size_t bytes[2] = {sizeof x, sizeof z};
  for (size_t i = 0; i < sizeof x / sizeof *x; i++) x[i] = (float)(i % 11) / 11 - 0.5f;
  for (size_t i = 0; i < sizeof z / sizeof *z; i++) z[i] = (float)(i % 7) / 7 - 0.5f;
  for (int i = 0; i < 2; i++)
    check(CALL(49, void *, void *, size_t, const int64_t *, size_t, int, void **)(
        memory, arrays[i], bytes[i], shapes[i], 4, 1, values + i));
  const char *names[] = {"x", "z"}, *outputs[] = {"maps", "classes"};
  check(CALL(9, void *, void *, const char **, void **, size_t, const char **, size_t, void **)(
      session, NULL, names, values, 2, outputs, 2, results));
  check(CALL(51, void *, void **)(results[1], (void **)&classes));
  for (int i = 0; i < 10; i++) printf("%a\n", classes[i]);
  return 0;
}
