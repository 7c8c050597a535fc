/* Comparisons of two taps of each channel, as codes 0 and 1: result p C + c is pattern p of channel c,
 * so that its blocks are those of the input, once for each pattern. Windows that reach beyond an image
 * see its edges repeated. A block has an entry for each two taps that some of its lanes compare: rows
 * and columns of both in the window, then a byte 1 for each of those lanes. */
#define ENTRY (4 + B / 4) /* words of 32 bits */

INLINE int64_t inside(int64_t at, int64_t size) { return at < 0 ? 0 : at < size ? at : size - 1; }
/* The first result whose tap, so far from the image's first column, is in it or right of that. */
INLINE int64_t first_from(int64_t tap, int64_t stride) { return tap >= 0 ? 0 : (stride - 1 - tap) / stride; }

/* What a row compares: rows of both taps, and their columns for the first result. */
typedef struct {
  const char *first, *second;
  int64_t first_column, second_column;
  Bytes lanes; /* 1 of those that compare these taps */
  int more;    /* whether other lanes are there already */
} ComparedRow;

INLINE Bytes greater_codes(const char *a, const char *b) { return (Bytes)(*(const Bytes *)a > *(const Bytes *)b); }
/* NaN is greater than nothing, and nothing is greater than it. */
INLINE Bytes greater_floats(const char *a, const char *b) {
  return __builtin_convertvector(*(const V *)a > *(const V *)b, Bytes);
}
INLINE void put_bits(const ComparedRow *c, char *y, Bytes bits) {
  bits &= c->lanes;
  if (c->more) bits |= *(Bytes *)y;
  *(Bytes *)y = bits;
}
/* A position whose taps may lie beyond the image. */
INLINE void compare_at_edge(const int FLOATS, const Step *s, const ComparedRow *c, char *y, int64_t q) {
  const int64_t at = q * s->stride_columns, step = 4 * s->x.column;
  const char *a = c->first + inside(at + c->first_column, s->input_columns) * step;
  const char *b = c->second + inside(at + c->second_column, s->input_columns) * step;
  put_bits(c, y + q * B, FLOATS ? greater_floats(a, b) : greater_codes(a, b));
}
INLINE void compare_row(const int FLOATS, const Step *s, const ComparedRow *c, char *y) {
  const int64_t stride = s->stride_columns, step = 4 * s->x.column;
  const int64_t left = c->first_column < c->second_column ? c->first_column : c->second_column;
  const int64_t right = c->first_column < c->second_column ? c->second_column : c->first_column;
  const int64_t begin = least(first_from(left, stride), s->columns);
  const int64_t room = s->input_columns - 1 - right; /* of the last result whose taps are inside */
  const int64_t end = room < 0 ? begin : least(s->columns, room / stride + 1);
  const char *a = c->first + c->first_column * step, *b = c->second + c->second_column * step;
  int64_t q = 0;
  for (; q < begin; q++) compare_at_edge(FLOATS, s, c, y, q);
  if (!FLOATS && stride == 1) {
    Wide lanes;
    UNROLL for (int t = 0; t < 4; t++) memcpy((char *)&lanes + t * B, &c->lanes, B);
    for (; q + 4 <= end; q += 4) {
      Wide bits = (Wide)(*(const Wide *)(a + q * step) > *(const Wide *)(b + q * step)) & lanes;
      if (c->more) bits |= *(Wide *)(y + q * B);
      *(Wide *)(y + q * B) = bits;
    }
  }
  for (; q < end; q++) {
    const int64_t at = q * stride * step;
    put_bits(c, y + q * B, FLOATS ? greater_floats(a + at, b + at) : greater_codes(a + at, b + at));
  }
  for (; q < s->columns; q++) compare_at_edge(FLOATS, s, c, y, q);
}

/* A block of results, of block i of the input. */
static void compare_block(const Step *s, const char *x, char *y, const int32_t *entry, int64_t count) {
  EACH(e, count) {
    EACH(r, s->rows) {
      const int64_t at = r * s->stride_rows - s->top, row = 4 * s->x.row;
      ComparedRow c = {x + inside(at + entry[0], s->input_rows) * row, x + inside(at + entry[2], s->input_rows) * row,
                       entry[1] - s->left, entry[3] - s->left, {}, e > 0};
      memcpy(&c.lanes, entry + 4, B);
      if (s->mode) compare_row(1, s, &c, y + 4 * r * s->y.row);
      else compare_row(0, s, &c, y + 4 * r * s->y.row);
    }
    entry += ENTRY;
  }
}
static void compare(const Step *s, float *m, const float *constants, int threads) {
  const int32_t *starts = (const int32_t *)(constants + s->starts), *entries = (const int32_t *)(constants + s->entries);
  (void)threads;
  OMP(parallel for collapse(2) num_threads(threads) if (threads > 1))
  for (int64_t n = 0; n < s->images; n++)
    for (int64_t i = 0; i < s->filters; i++)
      compare_block(s, AT(s, x, n) + 4 * (i % s->blocks) * s->x.plane, AT(s, y, n) + 4 * i * s->y.plane,
                    entries + starts[i] * ENTRY, starts[i + 1] - starts[i]);
}
