/* One call of a kernel, as ``library.py`` writes it. */
enum { CONV, DEPTHWISE, POOL, MAP, BINARY, BORDER, PACK, UNPACK, WINOGRAD,
       CODES_CONV, CODES_POOL, QUANTISE, DEQUANTISE, RECODE, SUMS, ROWS, MIX, SPARSE, LIST, KEEP, MAPS,
       REDUCE, REDUCE_IMAGES, WHEN, IMAGES, MOVE_IMAGES, END, BITS, TABLE, SELECT, ROUND, CODES_DEPTHWISE,
       COMPARE, COMPARE_AND_ADD };
enum { CLIP, LEAKY, SIGMOID, TANH, SILU, HARD_SWISH, GELU, ELU, EXP, ERF, SQRT, ABS };
enum { ADD, SUB, MUL, DIV, MAX, MIN, LESS, AT_MOST, EQUAL, AT_LEAST, UNEQUAL };
enum { TO_CODES, SHIFTED_TO_CODES, TO_FLOATS };
enum { POOL_MAX, POOL_AVERAGE, POOL_AVERAGE_PADDED };

typedef struct {
  int64_t at, image, plane, row, column; /* offset and strides in floats */
} Place;

typedef struct {
  int64_t op, mode, images, blocks, filters; /* filters: blocks of them */
  Place x, y, z, scratch, mask, rounded;     /* z: a second input, rounded: codes of y; at < 0 where there is none */
  int64_t weights, biases, lanes, zeros;     /* offsets of constants; lanes in use, per block */
  int64_t kernel_rows, kernel_columns, stride_rows, stride_columns, dilation_rows, dilation_columns;
  int64_t input_rows, input_columns, top, left, bottom, right, rows, columns;
  int64_t chunk, bunch, across, buffer, paired;
  /* A convolution in groups: floats of the weights of one, and floats of the input that are spread
   * over a vector together: the groups (of a pair) take its lanes in turn. */
  int64_t groups, group_weights, together;
  /* Of weights that are mostly zero: positions from row to row, kernels that filters share, channels
   * of the result, and offsets of constants. */
  int64_t pitch, bases, outputs, basis, starts, entries;
  int64_t least; /* kept positions of a tile of a focused layer that is computed by a transform; or 0 */
  int64_t each, until; /* images for each that goes on, 0 of what is not of images; steps to END */
  int64_t function; /* of what is written; CLIP, the first of them, where there is none */
  /* Of codes: offset of the factors per filter, and zero points of x, y and z. */
  int64_t scales, zero, zero_y, zero_z;
  int64_t finish, shifts; /* of a sum of codes, and offset of what is added to it */
  /* Of codes with few bits; see bits.h: least of them, and greatest above it. */
  int64_t weight_bits, input_bits, base, high_code, factor, offset;
  float low, high, alpha;
  float ratio, ratio_z, low_y, high_y; /* of x and z to y, and its bounds without its zero point */
} Step;
