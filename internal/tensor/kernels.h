// Kernels of our own for the CPU: plain loops over rows, without libtorch, compiled once an instruction set.
//
// T is the storage type; arithmetic is in Acc<T>. Every kernel works on a range of rows so that the caller decides how
// threads share them, and sums in an order that depends on the row alone: a row's result is the same in any batch and at
// any number of threads.
#pragma once
#include <cstdint>

namespace hone {

struct bf16 {
  uint16_t bits;
};

template <class T>
struct AccOf {
  using type = float;
};
template <>
struct AccOf<double> {
  using type = double;
};
template <class T>
using Acc = typename AccOf<T>::type;

// Cols of a weight that one call of `skinny` takes.
constexpr int64_t kSkinnyColumns = 16;

// NF4 (Dettmers et al. 2023) as bitsandbytes publishes it: the values of the sixteen codes, over the greatest magnitude of a block.
constexpr int64_t kNF4Block = 64;
constexpr float kNF4Levels[16] = {-1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f, -0.18477343022823334f,
                                  -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f,
                                  0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f};

// Norms of a stream of X whose parts are Y: in mixed precision the stream and the norms' weights are float32 and what is
// multiplied is bfloat16, as under torch.autocast; else both are the same.
template <class X, class Y>
struct Norms {
  // s = x + r where r is given, else x is normalised where it stands; y = s·rstd·(w + shift), rstd = 1/√(mean(s²) + eps).
  // x, r, s, y: [rows, dim], row strides xs for x, dim for the others. rstd: [rows].
  void (*rmsnorm)(const X *x, int64_t xs, const Y *r, const Acc<X> *w, X *s, Y *y, Acc<X> *rstd, int64_t rows, int64_t dim,
                  double eps, double shift);
  // dx = gradient of the sum: through y and, where ds is given, directly. dr, where given, is the same. dw [dim] is added to,
  // where it is given.
  void (*rmsnorm_back)(const Y *dy, const X *ds, const X *s, int64_t ss, const Acc<X> *w, const Acc<X> *rstd, X *dx, Y *dr,
                       Acc<X> *dw, int64_t rows, int64_t dim, double shift);
  // The same of LayerNorm: y = (s - mean)·rstd·w + b, rstd = 1/√(variance(s) + eps). mean: [rows]; b, db: [dim].
  void (*layernorm)(const X *x, const Y *r, const Acc<X> *w, const Acc<X> *b, X *s, Y *y, Acc<X> *mean, Acc<X> *rstd,
                    int64_t rows, int64_t dim, double eps);
  void (*layernorm_back)(const Y *dy, const X *ds, const X *s, const Acc<X> *w, const Acc<X> *mean, const Acc<X> *rstd, X *dx,
                         Y *dr, Acc<X> *dw, Acc<X> *db, int64_t rows, int64_t dim);
};

template <class T>
struct Table {
  // Rotates the first `rot` of each head's `dim` features, halves paired (rotate_half); sign -1 is the inverse.
  // x: [rows, heads, dim] with row stride xs; y contiguous; cos, sin: [positions, rot/2]; position[rows].
  void (*rope)(const T *x, int64_t xs, T *y, const float *cos, const float *sin, const int64_t *position, int64_t rows,
               int64_t heads, int64_t dim, int64_t rot, int sign);
  // y = silu(g)·u; gu: [rows, 2f], gate first. y: [rows, f].
  void (*swiglu)(const T *gu, T *y, int64_t rows, int64_t f);
  void (*swiglu_back)(const T *dy, const T *gu, T *dgu, int64_t rows, int64_t f);
  // y = gelu(g)·u with the tanh form of GELU; likewise.
  void (*geglu)(const T *gu, T *y, int64_t rows, int64_t f);
  void (*geglu_back)(const T *dy, const T *gu, T *dgu, int64_t rows, int64_t f);
  // The tanh form of GELU on n elements.
  void (*gelu)(const T *x, T *y, int64_t n);
  void (*gelu_back)(const T *dy, const T *x, T *dx, int64_t n);
  // Rows of logits z [rows, v] with row stride v. logp[i] = log softmax(z[i])[label[i]]. stats [rows, 2]: the entropy of the softmax, and
  // 1 where the label is its likeliest token, the first of equals. Where weight is given z becomes weight[i]·(softmax(z[i]) - onehot(label[i])): the
  // gradient of -weight·logp; with dft that of weight times the label's probability, which counts as a constant.
  void (*cross_entropy)(T *z, const int64_t *label, const Acc<T> *weight, bool dft, Acc<T> *logp, Acc<T> *stats, int64_t rows, int64_t v);
  // Rows of logits z [rows, v]. logp[i] = log softmax(scale·z[i])[label[i]], lse[i] = log Σ exp(scale·z[i]). stats [rows, 3],
  // where given: the entropy of that softmax, 1 where the label is its likeliest token, and the mean of z[i].
  void (*log_probs)(const T *z, const int64_t *label, Acc<T> scale, Acc<T> *logp, Acc<T> *lse, Acc<T> *stats, int64_t rows, int64_t v);
  // z becomes the gradient of Σ grad[i]·logp[i].
  void (*log_probs_back)(T *z, const int64_t *label, Acc<T> scale, const Acc<T> *lse, const Acc<T> *grad, int64_t rows, int64_t v);
  // n capped logits, z = cap·tanh(z/cap), and the gradient of what they were from the gradient dz of what they are.
  void (*cap)(T *z, int64_t n, double cap);
  void (*cap_back)(T *dz, const T *z, int64_t n, double cap);
  // y[b, n] = x[b]·w[n] (+ bias[n]) for columns n0 ≤ n < n1; few rows b. x: [rows, k], w: [n, k], y: [rows, ys].
  void (*skinny)(const T *x, const T *w, const T *bias, T *y, int64_t rows, int64_t k, int64_t ys, int64_t n0, int64_t n1);
  // One query a head against a cache. q: [group, dim]; keys, values: [length, dim], from `first` on; y: [group, dim];
  // scores: scratch [group, length]. With a cap the scores are cap·tanh(scale·q·k/cap).
  void (*attend)(const T *q, const T *keys, const T *values, T *y, float *scores, int64_t group, int64_t dim, int64_t first,
                 int64_t length, double scale, double cap);
  // One row of attention: z [columns] holds q·k and becomes the softmax of its scores over first ≤ j < last, and zero elsewhere.
  void (*weigh)(T *z, int64_t columns, int64_t first, int64_t last, double scale, double cap);
  // dp, the gradient of the weights p that came of z, becomes that of z.
  void (*weigh_back)(const T *z, const T *p, T *dp, int64_t columns, int64_t first, int64_t last, double scale, double cap);
  // Elements first … first+n of a row of NF4 codes, two a byte, that begins at a block; scales are those of the blocks from first's on.
  // Whole blocks of codes are read.
  void (*nf4)(const uint8_t *codes, const float *scales, T *y, int64_t first, int64_t n);
};

struct Kernels {
  Table<float> f32;
  Table<double> f64;
  Table<bf16> b16;
  Norms<float, float> norms_f32;
  Norms<double, double> norms_f64;
  Norms<bf16, bf16> norms_b16;
  Norms<float, bf16> norms_mixed;
  // skinny with a weight that is held in bfloat16: bit for bit what it is with the same values in float32.
  void (*skinny_narrow)(const float *x, const bf16 *w, const float *bias, float *y, int64_t rows, int64_t k, int64_t ys, int64_t n0, int64_t n1);
  // AdamW (Loshchilov & Hutter 2019) on n elements as torch.optim.AdamW; the gradient is scaled first and zero afterwards.
  void (*adamw)(float *w, float *g, float *m, float *v, int64_t n, float scale, float lr, float beta1, float beta2, float eps,
                float decay, float correction1, float correction2);
  // Lion (Chen et al. 2023, algorithm 2) on n elements; likewise.
  void (*lion)(float *w, float *g, float *m, int64_t n, float scale, float lr, float beta1, float beta2, float decay);
  // Rows of a matrix [rows, columns] whose rows are width apart. row[i] = Σ_j (scale·g)² + eps; the same of each column is added to
  // column[j].
  void (*squares)(const float *g, int64_t width, int64_t rows, int64_t columns, float scale, float eps, float *row, float *column);
  // Σ u², u = scale·r[i]·c[j]·g[i, j]; and w = keep·w - u with g zero afterwards.
  double (*factored_norm)(const float *g, int64_t width, int64_t rows, int64_t columns, float scale, const float *r, const float *c);
  void (*factored)(float *w, float *g, int64_t width, int64_t rows, int64_t columns, float scale, const float *r, const float *c, float keep);
  double (*sum_squares)(const float *x, int64_t n);
  // Dropout of n elements counted from `offset`: kept with probability 1 - p and scaled. The draw depends on (seed, index) alone.
  void (*dropout)(const float *x, float *y, int64_t n, uint64_t seed, uint64_t offset, float p);
};

// The kernels for this processor.
const Kernels &kernels();

} // namespace hone
