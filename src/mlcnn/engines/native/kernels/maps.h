/* Maps: one number a position, in rows side by side, of which masks are made. */
enum { MAP_FLAGS, MAP_FILL, MAP_SUM, MAP_APART, MAP_PAIR, MAP_REDUCE, MAP_MAX_POOL, MAP_MEAN_POOL, MAP_PLACE, MAP_SQRT };
enum { REDUCE_MAX, REDUCE_MEAN, REDUCE_SUM };

INLINE void store_up_to(float *y, V v, int64_t lanes) {
  if (lanes >= B) *(U *)y = v;
  else store_first(y, v, lanes);
}

INLINE V roots(V x) {
#if B == 16
  return (V)_mm512_sqrt_ps((__m512)x);
#elif B == 8
  return (V)_mm256_sqrt_ps((__m256)x);
#else
  return each(sqrtf, x);
#endif
}

/* Each channel's mean over the positions that `weights` names. */
static void channel_means(const Step *s, const float *x, const float *weights, float *means) {
  EACH(i, s->blocks) {
    V sum = {};
    const float *w = weights;
    EACH(r, s->rows) EACH(q, s->columns) sum += *w++ * *(V *)(x + i * s->x.plane + r * s->x.row + q * B);
    *(V *)(means + i * B) = sum;
  }
}
/* The sum of all channels, or the distance of all together from `means`. */
INLINE void over_channels(const int apart, const Step *s, const float *x, const float *means, const int32_t *lanes,
                          float *y) {
  M lane;
  EACH(l, B) lane[l] = (int32_t)l;
  EACH(r, s->rows) for (int64_t q = 0; q < s->columns; q += B) {
    const int64_t count = s->columns - q < B ? s->columns - q : B;
    V sums[B];
    UNROLL for (int t = 0; t < B; t++) sums[t] = (V){};
    EACH(i, s->blocks) {
      const M used = lane < (M){} + lanes[i];
      const V mean = apart ? *(V *)(means + i * B) : (V){};
      const float *from = x + i * s->x.plane + r * s->x.row + q * B;
      EACH(t, count) {
        const V v = pick(used, *(V *)(from + t * B) - mean, (V){});
        if (apart) sums[t] += v * v;
        else sums[t] += v;
      }
    }
    transpose(sums);
    V all = {};
    UNROLL for (int t = 0; t < B; t++) all += sums[t];
    store_up_to(y + r * s->y.row + q, apart ? roots(all) : all, count);
  }
}

/* Number by number; an operand of one number for a whole image has row 0. */
static void map_pair(const Step *s, const float *x, const float *z, float *y, int64_t count) {
  for (int64_t p = 0; p < count; p += B) {
    const V a = s->x.column ? *(U *)(x + p) : spread(*x);
    const V b = !z ? spread(s->alpha) : s->z.column ? *(U *)(z + p) : spread(*z);
    V v;
    if (s->function == AT_LEAST) v = pick(a >= b, spread(1), (V){});
    else if (s->function == UNEQUAL) v = pick(a != b, spread(1), (V){});
    else v = s->zero ? combine(s->function, b, a) : combine(s->function, a, b);
    store_up_to(y + p, v, count - p);
  }
}
static float reduced(const Step *s, const float *x, int64_t count) {
  float all = s->function == REDUCE_MAX ? -INFINITY : 0;
  EACH(p, count) all = s->function == REDUCE_MAX ? (x[p] > all ? x[p] : all) : all + x[p];
  return s->function == REDUCE_MEAN ? all / (float)count : all;
}

/* A pool: down the rows of the window first, then across. */
static void map_pool(const Step *s, const float *x, float *y, float *line) {
  const int mode = s->mode == MAP_MAX_POOL ? POOL_MAX : POOL_AVERAGE, one = s->stride_columns == 1;
  const int64_t wide = s->left + s->input_columns + s->right;
  EACH(r, s->rows) {
    int64_t lines = 0;
    EACH(p, wide + B) line[p] = mode == POOL_MAX ? -INFINITY : 0;
    EACH(h, s->kernel_rows) {
      const int64_t i = r * s->stride_rows - s->top + h * s->dilation_rows;
      if (i < 0 || i >= s->input_rows) continue;
      lines++;
      for (int64_t p = 0; p < s->input_columns; p += B) {
        float *at = line + s->left + p;
        store_up_to(at, either(mode, *(U *)at, *(U *)(x + i * s->x.row + p)), s->input_columns - p);
      }
    }
    if (s->paired) lines = s->kernel_rows; /* zeros around the image count */
    for (int64_t q = 0; q < s->columns; q += one ? B : 1) {
      V v = *(U *)(line + q * s->stride_columns);
      for (int64_t k = 1; k < s->kernel_columns; k++)
        v = either(mode, v, *(U *)(line + q * s->stride_columns + k * s->dilation_columns));
      if (one) store_up_to(y + r * s->y.row + q, v, s->columns - q);
      else y[r * s->y.row + q] = v[0];
    }
    if (mode != POOL_MAX) EACH(q, s->columns) {
      int64_t columns = s->kernel_columns;
      if (!s->paired) EACH(k, s->kernel_columns) {
        const int64_t j = q * s->stride_columns - s->left + k * s->dilation_columns;
        columns -= j < 0 || j >= s->input_columns;
      }
      y[r * s->y.row + q] /= (float)(lines * columns);
    }
  }
}

/* `buffer` holds the network's flags, a byte each. */
static void maps(const Step *s, float *m, const float *constants, const float *buffer) {
  const int64_t count = s->rows * s->columns;
  float *scratch = m + s->scratch.at;
  EACH(n, s->images) {
    const float *x = m + s->x.at + n * s->x.image, *z = s->z.at < 0 ? 0 : m + s->z.at + n * s->z.image;
    float *y = m + s->y.at + n * s->y.image;
    switch (s->mode) {
      case MAP_FLAGS: EACH(p, count) y[p] = ((const uint8_t *)buffer)[n * count + p] != 0; break;
      case MAP_FILL: memcpy(y, constants + s->weights + n * count, sizeof(float) * count); break;
      case MAP_SUM: over_channels(0, s, x, scratch, (const int32_t *)(constants + s->lanes), y); break;
      case MAP_APART:
        channel_means(s, x, constants + s->weights, scratch);
        over_channels(1, s, x, scratch, (const int32_t *)(constants + s->lanes), y);
        break;
      case MAP_PAIR: map_pair(s, x, z, y, count); break;
      case MAP_SQRT: for (int64_t p = 0; p < count; p += B) store_up_to(y + p, roots(*(U *)(x + p)), count - p); break;
      case MAP_REDUCE: *y = reduced(s, x, s->input_rows * s->input_columns); break;
      case MAP_MAX_POOL:
      case MAP_MEAN_POOL: map_pool(s, x, y, scratch); break;
      case MAP_PLACE: /* rows and columns of x, apart in zeros */
        EACH(p, s->input_rows * s->input_columns) y[p] = 0;
        y += s->top * s->y.row + s->left;
        EACH(r, s->rows) EACH(q, s->columns) y[r * s->y.row * s->stride_rows + q * s->stride_columns] = x[r * s->x.row + q];
        break;
    }
  }
}
