// Mappings scored LANES at a time: what moves.py, counts.py and scorer.py do, bit for bit.
// Four doubles are a vector that most processors have; wider ones are slower where they have not.
// Counts are integers below 2^53, so the order of their products does not matter; latency and
// energy are summed in the order of scorer.py, without contractions.
#include <math.h>
#include <stdint.h>
#include <string.h>

enum { LANES = 4, MOST_DIMS = 10, MOST_LEVELS = 8, OPERANDS = 3, MOST_AXES = 3, OUTPUT = 2 };
enum { MOST_LOOPS = MOST_DIMS * MOST_LEVELS };

typedef double V __attribute__((vector_size(8 * LANES)));
typedef int64_t M __attribute__((vector_size(8 * LANES)));  // a mask, all ones where true

typedef struct {
  int32_t outputs, taps;
  double stride, dilation;                        // positions
  double step, reduced_stride, reduced_dilation;  // greatest common divisor; without it
} Axis;

typedef struct {
  int64_t plain, relevant;  // bits of the dims
  int32_t axes;
  Axis axis[MOST_AXES];
} Operand;

typedef struct {
  double read_pj, write_pj, block;
  double bandwidth[3];    // reads, writes, both; 0 for no bound
  double capacity;        // of all operands; negative for no bound
  double each[OPERANDS];  // of one; negative for no bound
  double fan_out;
  int64_t spread;         // bits of the dims that the fan-out takes
  uint8_t keep[OPERANDS];
} Level;

typedef struct {
  int32_t dims, levels;
  uint8_t box, same_step, first_fill, exchange;
  double mac_pj;
  Operand operand[OPERANDS];
  Level level[MOST_LEVELS];
} Problem;

typedef struct {
  V s[MOST_LEVELS][MOST_DIMS], inside[MOST_LEVELS + 1][MOST_DIMS];
  V factor[MOST_LOOPS], step[MOST_LOOPS];  // temporal loops, innermost first
  M dim[MOST_LOOPS];
  int loops, start[MOST_LEVELS + 1];
  int64_t spread[MOST_LEVELS];  // bits of the dims that some lane spreads
  V cycles;
  M unlisted;
} Nest;

size_t mlcnn_problem(void) { return sizeof(Problem); }

static inline V all(double x) { return (V){0} + x; }
static inline V pick(M mask, V yes, V no) { return (V)(((M)yes & mask) | ((M)no & ~mask)); }
static inline V larger(V a, V b) { return pick(a > b, a, b); }
static inline V positive(V x) { return pick(x > 0, x, (V){0}); }
static inline V size_without_sign(V x) { return pick(x < 0, -x, x); }
static inline V floors(V x) {
  for (int i = 0; i < LANES; i++) x[i] = floor(x[i]);
  return x;
}
static inline V ceils(V x) {
  for (int i = 0; i < LANES; i++) x[i] = ceil(x[i]);
  return x;
}
static inline int any(M mask) {
  int64_t found = 0;
  for (int i = 0; i < LANES; i++) found |= mask[i];
  return found != 0;
}
static inline M has(int64_t bits, M dim) { return -(((M){0} + bits) >> dim & 1); }

static V size_of(const Axis *a, V outputs, V taps) {
  return outputs * taps -
         positive(outputs - a->reduced_dilation) * positive(taps - a->reduced_stride);
}

static V box_of(const Axis *a, V outputs, V taps) {
  return (outputs - 1) * a->stride + (taps - 1) * a->dilation + 1;
}

static V overlap(V runs, double period, V length, V away) {
  const V whole = positive((runs - 1) * period + length - away);
  if (period == 1) return whole;
  const V count = floors(away / period), rest = away - count * period;
  const V apart = positive(length - rest) * positive(runs - count) +
                  positive(length - (period - rest)) * positive(runs - count - 1);
  return pick(length >= period, whole, apart);
}

// Iterations of a dimension that instances between two levels span; whether they are adjacent and
// whether there is one only.
static V span(const Nest *n, int dim, int above, int level, M *adjacent, M *alone) {
  V result = n->inside[level][dim], product = result;
  int copied = 0;
  for (int m = above; m < level; m++) {
    if (!(n->spread[m] >> dim & 1)) continue;
    const V copies = n->s[m][dim];
    *alone &= copies == 1;
    result += (copies - 1) * n->inside[m + 1][dim];
    product *= copies;
    copied = 1;
  }
  if (copied) *adjacent &= result == product;
  return result;
}

// Words along the axes that slide, of all instances together.
static V measure(const Problem *p, Nest *n, const Operand *o, int above, int level, V *sizes,
                 M *alone) {
  V words = all(1);
  for (int i = 0; i < o->axes; i++) {
    const Axis *a = &o->axis[i];
    M adjacent = (M){0} - 1;
    const V outputs = span(n, a->outputs, above, level, &adjacent, alone);
    const V taps = span(n, a->taps, above, level, &adjacent, alone);
    if (!p->box) n->unlisted |= ~adjacent;
    sizes[i] = p->box ? box_of(a, outputs, taps) : size_of(a, outputs, taps);
    words *= sizes[i];
  }
  return words;
}

static V plain_words(const Problem *p, const Nest *n, const Operand *o, int level) {
  V words = all(1);
  for (int d = 0; d < p->dims; d++)
    if (o->plain >> d & 1) words *= n->inside[level][d];
  return words;
}

static V plain_copies(const Problem *p, const Nest *n, const Operand *o, int above, int level) {
  V copies = all(1);
  for (int m = above; m < level; m++)
    for (int d = 0; d < p->dims; d++)
      if (o->plain & n->spread[m] & (int64_t)1 << d) copies *= n->s[m][d];
  return copies;
}

static V speed(const Axis *a, const Nest *n, int loop) {
  const V outputs = pick(n->dim[loop] == a->outputs, all(a->stride), (V){0});
  const V taps = pick(n->dim[loop] == a->taps, all(a->dilation), (V){0});
  return (outputs + taps) * n->step[loop];
}

static V stays_exact(const Nest *n, const Operand *o, int level, V words, const V *distance) {
  for (int i = 0; i < o->axes; i++) {
    const Axis *a = &o->axis[i];
    V away = size_without_sign(distance[i]);
    if (a->step != 1) away /= a->step;
    const V outputs = n->inside[level][a->outputs], taps = n->inside[level][a->taps];
    words *= a->reduced_dilation == 1 ? overlap(outputs, a->reduced_stride, taps, away)
                                      : overlap(taps, a->reduced_dilation, outputs, away);
  }
  return words;
}

static int has_no_form(const Operand *o) {
  for (int i = 0; i < o->axes; i++)
    if (o->axis[i].reduced_stride != 1 && o->axis[i].reduced_dilation != 1) return 1;
  return 0;
}

static V sliding(const Problem *p, Nest *n, const Operand *o, int above, int level, V plain,
                 M *alone) {
  V sizes[MOST_AXES], before[MOST_AXES], first[MOST_AXES], distance[MOST_AXES];
  const V whole = plain * measure(p, n, o, above, level, sizes, alone);
  V outside = all(1);
  memset(before, 0, sizeof before);
  memset(first, 0, sizeof first);
  for (int k = n->start[level]; k < n->loops; k++) outside *= n->factor[k];
  V result = whole * outside;
  const M listed = has_no_form(o) ? (M){0} - 1 : ~*alone;
  M lost = {0}, begun = {0};
  for (int k = n->start[level]; k < n->loops; k++) {
    const V factor = n->factor[k];
    const M active = factor > 1;
    outside /= factor;
    lost |= active & has(o->plain, n->dim[k]);
    if (!any(~lost)) break;
    M stay = active & ~lost;
    if (any(stay)) {
      V stays = plain;
      for (int i = 0; i < o->axes; i++) {
        const V v = speed(&o->axis[i], n, k);
        distance[i] = v - before[i];
        before[i] += p->same_step ? pick(active, v, (V){0}) : (factor - 1) * v;
        if (p->same_step) {
          first[i] = pick(active & ~begun, v, first[i]);
          stay &= distance[i] == first[i];
        }
        if (p->box) stays *= positive(sizes[i] - size_without_sign(distance[i]));
      }
      if (!p->box) {
        n->unlisted |= stay & listed;
        stays = stays_exact(n, o, level, plain, distance);
      }
      result -= pick(stay, (factor - 1) * outside * stays, (V){0});
    }
    begun |= active;
  }
  return result;
}

static void taken(const Problem *p, Nest *n, const Operand *o, int above, int level, V *each,
                  V *together) {
  const V plain = plain_words(p, n, o, level);
  const V copies = plain_copies(p, n, o, above, level);
  if (!o->axes) {
    V times = all(1);
    M moved = {0};
    for (int k = n->start[level]; k < n->loops; k++) {
      moved |= has(o->relevant, n->dim[k]) & (n->factor[k] > 1);
      times *= pick(moved, n->factor[k], all(1));
    }
    *each = plain * times;
    *together = *each * copies;
    return;
  }
  M one = (M){0} - 1, alone = one, adjacent = one;
  *each = sliding(p, n, o, level, level, plain, &one);
  for (int i = 0; i < o->axes; i++) {
    span(n, o->axis[i].outputs, above, level, &adjacent, &alone);
    span(n, o->axis[i].taps, above, level, &adjacent, &alone);
  }
  *together = *each * copies;
  if (any(~alone)) *together = sliding(p, n, o, above, level, plain * copies, &alone);
}

// Outputs that one instance of a level ever sees.
static V seen(const Problem *p, const Nest *n, const Operand *o, int level) {
  V words = all(1);
  for (int d = 0; d < p->dims; d++)
    if (o->plain >> d & 1) {
      words *= n->inside[0][d];
      for (int m = 0; m < level; m++)
        if (n->spread[m] >> d & 1) words /= n->s[m][d];
    }
  return words;
}

// Some columns of a row; behind the last one it stands again.
#define ROW_OF(name, Vector, Number)                                                        \
  static Vector name(const Number *row, int64_t many, int64_t column) {                     \
    Vector result;                                                                          \
    if (column + LANES <= many) {                                                           \
      memcpy(&result, row + column, sizeof result);                                         \
      return result;                                                                        \
    }                                                                                       \
    for (int i = 0; i < LANES; i++) result[i] = row[column + i < many ? column + i : many - 1]; \
    return result;                                                                          \
  }
ROW_OF(row_of, V, double)
ROW_OF(order_of, M, int64_t)

// Of each lane the row that ``dim`` says, built in registers: stores of lanes stall the next load.
static inline V gather(const V *rows, M dim) {
  _Static_assert(LANES == 4, "one element for each lane");
  const double *lanes = (const double *)rows;
  return (V){lanes[dim[0] * LANES], lanes[dim[1] * LANES + 1], lanes[dim[2] * LANES + 2],
             lanes[dim[3] * LANES + 3]};
}

static void read_nest(const Problem *p, Nest *n, const double *t, const double *s,
                      const int64_t *order, int64_t many, int64_t column) {
  V inner[MOST_DIMS], factors[MOST_DIMS];
  n->loops = 0;
  n->cycles = all(1);
  n->unlisted = (M){0};
  for (int d = 0; d < p->dims; d++) inner[d] = n->inside[p->levels][d] = all(1);
  for (int m = p->levels - 1; m >= 0; m--) {
    const int64_t row = (int64_t)m * p->dims;
    M some = {0};
    n->start[m + 1] = n->loops;
    n->spread[m] = 0;
    for (int d = 0; d < p->dims; d++) {
      factors[d] = row_of(t + (row + d) * many, many, column);
      n->s[m][d] = row_of(s + (row + d) * many, many, column);
      n->spread[m] |= (int64_t)any(n->s[m][d] != 1) << d;
      some |= factors[d] != 1;
      inner[d] *= n->s[m][d];
    }
    const int loops = any(some) ? p->dims : 0;
    for (int i = loops - 1; i >= 0; i--) {
      const int k = n->loops;
      n->dim[k] = order_of(order + (row + i) * many, many, column);
      n->factor[k] = gather(factors, n->dim[k]);
      n->step[k] = gather(inner, n->dim[k]);
      n->cycles *= n->factor[k];
      n->loops += any(n->factor[k] > 1);
    }
    for (int d = 0; d < p->dims; d++) n->inside[m][d] = inner[d] *= factors[d];
  }
  n->start[0] = n->loops;
}

typedef V Words[MOST_LEVELS][OPERANDS];

static void count(const Problem *p, Nest *n, Words reads, Words fills, Words updates) {
  for (int j = 0; j < OPERANDS; j++) {
    const Operand *o = &p->operand[j];
    int above = 0;
    for (int level = 1; level <= p->levels; level++) {
      if (level < p->levels && !p->level[level].keep[j]) continue;
      if (level == p->levels && p->exchange) continue;
      V words, each, sizes[MOST_AXES];
      if (level < p->levels) {
        taken(p, n, o, above, level, &each, &words);
        if (j == OUTPUT && !p->first_fill) each -= seen(p, n, o, level);
        fills[level][j] = each;
      } else {
        M alone = {0};
        words = n->cycles * plain_copies(p, n, o, above, level);
        words *= measure(p, n, o, above, level, sizes, &alone);
      }
      reads[above][j] = words;
      if (j == OUTPUT) {
        updates[above][j] = words;
        reads[above][j] = words - seen(p, n, o, above);
      }
      above = level;
    }
  }
}

static V latency(const Problem *p, const Nest *n, Words reads, Words fills, Words updates) {
  V result = p->exchange ? (V){0} : n->cycles;
  for (int m = 0; m < p->levels; m++) {
    const double *bound = p->level[m].bandwidth;
    if (!bound[0] && !bound[1] && !bound[2]) continue;
    V r = {0}, w = {0};
    for (int j = 0; j < OPERANDS; j++) {
      if (!p->level[m].keep[j]) continue;  // nothing is added
      r = r + reads[m][j] / n->cycles;
      w = w + (updates[m][j] + fills[m][j]) / n->cycles;
    }
    const V needed[3] = {r, w, w + r};
    for (int i = 0; i < 3; i++)
      if (p->exchange && bound[i]) {
        result = larger(ceils(needed[i] * n->cycles / bound[i] * (1 - 1e-12)), result);
      } else if (bound[i] && any(needed[i] > bound[i])) {
        const V slowed = ceils(n->cycles / (all(bound[i]) / needed[i]));
        result = pick(needed[i] > bound[i], larger(slowed, result), result);
      }
  }
  return result;
}

static V blocks(double block, V words) {
  return block == 1 ? words : ceils(words / block) * block;
}

static V energy(const Problem *p, const Nest *n, Words reads, Words fills, Words updates,
                V *largest) {
  V copies = all(1), fan[MOST_LEVELS];
  for (int m = 0; m < p->levels; m++) {
    fan[m] = copies;
    for (int d = 0; d < p->dims; d++)
      if (n->spread[m] >> d & 1) copies *= n->s[m][d];
  }
  const V macs = n->cycles * copies;
  V result = p->exchange ? (V){0} : macs * p->mac_pj;
  *largest = larger(macs, *largest);
  for (int m = 0; m < p->levels; m++) {
    const Level *level = &p->level[m];
    V read = {0}, written = {0};
    for (int j = 0; j < OPERANDS; j++) {
      if (!level->keep[j]) continue;
      read = read + blocks(level->block, reads[m][j]);
      written = written + blocks(level->block, fills[m][j]);
      written = written + blocks(level->block, updates[m][j]);
      *largest = larger(larger(reads[m][j], updates[m][j]), larger(fills[m][j], *largest));
    }
    const V one = read * level->read_pj + written * level->write_pj;
    result = result + one * fan[m];
  }
  return result;
}

static M fits(const Problem *p, Nest *n) {
  M result = (M){0} - 1;
  for (int m = 0; m < p->levels; m++) {
    const Level *level = &p->level[m];
    V total = {0}, copies = all(1), sizes[MOST_AXES];
    for (int j = 0; j < OPERANDS; j++) {
      if (!level->keep[j] || (level->each[j] < 0 && level->capacity < 0)) continue;
      M alone = {0};
      const V words = plain_words(p, n, &p->operand[j], m) *
                      measure(p, n, &p->operand[j], m, m, sizes, &alone);
      if (level->each[j] >= 0) result &= words <= level->each[j];
      total += words;
    }
    if (level->capacity >= 0) result &= total <= level->capacity;
    for (int d = 0; d < p->dims; d++)
      if (n->spread[m] >> d & 1) {
        copies *= n->s[m][d];
        if (!(level->spread >> d & 1)) result &= n->s[m][d] == 1;
      }
    result &= copies <= level->fan_out;
  }
  return result;
}

// Scores ``many`` mappings; arrays as Batch has them. Returns the largest count. ``unlisted`` marks
// what needs positions listed, whose score is left to numpy.
double mlcnn_score(const Problem *p, const double *t, const double *s, const int64_t *order,
                   int64_t many, double *cycles, double *pj, uint8_t *fitting, uint8_t *unlisted) {
  V largest = {0};
  Words reads, fills, updates;
  memset(reads, 0, sizeof reads);
  memset(fills, 0, sizeof fills);
  memset(updates, 0, sizeof updates);
  for (int64_t column = 0; column < many; column += LANES) {
    Nest n;
    read_nest(p, &n, t, s, order, many, column);
    const M fit = fits(p, &n);
    count(p, &n, reads, fills, updates);
    const V slowest = latency(p, &n, reads, fills, updates);
    const V total = energy(p, &n, reads, fills, updates, &largest);
    for (int64_t i = 0; i < LANES && column + i < many; i++) {
      fitting[column + i] = fit[i] != 0;
      cycles[column + i] = slowest[i];
      pj[column + i] = total[i];
      unlisted[column + i] = n.unlisted[i] != 0;
    }
  }
  double most = 0;
  for (int i = 0; i < LANES; i++)
    if (!(largest[i] <= most)) most = largest[i];
  return most;
}
