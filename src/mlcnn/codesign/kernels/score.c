// Mappings scored one by one: what moves.py, counts.py and scorer.py do, bit for bit.
// Counts are integers below 2^53, so the order of their products does not matter; latency and
// energy are summed in the order of scorer.py, without contractions.
#include <math.h>
#include <stdint.h>
#include <string.h>

enum { MOST_DIMS = 10, MOST_LEVELS = 8, OPERANDS = 3, MOST_AXES = 3, OUTPUT = 2 };
enum { MOST_LOOPS = MOST_DIMS * MOST_LEVELS };

typedef struct {
  int32_t outputs, taps;
  double stride, dilation;                  // positions
  double step, reduced_stride, reduced_dilation;  // greatest common divisor; without it
} Axis;

typedef struct {
  uint8_t plain[MOST_DIMS], relevant[MOST_DIMS];
  int32_t axes;
  Axis axis[MOST_AXES];
} Operand;

typedef struct {
  double read_pj, write_pj, block;
  double bandwidth[3];         // reads, writes, both; 0 for no bound
  double capacity;             // of all operands; negative for no bound
  double each[OPERANDS];       // of one; negative for no bound
  double fan_out;
  uint8_t keep[OPERANDS], spread[MOST_DIMS];  // spread: dims that the fan-out takes
} Level;

typedef struct {
  int32_t dims, levels;
  uint8_t box, same_step, first_fill;
  double mac_pj;
  Operand operand[OPERANDS];
  Level level[MOST_LEVELS];
} Problem;

typedef struct {
  double t[MOST_LEVELS + 1][MOST_DIMS], s[MOST_LEVELS + 1][MOST_DIMS];
  double inside[MOST_LEVELS + 1][MOST_DIMS];
  double factor[MOST_LOOPS], step[MOST_LOOPS];  // loops of two and more, innermost first
  int dim[MOST_LOOPS], loops, start[MOST_LEVELS + 1];
  double cycles, unlisted;
} Nest;

size_t mlcnn_problem(void) { return sizeof(Problem); }

static double positive(double x) { return x > 0 ? x : 0; }

static double size_of(const Axis *a, double outputs, double taps) {
  return outputs * taps -
         positive(outputs - a->reduced_dilation) * positive(taps - a->reduced_stride);
}

static double box_of(const Axis *a, double outputs, double taps) {
  return (outputs - 1) * a->stride + (taps - 1) * a->dilation + 1;
}

static double overlap(double runs, double period, double length, double away) {
  if (period == 1 || length >= period) return positive((runs - 1) * period + length - away);
  const double count = floor(away / period), rest = away - count * period;
  return positive(length - rest) * positive(runs - count) +
         positive(length - (period - rest)) * positive(runs - count - 1);
}

// Iterations of a dimension that instances between two levels span; whether they are adjacent and
// whether there is one only.
static double span(const Nest *n, int dim, int above, int level, int *adjacent, int *alone) {
  double result = n->inside[level][dim], product = result;
  for (int m = above; m < level; m++) {
    const double copies = n->s[m][dim];
    if (copies > 1) {
      *alone = 0;
      result += (copies - 1) * n->inside[m + 1][dim];
      product *= copies;
    }
  }
  *adjacent &= result == product;
  return result;
}

// Words along the axes that slide, of all instances together.
static double measure(const Problem *p, Nest *n, const Operand *o, int above, int level,
                      double *sizes, int *alone) {
  double words = 1;
  for (int i = 0; i < o->axes; i++) {
    const Axis *a = &o->axis[i];
    int adjacent = 1;
    const double outputs = span(n, a->outputs, above, level, &adjacent, alone);
    const double taps = span(n, a->taps, above, level, &adjacent, alone);
    if (!p->box && !adjacent) n->unlisted = 1;
    sizes[i] = p->box ? box_of(a, outputs, taps) : size_of(a, outputs, taps);
    words *= sizes[i];
  }
  return words;
}

static double plain_words(const Problem *p, const Nest *n, const Operand *o, int level) {
  double words = 1;
  for (int d = 0; d < p->dims; d++)
    if (o->plain[d]) words *= n->inside[level][d];
  return words;
}

static double plain_copies(const Problem *p, const Nest *n, const Operand *o, int above, int level) {
  double copies = 1;
  for (int m = above; m < level; m++)
    for (int d = 0; d < p->dims; d++)
      if (o->plain[d]) copies *= n->s[m][d];
  return copies;
}

static double speed(const Axis *a, const Nest *n, int loop) {
  const int d = n->dim[loop];
  return ((d == a->outputs ? a->stride : 0) + (d == a->taps ? a->dilation : 0)) * n->step[loop];
}

static double stays_exact(const Nest *n, const Operand *o, int above, int level, double words,
                          const double *distance) {
  (void)above;
  for (int i = 0; i < o->axes && words; i++) {
    const Axis *a = &o->axis[i];
    const double away = fabs(distance[i]) / a->step;
    const double outputs = n->inside[level][a->outputs], taps = n->inside[level][a->taps];
    words *= a->reduced_dilation == 1 ? overlap(outputs, a->reduced_stride, taps, away)
                                      : overlap(taps, a->reduced_dilation, outputs, away);
  }
  return words;
}

static double sliding(const Problem *p, Nest *n, const Operand *o, int above, int level,
                      double plain, int *alone) {
  double sizes[MOST_AXES], before[MOST_AXES] = {0}, first[MOST_AXES], distance[MOST_AXES];
  const double whole = plain * measure(p, n, o, above, level, sizes, alone);
  double outside = 1;
  for (int k = n->start[level]; k < n->loops; k++) outside *= n->factor[k];
  double result = whole;
  int lost = 0;
  for (int k = n->start[level]; k < n->loops; k++) {
    const double factor = n->factor[k];
    outside /= factor;
    lost |= o->plain[n->dim[k]];
    double fresh = whole;
    if (!lost) {
      int kept = 1;
      double stays = plain;
      for (int i = 0; i < o->axes; i++) {
        const double v = speed(&o->axis[i], n, k);
        if (k == n->start[level]) first[i] = v;
        distance[i] = v - before[i];
        before[i] += p->same_step ? v : (factor - 1) * v;
        if (p->same_step) kept &= distance[i] == first[i];
        if (p->box) stays *= positive(sizes[i] - fabs(distance[i]));
      }
      if (!p->box && kept) {
        int listed = !*alone;
        for (int i = 0; i < o->axes; i++)
          listed |= o->axis[i].reduced_stride != 1 && o->axis[i].reduced_dilation != 1;
        n->unlisted += listed;
        stays = stays_exact(n, o, above, level, plain, distance);
      }
      if (kept) fresh = whole - stays;
    }
    result += (factor - 1) * outside * fresh;
  }
  return result;
}

static void taken(const Problem *p, Nest *n, const Operand *o, int above, int level, double *each,
                  double *together) {
  const double plain = plain_words(p, n, o, level);
  const double copies = plain_copies(p, n, o, above, level);
  if (!o->axes) {
    double times = 1;
    int moved = 0;
    for (int k = n->start[level]; k < n->loops; k++) {
      moved |= o->relevant[n->dim[k]];
      if (moved) times *= n->factor[k];
    }
    *each = plain * times;
    *together = *each * copies;
    return;
  }
  int one = 1, alone = 1;
  *each = sliding(p, n, o, level, level, plain, &one);
  for (int i = 0; i < o->axes; i++) {
    int adjacent = 1;
    span(n, o->axis[i].outputs, above, level, &adjacent, &alone);
    span(n, o->axis[i].taps, above, level, &adjacent, &alone);
  }
  *together = alone ? *each * copies : sliding(p, n, o, above, level, plain * copies, &alone);
}

static double seen(const Problem *p, const Nest *n, const Operand *o, int level) {
  double words = 1;
  for (int d = 0; d < p->dims; d++)
    if (o->plain[d]) {
      for (int m = 0; m < p->levels; m++) words *= n->t[m][d];
      for (int m = level; m < p->levels; m++) words *= n->s[m][d];
    }
  return words;
}

static void read_nest(const Problem *p, Nest *n, const double *t, const double *s,
                      const int64_t *order, int64_t many, int64_t column) {
  n->loops = 0;
  n->cycles = 1;
  n->unlisted = 0;
  double inner[MOST_DIMS];
  for (int d = 0; d < p->dims; d++) inner[d] = n->inside[p->levels][d] = 1;
  for (int m = p->levels - 1; m >= 0; m--) {
    n->start[m + 1] = n->loops;
    const int64_t row = (int64_t)m * p->dims;
    for (int d = 0; d < p->dims; d++) {
      n->t[m][d] = t[(row + d) * many + column];
      n->s[m][d] = s[(row + d) * many + column];
      inner[d] *= n->s[m][d];
    }
    for (int i = p->dims - 1; i >= 0; i--) {
      const int d = (int)order[(row + i) * many + column];
      const double factor = n->t[m][d];
      if (factor > 1) {
        n->factor[n->loops] = factor;
        n->step[n->loops] = inner[d];
        n->dim[n->loops++] = d;
        n->cycles *= factor;
      }
    }
    for (int d = 0; d < p->dims; d++) n->inside[m][d] = inner[d] *= n->t[m][d];
  }
  n->start[0] = n->loops;
}

typedef double Words[MOST_LEVELS][OPERANDS];

static void count(const Problem *p, Nest *n, Words reads, Words fills, Words updates) {
  memset(reads, 0, sizeof(Words));
  memset(fills, 0, sizeof(Words));
  memset(updates, 0, sizeof(Words));
  for (int j = 0; j < OPERANDS; j++) {
    const Operand *o = &p->operand[j];
    int above = 0;
    for (int level = 1; level <= p->levels; level++) {
      if (level < p->levels && !p->level[level].keep[j]) continue;
      double words, each = 0;
      if (level < p->levels) {
        taken(p, n, o, above, level, &each, &words);
        if (j == OUTPUT && !p->first_fill) each -= seen(p, n, o, level);
        fills[level][j] = each;
      } else {
        double sizes[MOST_AXES];
        int alone = 1;
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

static double latency(const Problem *p, const Nest *n, Words reads, Words fills, Words updates) {
  double result = n->cycles;
  for (int m = 0; m < p->levels; m++) {
    const double *bound = p->level[m].bandwidth;
    if (!bound[0] && !bound[1] && !bound[2]) continue;
    double r = 0, w = 0;
    for (int j = 0; j < OPERANDS; j++) {
      r = r + reads[m][j] / n->cycles;
      w = w + (updates[m][j] + fills[m][j]) / n->cycles;
    }
    const double needed[3] = {r, w, w + r};
    for (int i = 0; i < 3; i++)
      if (bound[i] && needed[i] > bound[i]) {
        const double slowed = ceil(n->cycles / (bound[i] / needed[i]));
        if (slowed > result) result = slowed;
      }
  }
  return result;
}

static double blocks(double block, double words) {
  return block == 1 ? words : ceil(words / block) * block;
}

static double energy(const Problem *p, const Nest *n, Words reads, Words fills, Words updates,
                     double *largest) {
  double copies = 1, fan[MOST_LEVELS];
  for (int m = 0; m < p->levels; m++) {
    fan[m] = copies;
    for (int d = 0; d < p->dims; d++) copies *= n->s[m][d];
  }
  const double macs = n->cycles * copies;
  double most = macs, result = macs * p->mac_pj;
  for (int m = 0; m < p->levels; m++) {
    const Level *level = &p->level[m];
    double read = 0, written = 0;
    for (int j = 0; j < OPERANDS; j++) {
      read = read + blocks(level->block, reads[m][j]);
      written = written + blocks(level->block, fills[m][j]);
      written = written + blocks(level->block, updates[m][j]);
      most = fmax(most, fmax(reads[m][j], fmax(fills[m][j], updates[m][j])));
    }
    const double one = read * level->read_pj + written * level->write_pj;
    result = result + one * fan[m];
  }
  if (!(most <= *largest)) *largest = most;
  return result;
}

static uint8_t fits(const Problem *p, Nest *n) {
  for (int m = 0; m < p->levels; m++) {
    const Level *level = &p->level[m];
    double all = 0, copies = 1, sizes[MOST_AXES];
    for (int j = 0; j < OPERANDS; j++) {
      if (!level->keep[j]) continue;
      int alone = 1;
      const double words = plain_words(p, n, &p->operand[j], m) *
                           measure(p, n, &p->operand[j], m, m, sizes, &alone);
      if (level->each[j] >= 0 && words > level->each[j]) return 0;
      all += words;
    }
    if (level->capacity >= 0 && all > level->capacity) return 0;
    for (int d = 0; d < p->dims; d++) {
      copies *= n->s[m][d];
      if (n->s[m][d] > 1 && !level->spread[d]) return 0;
    }
    if (copies > level->fan_out) return 0;
  }
  return 1;
}

// Scores ``many`` mappings; arrays as Batch has them. Returns the largest count. ``unlisted`` marks
// what needs positions listed, whose score is left to numpy.
double mlcnn_score(const Problem *p, const double *t, const double *s, const int64_t *order,
                   int64_t many, double *cycles, double *pj, uint8_t *fitting, uint8_t *unlisted) {
  double largest = 0;
  for (int64_t column = 0; column < many; column++) {
    Nest n;
    Words reads, fills, updates;
    read_nest(p, &n, t, s, order, many, column);
    fitting[column] = fits(p, &n);
    count(p, &n, reads, fills, updates);
    cycles[column] = latency(p, &n, reads, fills, updates);
    pj[column] = energy(p, &n, reads, fills, updates, &largest);
    unlisted[column] = n.unlisted > 0;
  }
  return largest;
}
