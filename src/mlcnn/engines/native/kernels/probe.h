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
