/* Borders, and the way between blocks and dense arrays. */
/* Zeros around p x q positions that begin at y; of codes, the one that stands for zero. */
static void border(const Step *s, float *m) {
  const int64_t row = s->y.row, column = s->y.column, size = sizeof(float);
  const int code = (int)s->zero_y;
  EACH(n, s->images) EACH(i, s->blocks) {
    float *y = m + s->y.at + n * s->y.image + i * s->y.plane;
    memset(y - s->top * row - s->left * column, code, size * s->top * row);
    EACH(r, s->rows) {
      memset(y + r * row - s->left * column, code, size * s->left * column);
      memset(y + r * row + s->columns * column, code, size * s->right * column);
    }
    memset(y + s->rows * row - s->left * column, code, size * s->bottom * row);
  }
}

/* Between an array with the strides of z, whose planes are channels, and blocks; unused lanes are
 * left as they are. */
static void pack(const Step *s, float *m, const float *constants, const float *dense) {
  const int32_t *lanes = (const int32_t *)(constants + s->lanes);
  EACH(n, s->images) for (int64_t i = 0, c = 0; i < s->blocks; i++) EACH(l, lanes[i]) {
    const float *x = dense + n * s->z.image + c++ * s->z.plane;
    float *y = m + s->y.at + n * s->y.image + i * s->y.plane + l;
    if (s->y.column == 1 && s->z.column == 1)
      EACH(r, s->rows) memcpy(y + r * s->y.row, x + r * s->z.row, sizeof(float) * s->columns);
    else EACH(r, s->rows) EACH(q, s->columns) y[r * s->y.row + q * s->y.column] = x[r * s->z.row + q * s->z.column];
  }
}
static void unpack(const Step *s, const float *m, const float *constants, float *dense) {
  const int32_t *lanes = (const int32_t *)(constants + s->lanes);
  EACH(n, s->images) for (int64_t i = 0, c = 0; i < s->blocks; i++) EACH(l, lanes[i]) {
    const float *x = m + s->x.at + n * s->x.image + i * s->x.plane + l;
    float *y = dense + n * s->z.image + c++ * s->z.plane;
    EACH(r, s->rows) EACH(q, s->columns) y[r * s->z.row + q * s->z.column] = x[r * s->x.row + q * B];
  }
}
