/* What the machine can do: multiply-adds in registers, and reading from memory. */

#define CHAINS 10 /* sums at a time: more than a multiply-add takes cycles */
static void multiply(int64_t rounds, float *sink) {
  V sums[CHAINS], one = spread(0.999f), some = spread(1e-3f);
  UNROLL for (int c = 0; c < CHAINS; c++) sums[c] = spread((float)c);
  IN_REGISTER(one);
  IN_REGISTER(some);
  EACH(i, rounds) UNROLL for (int c = 0; c < CHAINS; c++) {
    sums[c] = sums[c] * one + some;
    IN_REGISTER(sums[c]);
  }
  V all = {};
  UNROLL for (int c = 0; c < CHAINS; c++) all += sums[c];
  *sink = all[0];
}

static void stream(const float *from, int64_t floats, float *sink) {
  V sums[STREAMS] = {};
  const int64_t part = floats / STREAMS / B * B;
  for (int64_t i = 0; i < part; i += B)
    UNROLL for (int c = 0; c < STREAMS; c++) sums[c] += *(V *)(from + c * part + i);
  V all = {};
  UNROLL for (int c = 0; c < STREAMS; c++) all += sums[c];
  *sink = all[0];
}

/* Multiply-adds of so many rounds. */
int64_t mlcnn_multiply(int64_t rounds, float *sink) {
  multiply(rounds, sink);
  return rounds * CHAINS * B;
}
void mlcnn_read(const float *from, int64_t floats, float *sink) { stream(from, floats, sink); }

/* What convolutions of few bits are made of, in registers: products of bits that are counted, and sums
 * of bytes that shuffles look up. */
#if defined(__AVX512F__)
#define CHAINS_OF_WORDS 8
#else
#define CHAINS_OF_WORDS 2 /* of two registers each */
#endif
int64_t mlcnn_count_bits(int64_t rounds, float *sink) {
  Words sums[CHAINS_OF_WORDS] = {}, weights[CHAINS_OF_WORDS], x = (Words){} + 0x0123456789abcdefu;
  UNROLL for (int c = 0; c < CHAINS_OF_WORDS; c++) weights[c] = x >> c;
  EACH(i, rounds) UNROLL for (int c = 0; c < CHAINS_OF_WORDS; c++) {
#if defined(__AVX512F__)
    IN_REGISTER(weights[c]);
#else
    __asm__("" : "+m"(weights[c])); /* as a tile reads them */
#endif
    const Words both = weights[c] & x;
    add_ones(&sums[c], &both);
  }
  Words all = {};
  UNROLL for (int c = 0; c < CHAINS_OF_WORDS; c++) all += sums[c];
  *sink = (float)all[0];
  return rounds * CHAINS_OF_WORDS * 64 * LANES_OF_WORDS;
}
int64_t mlcnn_look_up(int64_t rounds, float *sink) {
#if TABLES
  Built sums[CHAINS] = {}, table = spread_channels(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
  EACH(i, rounds) {
    Built index = sums[i % 2];
    IN_REGISTER(index);
    UNROLL for (int c = 0; c < CHAINS; c++) {
      IN_REGISTER(table);
      sums[c] = sum_of(sums[c], picked(table, index));
    }
  }
  Built all = sums[0];
  UNROLL for (int c = 1; c < CHAINS; c++) all = sum_of(all, sums[c]);
  *sink = (float)((uint8_t *)&all)[0];
  return rounds * CHAINS * (int64_t)sizeof(Built);
#else
  *sink = 0;
  return 0 * rounds;
#endif
}
