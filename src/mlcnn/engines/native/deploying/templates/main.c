/* Runs @NAME@ once: example [INPUT.bin ... OUTPUT.bin ...], files of its arrays as they lie in memory.
 * Without files its inputs are zeros, and the first numbers of each output are printed. */
#include <stdio.h>
#include <stdlib.h>

#include "@NAME@.h"

static const size_t input_bytes[] = {@INPUT_BYTES@};
static const size_t output_bytes[] = {@OUTPUT_BYTES@};

static int move(const char *path, const char *mode, void *array, size_t bytes) {
  FILE *file = fopen(path, mode);
  size_t moved = 0;
  if (file) {
    moved = *mode == 'r' ? fread(array, 1, bytes, file) : fwrite(array, 1, bytes, file);
    if (fclose(file)) moved = 0;
  }
  if (moved != bytes) fprintf(stderr, "%s: %zu bytes are required\n", path, bytes);
  return moved == bytes;
}

int main(int count, char **arguments) {
  float *inputs[@UPPER@_INPUTS], *outputs[@UPPER@_OUTPUTS];
  @NAME@_context *context;
  const int files = count > @UPPER@_INPUTS + @UPPER@_OUTPUTS;
  int code = @NAME@_open(&context, NULL, 1);
  for (int i = 0; i < @UPPER@_INPUTS; i++) {
    inputs[i] = calloc(1, input_bytes[i]);
    if (!inputs[i] || (files && !move(arguments[1 + i], "rb", inputs[i], input_bytes[i]))) return 1;
  }
  for (int i = 0; i < @UPPER@_OUTPUTS; i++)
    if (!(outputs[i] = malloc(output_bytes[i]))) return 1;

  if (!code) code = @NAME@_run(context, (const float *const *)inputs, outputs);
  if (code) {
    fprintf(stderr, "@NAME@: code %d\n", code);
    return 1;
  }

  for (int i = 0; i < @UPPER@_OUTPUTS; i++) {
    if (files && !move(arguments[1 + @UPPER@_INPUTS + i], "wb", outputs[i], output_bytes[i])) return 1;
    for (size_t k = 0; !files && k < output_bytes[i] / sizeof(float) && k < 5; k++)
      printf("output %d, number %zu: %g\n", i, k, outputs[i][k]);
    free(outputs[i]);
  }
  for (int i = 0; i < @UPPER@_INPUTS; i++) free(inputs[i]);
  @NAME@_close(context);
  return 0;
}
