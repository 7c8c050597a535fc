/* What decides which steps run, and for which images. */
enum { OF_MAX, OF_MIN, OF_SUM, OF_SOFTMAX };
enum { TAKEN, PUT_BACK };
typedef int32_t Number __attribute__((may_alias));

INLINE float reduced_pair(const int64_t mode, float a, float x) {
  if (mode == OF_MAX || mode == OF_SOFTMAX) return x > a || x != x ? x : a;
  if (mode == OF_MIN) return x < a || x != x ? x : a;
  return a + x;
}

/* The channels of one position, to one number or to shares of 1. */
static void reduce_position(const Step *s, const int32_t *lanes, const float *x, float *y) {
  float a = s->mode == OF_SUM ? 0 : x[0];
  EACH(i, s->blocks) EACH(l, lanes[i]) a = reduced_pair(s->mode, a, x[i * s->x.plane + l]);
  if (s->mode != OF_SOFTMAX) {
    *y = a;
    return;
  }
  double sum = 0;
  EACH(i, s->blocks) EACH(l, lanes[i]) sum += y[i * s->y.plane + l] = expf(x[i * s->x.plane + l] - a);
  EACH(i, s->blocks) EACH(l, lanes[i]) y[i * s->y.plane + l] = (float)(y[i * s->y.plane + l] / sum);
}
static void reduce(const Step *s, float *m, const float *constants) {
  const int32_t *lanes = (const int32_t *)(constants + s->lanes);
  EACH(n, s->images) EACH(r, s->rows) EACH(q, s->columns)
    reduce_position(s, lanes, m + s->x.at + n * s->x.image + r * s->x.row + q * s->x.column,
                    m + s->y.at + n * s->y.image + r * s->y.row + q * s->y.column);
}
/* Number by number, all images to one. */
static void reduce_images(const Step *s, float *m, const float *constants) {
  const int32_t *lanes = (const int32_t *)(constants + s->lanes);
  EACH(i, s->blocks) EACH(r, s->rows) EACH(q, s->columns) EACH(l, lanes[i]) {
    const float *x = m + s->x.at + i * s->x.plane + r * s->x.row + q * s->x.column + l;
    float a = x[0];
    for (int64_t n = 1; n < s->images; n++) a = reduced_pair(s->mode, a, x[n * s->x.image]);
    m[s->y.at + i * s->y.plane + r * s->y.row + q * s->y.column + l] = a;
  }
}

/* Lists the images whose number is not zero; returns how many they are. */
static int64_t list_images(const Step *s, float *m) {
  Number *list = (Number *)(m + s->y.at);
  int64_t count = 0;
  EACH(n, s->images) if (m[s->x.at + n * s->x.image] != 0) list[count++] = (int32_t)n;
  return count;
}
/* The images of a list side by side, or from there back to their places. */
static void move_images(const Step *s, float *m) {
  const Number *list = (const Number *)(m + s->z.at);
  EACH(k, s->images) {
    const int64_t from = s->mode == TAKEN ? list[k] : k, to = s->mode == TAKEN ? k : list[k];
    EACH(i, s->blocks) EACH(r, s->rows)
      copy_floats(m + s->y.at + to * s->y.image + i * s->y.plane + r * s->y.row,
                  m + s->x.at + from * s->x.image + i * s->x.plane + r * s->x.row, s->columns * s->y.column);
  }
}

/* A step, and those behind it that it runs with, for so many of the images that were planned for. */
static void for_images(const Step *s, int64_t images, Step *some) {
  const int64_t together = s->op == MIX ? 3 : s->op == POOL && s->paired ? 2 : 1;
  EACH(t, together) {
    some[t] = s[t];
    if (s[t].each) some[t].images = s[t].each * images;
  }
}
