// The kernels, included once an instruction set by kernels_*.cpp, each in a namespace of its own (HONE_ISA).
#include <cmath>
#include <cstring>

#include "kernels.h"

namespace hone::HONE_ISA {

static inline float load(float x) { return x; }
static inline double load(double x) { return x; }
static inline float load(bf16 x) {
  uint32_t u = uint32_t(x.bits) << 16;
  float f;
  __builtin_memcpy(&f, &u, 4);
  return f;
}
template <class T>
static inline T store(Acc<T> x) {
  return x;
}
template <>
inline bf16 store<bf16>(float x) { // round to nearest even; NaN stays NaN
  uint32_t u;
  __builtin_memcpy(&u, &x, 4);
  uint32_t r = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
  return bf16{uint16_t((u & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : r)};
}

// exp in single precision, 2 ulp, vectorised by the compiler (Cephes' expf: range reduction by ln 2 and a polynomial).
static inline float fast_exp(float x) {
  x = x < -87.3f ? -87.3f : (x > 88.3f ? 88.3f : x);
  float n = (x * 1.44269504f + 12582912.0f) - 12582912.0f;
  float r = x - n * 0.693359375f + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  int32_t bits = (int32_t(n) + 127) << 23;
  float scale;
  __builtin_memcpy(&scale, &bits, 4);
  return p * scale;
}
static inline double fast_exp(double x) { return std::exp(x); }

// tanh within 1e-7: what it is multiplied with is of the order of what it is added to, everywhere here.
static inline float fast_tanh(float x) { return 1 - 2 / (fast_exp(2 * x) + 1); }
static inline double fast_tanh(double x) { return std::tanh(x); }

template <class X, class Y>
static void rmsnorm(const X *x, int64_t xs, const Y *r, const Acc<X> *w, X *s, Y *y, Acc<X> *rstd, int64_t rows, int64_t dim,
                    double eps, double shift) {
  using A = Acc<X>;
  for (int64_t i = 0; i < rows; i++) {
    const X *in = x + i * xs;
    if (r) {
      X *si = s + i * dim;
      const Y *ri = r + i * dim;
#pragma omp simd
      for (int64_t j = 0; j < dim; j++) si[j] = store<X>(load(in[j]) + load(ri[j]));
      in = si;
    }
    A sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < dim; j++) sum += load(in[j]) * load(in[j]);
    A rs = A(1) / std::sqrt(sum / A(dim) + A(eps));
    rstd[i] = rs;
    Y *yi = y + i * dim;
#pragma omp simd
    for (int64_t j = 0; j < dim; j++) yi[j] = store<Y>(load(store<X>(load(in[j]) * rs)) * (w[j] + A(shift)));
  }
}

template <class X, class Y>
static void rmsnorm_back(const Y *dy, const X *ds, const X *s, int64_t ss, const Acc<X> *w, const Acc<X> *rstd, X *dx, Y *dr, Acc<X> *dw,
                         int64_t rows, int64_t dim, double shift) {
  using A = Acc<X>;
  for (int64_t i = 0; i < rows; i++) {
    const Y *g = dy + i * dim;
    const X *x = s + i * ss;
    A rs = rstd[i], dot = 0;
#pragma omp simd reduction(+ : dot)
    for (int64_t j = 0; j < dim; j++) dot += load(g[j]) * (w[j] + A(shift)) * load(x[j]);
    A c = dot * rs * rs / A(dim);
    X *out = dx + i * dim;
    if (ds) {
      const X *d = ds + i * dim;
#pragma omp simd
      for (int64_t j = 0; j < dim; j++)
        out[j] = store<X>(rs * (load(g[j]) * (w[j] + A(shift)) - load(x[j]) * c) + load(d[j]));
    } else {
#pragma omp simd
      for (int64_t j = 0; j < dim; j++) out[j] = store<X>(rs * (load(g[j]) * (w[j] + A(shift)) - load(x[j]) * c));
    }
    if (dr) {
      Y *narrow = dr + i * dim;
#pragma omp simd
      for (int64_t j = 0; j < dim; j++) narrow[j] = store<Y>(Acc<Y>(load(out[j])));
    }
    if (dw) {
#pragma omp simd
      for (int64_t j = 0; j < dim; j++) dw[j] += load(g[j]) * load(x[j]) * rs;
    }
  }
}

template <class X, class Y>
static void layernorm(const X *x, const Y *r, const Acc<X> *w, const Acc<X> *b, X *s, Y *y, Acc<X> *mean, Acc<X> *rstd, int64_t rows,
                      int64_t dim, double eps) {
  using A = Acc<X>;
  for (int64_t i = 0; i < rows; i++) {
    const X *in = x + i * dim;
    if (r) {
      X *si = s + i * dim;
      const Y *ri = r + i * dim;
#pragma omp simd
      for (int64_t j = 0; j < dim; j++) si[j] = store<X>(load(in[j]) + load(ri[j]));
      in = si;
    }
    A sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < dim; j++) sum += load(in[j]);
    const A m = sum / A(dim);
#pragma omp simd reduction(+ : squares)
    for (int64_t j = 0; j < dim; j++) squares += (load(in[j]) - m) * (load(in[j]) - m);
    const A rs = A(1) / std::sqrt(squares / A(dim) + A(eps));
    mean[i] = m;
    rstd[i] = rs;
    Y *yi = y + i * dim;
#pragma omp simd
    for (int64_t j = 0; j < dim; j++) yi[j] = store<Y>((load(in[j]) - m) * rs * w[j] + b[j]);
  }
}

template <class X, class Y>
static void layernorm_back(const Y *dy, const X *ds, const X *s, const Acc<X> *w, const Acc<X> *mean, const Acc<X> *rstd, X *dx, Y *dr,
                           Acc<X> *dw, Acc<X> *db, int64_t rows, int64_t dim) {
  using A = Acc<X>;
  for (int64_t i = 0; i < rows; i++) {
    const Y *g = dy + i * dim;
    const X *x = s + i * dim;
    const A m = mean[i], rs = rstd[i];
    A sum = 0, dot = 0;
#pragma omp simd reduction(+ : sum, dot)
    for (int64_t j = 0; j < dim; j++) {
      A t = load(g[j]) * w[j];
      sum += t;
      dot += t * (load(x[j]) - m);
    }
    const A a = sum / A(dim), c = dot * rs * rs / A(dim);
    X *out = dx + i * dim;
#pragma omp simd
    for (int64_t j = 0; j < dim; j++)
      out[j] = store<X>(rs * (load(g[j]) * w[j] - a - (load(x[j]) - m) * c) + (ds ? load(ds[i * dim + j]) : A(0)));
    if (dr) {
      Y *narrow = dr + i * dim;
#pragma omp simd
      for (int64_t j = 0; j < dim; j++) narrow[j] = store<Y>(Acc<Y>(load(out[j])));
    }
    if (dw) {
#pragma omp simd
      for (int64_t j = 0; j < dim; j++) dw[j] += load(g[j]) * (load(x[j]) - m) * rs;
    }
    if (db) {
#pragma omp simd
      for (int64_t j = 0; j < dim; j++) db[j] += load(g[j]);
    }
  }
}

template <class T>
static void rope(const T *x, int64_t xs, T *y, const float *cos, const float *sin, const int64_t *position, int64_t rows,
                 int64_t heads, int64_t dim, int64_t rot, int sign) {
  using A = Acc<T>;
  const int64_t half = rot / 2;
  for (int64_t i = 0; i < rows; i++) {
    const float *c = cos + position[i] * half, *sn = sin + position[i] * half;
    for (int64_t h = 0; h < heads; h++) {
      const T *in = x + i * xs + h * dim;
      T *out = y + (i * heads + h) * dim;
#pragma omp simd
      for (int64_t j = 0; j < half; j++) {
        A a = load(in[j]), b = load(in[j + half]), cj = c[j], sj = A(sign) * sn[j];
        out[j] = store<T>(a * cj - b * sj);
        out[j + half] = store<T>(b * cj + a * sj);
      }
      for (int64_t j = rot; j < dim; j++) out[j] = in[j];
    }
  }
}

template <class T>
static void swiglu(const T *gu, T *y, int64_t rows, int64_t f) {
  using A = Acc<T>;
  for (int64_t i = 0; i < rows; i++) {
    const T *g = gu + i * 2 * f, *u = g + f;
    T *out = y + i * f;
#pragma omp simd
    for (int64_t j = 0; j < f; j++) {
      A a = load(g[j]);
      out[j] = store<T>(load(store<T>(a / (A(1) + fast_exp(-a)))) * load(u[j]));
    }
  }
}

template <class T>
static void swiglu_back(const T *dy, const T *gu, T *dgu, int64_t rows, int64_t f) {
  using A = Acc<T>;
  for (int64_t i = 0; i < rows; i++) {
    const T *g = gu + i * 2 * f, *u = g + f, *d = dy + i * f;
    T *dg = dgu + i * 2 * f, *du = dg + f;
#pragma omp simd
    for (int64_t j = 0; j < f; j++) {
      A a = load(g[j]), sg = A(1) / (A(1) + fast_exp(-a)), dj = load(d[j]);
      dg[j] = store<T>(dj * load(u[j]) * sg * (A(1) + a * (A(1) - sg)));
      du[j] = store<T>(dj * a * sg);
    }
  }
}

// GELU in the form with tanh (Hendrycks & Gimpel 2016), and its slope: 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))).
template <class A>
static inline A gelu_of(A x) {
  return A(0.5) * x * (A(1) + fast_tanh(A(0.7978845608028654) * (x + A(0.044715) * x * x * x)));
}
template <class A>
static inline A gelu_slope(A x) {
  const A t = fast_tanh(A(0.7978845608028654) * (x + A(0.044715) * x * x * x));
  return A(0.5) * (A(1) + t) + A(0.5) * x * (A(1) - t * t) * A(0.7978845608028654) * (A(1) + A(0.134145) * x * x);
}

template <class T>
static void gelu(const T *x, T *y, int64_t n) {
#pragma omp simd
  for (int64_t j = 0; j < n; j++) y[j] = store<T>(gelu_of(load(x[j])));
}

template <class T>
static void gelu_back(const T *dy, const T *x, T *dx, int64_t n) {
#pragma omp simd
  for (int64_t j = 0; j < n; j++) dx[j] = store<T>(load(dy[j]) * gelu_slope(load(x[j])));
}

template <class T>
static void geglu(const T *gu, T *y, int64_t rows, int64_t f) {
  for (int64_t i = 0; i < rows; i++) {
    const T *g = gu + i * 2 * f, *u = g + f;
    T *out = y + i * f;
#pragma omp simd
    for (int64_t j = 0; j < f; j++) out[j] = store<T>(load(store<T>(gelu_of(load(g[j])))) * load(u[j]));
  }
}

template <class T>
static void geglu_back(const T *dy, const T *gu, T *dgu, int64_t rows, int64_t f) {
  using A = Acc<T>;
  for (int64_t i = 0; i < rows; i++) {
    const T *g = gu + i * 2 * f, *u = g + f, *d = dy + i * f;
    T *dg = dgu + i * 2 * f, *du = dg + f;
#pragma omp simd
    for (int64_t j = 0; j < f; j++) {
      const A a = load(g[j]), dj = load(d[j]), uj = load(u[j]);
      dg[j] = store<T>(dj * uj * gelu_slope(a));
      du[j] = store<T>(dj * gelu_of(a));
    }
  }
}

template <class T>
static void cap(T *z, int64_t n, double cap) {
  using A = Acc<T>;
#pragma omp simd
  for (int64_t j = 0; j < n; j++) z[j] = store<T>(A(cap) * fast_tanh(load(z[j]) / A(cap)));
}

template <class T>
static void cap_back(T *dz, const T *z, int64_t n, double cap) {
  using A = Acc<T>;
#pragma omp simd
  for (int64_t j = 0; j < n; j++) {
    const A t = load(z[j]) / A(cap);
    dz[j] = store<T>(load(dz[j]) * (A(1) - t * t));
  }
}

// 1 where z[label], scaled, is the greatest, and the first of those that are: what argmax gives.
template <class T>
static inline Acc<T> likeliest(const T *z, int64_t label, Acc<T> scale, Acc<T> top) {
  if (load(z[label]) * scale != top) return 0;
  for (int64_t j = 0; j < label; j++)
    if (load(z[j]) * scale == top) return 0;
  return 1;
}

template <class T>
static void cross_entropy(T *z, const int64_t *label, const Acc<T> *weight, bool dft, Acc<T> *logp, Acc<T> *stats, int64_t rows, int64_t v) {
  using A = Acc<T>;
  for (int64_t i = 0; i < rows; i++) {
    T *zi = z + i * v;
    A top = load(zi[0]), sum = 0, weighted = 0;
#pragma omp simd reduction(max : top)
    for (int64_t j = 0; j < v; j++) {
      A x = load(zi[j]);
      top = x > top ? x : top;
    }
    const A target = load(zi[label[i]]);
    stats[2 * i + 1] = likeliest(zi, label[i], A(1), top); // before z is overwritten
    // A NaN anywhere in the row reaches the loss through the sum; the maximum alone would skip it.
#pragma omp simd reduction(+ : sum, weighted)
    for (int64_t j = 0; j < v; j++) {
      A x = load(zi[j]) - top, e = fast_exp(x);
      sum += e;
      weighted += e * x;
    }
    if (weight) {
      const A p = fast_exp(target - top) / sum, w = dft ? weight[i] * p : weight[i], scale = w / sum;
#pragma omp simd
      for (int64_t j = 0; j < v; j++) zi[j] = store<T>(fast_exp(load(zi[j]) - top) * scale);
      zi[label[i]] = store<T>((p - A(1)) * w);
    }
    const A log_sum = std::log(sum);
    logp[i] = target - top - log_sum;
    stats[2 * i] = log_sum - weighted / sum;
  }
}

template <class T>
static void log_probs(const T *z, const int64_t *label, Acc<T> scale, Acc<T> *logp, Acc<T> *lse, Acc<T> *stats, int64_t rows, int64_t v) {
  using A = Acc<T>;
  for (int64_t i = 0; i < rows; i++) {
    const T *zi = z + i * v;
    A top = load(zi[0]) * scale, sum = 0, weighted = 0, plain = 0;
#pragma omp simd reduction(max : top)
    for (int64_t j = 0; j < v; j++) {
      A x = load(zi[j]) * scale;
      top = x > top ? x : top;
    }
    if (stats) {
#pragma omp simd reduction(+ : sum, weighted, plain)
      for (int64_t j = 0; j < v; j++) {
        A x = load(zi[j]) * scale - top, e = fast_exp(x);
        sum += e;
        weighted += e * x;
        plain += load(zi[j]);
      }
    } else {
#pragma omp simd reduction(+ : sum)
      for (int64_t j = 0; j < v; j++) sum += fast_exp(load(zi[j]) * scale - top);
    }
    const A target = load(zi[label[i]]) * scale, log_sum = std::log(sum);
    lse[i] = top + log_sum;
    logp[i] = target - top - log_sum;
    if (stats) {
      stats[3 * i] = log_sum - weighted / sum;
      stats[3 * i + 1] = likeliest(zi, label[i], scale, top);
      stats[3 * i + 2] = plain / A(v);
    }
  }
}

template <class T>
static void log_probs_back(T *z, const int64_t *label, Acc<T> scale, const Acc<T> *lse, const Acc<T> *grad, int64_t rows, int64_t v) {
  using A = Acc<T>;
  for (int64_t i = 0; i < rows; i++) {
    T *zi = z + i * v;
    const A g = grad[i] * scale, l = lse[i], own = g * (A(1) - fast_exp(load(zi[label[i]]) * scale - l));
#pragma omp simd
    for (int64_t j = 0; j < v; j++) zi[j] = store<T>(-g * fast_exp(load(zi[j]) * scale - l));
    zi[label[i]] = store<T>(own);
  }
}

// Sixteen dot products at once, R rows of x by C rows of w, each in one vector accumulator walked along k: the order of
// additions of an output does not depend on R and C, so a row's result does not depend on its batch.
// Loads and stores go through the vector types themselves: a memcpy is made of halves, by way of the stack.
typedef float v16 __attribute__((vector_size(64), aligned(4), may_alias));
typedef int i16 __attribute__((vector_size(64)));

static inline v16 load16(const float *p) { return *reinterpret_cast<const v16 *>(p); }
static inline void store16(float *p, v16 x) { *reinterpret_cast<v16 *>(p) = x; }
// The compiler does not vectorise a square root that could set errno, and cgo passes no flag that forbids it.
__attribute__((always_inline)) static inline v16 root16(v16 x) {
#if defined(HONE_AVX512)
  return (v16)_mm512_sqrt_ps((__m512)x);
#elif defined(HONE_AVX2)
  __m256 half[2];
  __builtin_memcpy(half, &x, 64);
  half[0] = _mm256_sqrt_ps(half[0]);
  half[1] = _mm256_sqrt_ps(half[1]);
  __builtin_memcpy(&x, half, 64);
  return x;
#else
  for (int i = 0; i < 16; i++) x[i] = std::sqrt(x[i]);
  return x;
#endif
}
static inline v16 load16(const bf16 *p) {
  typedef uint16_t u16 __attribute__((vector_size(32), aligned(2), may_alias));
  typedef uint32_t u32 __attribute__((vector_size(64)));
  return (v16)(__builtin_convertvector(*reinterpret_cast<const u16 *>(p), u32) << 16);
}

// Lane i of the result is the sum of the lanes of a[i].
static inline v16 sum_lanes(v16 *a) {
  const i16 lo8 = {0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23};
  const i16 hi8 = {8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31};
  const i16 lo4 = {0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27};
  const i16 hi4 = {4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31};
  const i16 lo2 = {0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29};
  const i16 hi2 = {2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31};
  const i16 lo1 = {0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30};
  const i16 hi1 = {1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31};
  for (int i = 0; i < 8; i++) a[i] = __builtin_shuffle(a[2 * i], a[2 * i + 1], lo8) + __builtin_shuffle(a[2 * i], a[2 * i + 1], hi8);
  for (int i = 0; i < 4; i++) a[i] = __builtin_shuffle(a[2 * i], a[2 * i + 1], lo4) + __builtin_shuffle(a[2 * i], a[2 * i + 1], hi4);
  for (int i = 0; i < 2; i++) a[i] = __builtin_shuffle(a[2 * i], a[2 * i + 1], lo2) + __builtin_shuffle(a[2 * i], a[2 * i + 1], hi2);
  return __builtin_shuffle(a[0], a[1], lo1) + __builtin_shuffle(a[0], a[1], hi1);
}

#if defined(HONE_AVX512)
// The weights come from memory once, and a processor's own prefetching loses track of this many short rows: the first pass
// over columns asks for the ones `ahead` elements on.
template <int R, int C, class T, class W>
static inline void tile(const T *x, const W *w, const T *bias, T *y, int64_t k, int64_t ys, int64_t ahead) {
  v16 acc[16] = {};
  int64_t j = 0;
  for (; j + 16 <= k; j += 16) {
    v16 xs[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) xs[r] = load16(x + r * k + j);
#pragma GCC unroll 16
    for (int c = 0; c < C; c++) {
      v16 wc = load16(w + c * k + j);
      if (ahead) __builtin_prefetch(w + c * k + j + ahead);
#pragma GCC unroll 4
      for (int r = 0; r < R; r++) acc[r * C + c] += xs[r] * wc;
    }
  }
  v16 sum = sum_lanes(acc);
  for (int r = 0; r < R; r++) {
    for (int c = 0; c < C; c++) {
      float t = sum[r * C + c];
      for (int64_t l = j; l < k; l++) t += load(x[r * k + l]) * load(w[c * k + l]);
      if (bias) t += load(bias[c]);
      y[r * ys + c] = store<T>(t);
    }
  }
}

// R rows by all columns n … n + kSkinnyColumns.
template <int R, class T, class W>
static inline void strip(const T *x, const W *w, const T *bias, T *y, int64_t k, int64_t ys, int64_t ahead) {
  constexpr int C = 16 / R;
  for (int64_t c = 0; c < kSkinnyColumns; c += C) tile<R, C>(x, w + c * k, bias ? bias + c : nullptr, y + c, k, ys, ahead);
}
template <class T, class W>
static inline void strips(const T *x, const W *w, const T *bias, T *y, int64_t rows, int64_t k, int64_t ys, int64_t next) {
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) strip<4>(x + r * k, w, bias, y + r * ys, k, ys, r ? 0 : next);
  for (; r + 2 <= rows; r += 2) strip<2>(x + r * k, w, bias, y + r * ys, k, ys, r ? 0 : next);
  for (; r < rows; r++) strip<1>(x + r * k, w, bias, y + r * ys, k, ys, r ? 0 : next);
}
#else
// Half the registers of half the width: at most twelve outputs, each in one accumulator of eight.
typedef float v8 __attribute__((vector_size(32), aligned(4), may_alias));

static inline v8 load8(const float *p) { return *reinterpret_cast<const v8 *>(p); }
static inline v8 load8(const bf16 *p) {
  typedef uint16_t u16 __attribute__((vector_size(16), aligned(2), may_alias));
  typedef uint32_t u32 __attribute__((vector_size(32)));
  return (v8)(__builtin_convertvector(*reinterpret_cast<const u16 *>(p), u32) << 16);
}
// out[i] is the sum of the lanes of a[i]: of neighbours, then of neighbours among those.
template <int N>
__attribute__((always_inline)) static inline void sums(const v8 *a, float *out) {
#if defined(HONE_AVX2)
  __m128 pairs[(N + 3) / 4 * 4] = {};
#pragma GCC unroll 12
  for (int i = 0; i < N; i++) pairs[i] = _mm_hadd_ps(_mm256_castps256_ps128((__m256)a[i]), _mm256_extractf128_ps((__m256)a[i], 1));
#pragma GCC unroll 3
  for (int i = 0; i < N; i += 4) {
    const __m128 four = _mm_hadd_ps(_mm_hadd_ps(pairs[i], pairs[i + 1]), _mm_hadd_ps(pairs[i + 2], pairs[i + 3]));
    float all[4];
    _mm_storeu_ps(all, four);
#pragma GCC unroll 4
    for (int k = i; k < N && k < i + 4; k++) out[k] = all[k - i];
  }
#else
  for (int i = 0; i < N; i++) {
    const v8 x = a[i];
    out[i] = ((x[0] + x[1]) + (x[2] + x[3])) + ((x[4] + x[5]) + (x[6] + x[7]));
  }
#endif
}

// Rows of x by columns of w; with `ahead` the columns so many elements on are asked for, as above.
template <int R, int C, class T, class W>
__attribute__((always_inline)) static inline void tile(const T *x, const W *w, const T *bias, T *y, int64_t k, int64_t ys, int64_t ahead) {
  v8 acc[R * C] = {};
  int64_t j = 0;
  for (; j + 8 <= k; j += 8) {
    v8 ws[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) {
      ws[c] = load8(w + c * k + j);
      if (ahead) __builtin_prefetch(w + c * k + j + ahead);
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) {
      const v8 xr = load8(x + r * k + j);
#pragma GCC unroll 4
      for (int c = 0; c < C; c++) acc[r * C + c] += xr * ws[c];
    }
  }
  float sum[R * C];
  sums<R * C>(acc, sum);
  for (int r = 0; r < R; r++) {
    for (int c = 0; c < C; c++) {
      float t = sum[r * C + c];
      for (int64_t l = j; l < k; l++) t += load(x[r * k + l]) * load(w[c * k + l]);
      if (bias) t += load(bias[c]);
      y[r * ys + c] = store<T>(t);
    }
  }
}

// R rows by four columns.
template <int R, class T, class W>
static void four(const T *x, const W *w, const T *bias, T *y, int64_t k, int64_t ys, int64_t ahead) {
  constexpr int C = R == 1 && sizeof(W) == 4 ? 1 : R < 4 ? 4 : 2;
  for (int64_t c = 0; c < 4; c += C) {
    if (C > 1 && ahead) tile<R, C>(x, w + c * k, bias ? bias + c : nullptr, y + c, k, ys, ahead);
    else tile<R, C>(x, w + c * k, bias ? bias + c : nullptr, y + c, k, ys, 0);
  }
}
// The rows in groups of six at most, as equal as they can be, by four columns at a time, which stay in the nearest cache. One
// row goes through its columns one after the other: a processor sees what comes next by itself.
template <class T, class W>
static inline void strips(const T *x, const W *w, const T *bias, T *y, int64_t rows, int64_t k, int64_t ys, int64_t next) {
  constexpr decltype(&four<1, T, W>) by_rows[] = {four<1, T, W>, four<2, T, W>, four<3, T, W>, four<4, T, W>, four<5, T, W>, four<6, T, W>};
  for (int64_t c = 0; c < kSkinnyColumns; c += 4) {
    for (int64_t groups = (rows + 5) / 6, r = 0; groups > 0; groups--) {
      const int64_t n = (rows - r + groups - 1) / groups;
      by_rows[n - 1](x + r * k, w + c * k, bias ? bias + c : nullptr, y + r * ys + c, k, ys, r || !next ? 0 : 4 * k);
      r += n;
    }
  }
}
#endif

template <class T, class W>
static void skinny(const T *x, const W *w, const T *bias, T *y, int64_t rows, int64_t k, int64_t ys, int64_t n0, int64_t n1) {
  if constexpr (sizeof(T) == 8) {
    for (int64_t n = n0; n < n1; n++) {
      for (int64_t r = 0; r < rows; r++) {
        Acc<T> t = 0;
#pragma omp simd reduction(+ : t)
        for (int64_t l = 0; l < k; l++) t += load(x[r * k + l]) * load(w[n * k + l]);
        if (bias) t += load(bias[n]);
        y[r * ys + n] = store<T>(t);
      }
    }
  } else {
    int64_t n = n0;
    for (; n + kSkinnyColumns <= n1; n += kSkinnyColumns) {
      const int64_t next = n + 2 * kSkinnyColumns <= n1 ? kSkinnyColumns * k : 0;
      strips(x, w + n * k, bias ? bias + n : nullptr, y + n, rows, k, ys, next);
    }
    for (; n < n1; n++)
      for (int64_t r = 0; r < rows; r++) tile<1, 1>(x + r * k, w + n * k, bias ? bias + n : nullptr, y + r * ys + n, k, ys, 0);
  }
}

template <class T>
static void attend(const T *q, const T *keys, const T *values, T *y, float *scores, int64_t group, int64_t dim, int64_t first,
                   int64_t length, double scale, double cap) {
  using A = Acc<T>;
  for (int64_t t = first; t < length; t++) {
    const T *key = keys + t * dim;
    for (int64_t g = 0; g < group; g++) {
      const T *qg = q + g * dim;
      A dot = 0;
#pragma omp simd reduction(+ : dot)
      for (int64_t j = 0; j < dim; j++) dot += load(qg[j]) * load(key[j]);
      scores[g * length + t] = float(dot * A(scale));
    }
  }
  for (int64_t g = 0; g < group; g++) {
    float *s = scores + g * length, sum = 0;
    if (cap > 0) {
#pragma omp simd
      for (int64_t t = first; t < length; t++) s[t] = float(cap) * fast_tanh(s[t] / float(cap));
    }
    float top = s[first];
    for (int64_t t = first; t < length; t++) top = s[t] > top ? s[t] : top;
#pragma omp simd reduction(+ : sum)
    for (int64_t t = first; t < length; t++) {
      s[t] = fast_exp(s[t] - top);
      sum += s[t];
    }
    constexpr int64_t block = 64;
    for (int64_t j0 = 0; j0 < dim; j0 += block) { // a block of features in registers, walked along the keys
      const int64_t nb = dim - j0 < block ? dim - j0 : block;
      A out[block] = {};
      if (nb == block) {
        for (int64_t t = first; t < length; t++) {
          const T *v = values + t * dim + j0;
          const A p = s[t];
#pragma omp simd
          for (int64_t j = 0; j < block; j++) out[j] += p * load(v[j]);
        }
      } else {
        for (int64_t t = first; t < length; t++)
          for (int64_t j = 0; j < nb; j++) out[j] += A(s[t]) * load(values[t * dim + j0 + j]);
      }
      for (int64_t j = 0; j < nb; j++) y[g * dim + j0 + j] = store<T>(out[j] / A(sum));
    }
  }
}

template <class T>
static void weigh(T *z, int64_t columns, int64_t first, int64_t last, double scale, double cap) {
  using A = Acc<T>;
  for (int64_t j = 0; j < first; j++) z[j] = store<T>(A(0));
  for (int64_t j = last; j < columns; j++) z[j] = store<T>(A(0));
  if (cap > 0) {
#pragma omp simd
    for (int64_t j = first; j < last; j++) z[j] = store<T>(A(cap) * fast_tanh(load(z[j]) * A(scale / cap)));
  } else {
#pragma omp simd
    for (int64_t j = first; j < last; j++) z[j] = store<T>(load(z[j]) * A(scale));
  }
  A top = load(z[first]), sum = 0;
#pragma omp simd reduction(max : top)
  for (int64_t j = first; j < last; j++) {
    A x = load(z[j]);
    top = x > top ? x : top;
  }
#pragma omp simd reduction(+ : sum)
  for (int64_t j = first; j < last; j++) sum += fast_exp(load(z[j]) - top);
  const A share = A(1) / sum;
#pragma omp simd
  for (int64_t j = first; j < last; j++) z[j] = store<T>(fast_exp(load(z[j]) - top) * share);
}

template <class T>
static void weigh_back(const T *z, const T *p, T *dp, int64_t columns, int64_t first, int64_t last, double scale, double cap) {
  using A = Acc<T>;
  for (int64_t j = 0; j < first; j++) dp[j] = store<T>(A(0));
  for (int64_t j = last; j < columns; j++) dp[j] = store<T>(A(0));
  A dot = 0;
#pragma omp simd reduction(+ : dot)
  for (int64_t j = first; j < last; j++) dot += load(p[j]) * load(dp[j]);
  if (cap > 0) {
#pragma omp simd
    for (int64_t j = first; j < last; j++) {
      const A t = fast_tanh(load(z[j]) * A(scale / cap));
      dp[j] = store<T>(load(p[j]) * (load(dp[j]) - dot) * (A(1) - t * t) * A(scale));
    }
  } else {
#pragma omp simd
    for (int64_t j = first; j < last; j++) dp[j] = store<T>(load(p[j]) * (load(dp[j]) - dot) * A(scale));
  }
}

// The values of a block's codes.
static inline void nf4_levels(const uint8_t *codes, float *level) {
#if defined(HONE_AVX512)
  const __m512 table = _mm512_loadu_ps(kNF4Levels);
  const __m512i lo = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23), hi = _mm512_add_epi32(lo, _mm512_set1_epi32(8));
  for (int i = 0; i < kNF4Block / 2; i += 16) {
    const __m512i pairs = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(codes + i)));
    const __m512 even = _mm512_permutexvar_ps(_mm512_srli_epi32(pairs, 4), table); // four bits of the index count
    const __m512 odd = _mm512_permutexvar_ps(pairs, table);
    _mm512_storeu_ps(level + 2 * i, _mm512_permutex2var_ps(even, lo, odd));
    _mm512_storeu_ps(level + 2 * i + 16, _mm512_permutex2var_ps(even, hi, odd));
  }
#elif defined(HONE_AVX2)
  const __m256 low = _mm256_loadu_ps(kNF4Levels), high = _mm256_loadu_ps(kNF4Levels + 8);
  auto look = [&](__m256i code) { // three bits choose within a half, the fourth, moved to the sign, between them
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, code), _mm256_permutevar8x32_ps(high, code), _mm256_castsi256_ps(_mm256_slli_epi32(code, 28)));
  };
  for (int i = 0; i < kNF4Block / 2; i += 8) {
    const __m256i pairs = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(codes + i)));
    const __m256 even = look(_mm256_srli_epi32(pairs, 4)), odd = look(pairs);
    const __m256 lo = _mm256_unpacklo_ps(even, odd), hi = _mm256_unpackhi_ps(even, odd);
    _mm256_storeu_ps(level + 2 * i, _mm256_permute2f128_ps(lo, hi, 0x20));
    _mm256_storeu_ps(level + 2 * i + 8, _mm256_permute2f128_ps(lo, hi, 0x31));
  }
#else
  for (int i = 0; i < kNF4Block / 2; i++) {
    level[2 * i] = kNF4Levels[codes[i] >> 4];
    level[2 * i + 1] = kNF4Levels[codes[i] & 15];
  }
#endif
}

template <class T>
static void nf4(const uint8_t *codes, const float *scales, T *y, int64_t first, int64_t n) {
  for (int64_t i = first; i < first + n;) {
    const int64_t block = i / kNF4Block, skip = i % kNF4Block;
    const int64_t count = first + n - i < kNF4Block - skip ? first + n - i : kNF4Block - skip;
    float level[kNF4Block];
    nf4_levels(codes + block * (kNF4Block / 2), level);
    const float scale = scales[block - first / kNF4Block];
    if (count == kNF4Block) {
#pragma omp simd
      for (int64_t j = 0; j < kNF4Block; j++) y[j] = store<T>(level[j] * scale);
    } else {
      for (int64_t j = 0; j < count; j++) y[j] = store<T>(level[skip + j] * scale);
    }
    y += count;
    i += count;
  }
}

static void adamw(float *w, float *g, float *m, float *v, int64_t n, float scale, float lr, float beta1, float beta2, float eps,
                  float decay, float correction1, float correction2) {
  const float step = lr / correction1, spread = 1 / std::sqrt(correction2), keep = 1 - lr * decay, one1 = 1 - beta1, one2 = 1 - beta2;
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const v16 gi = load16(g + i) * scale;
    const v16 mi = load16(m + i) + (gi - load16(m + i)) * one1;
    const v16 vi = load16(v + i) * beta2 + gi * gi * one2;
    store16(m + i, mi);
    store16(v + i, vi);
    store16(w + i, load16(w + i) * keep - step * mi / (root16(vi) * spread + eps));
    store16(g + i, v16{});
  }
  for (; i < n; i++) {
    const float gi = g[i] * scale;
    const float mi = m[i] + (gi - m[i]) * one1, vi = v[i] * beta2 + gi * gi * one2;
    m[i] = mi;
    v[i] = vi;
    w[i] = w[i] * keep - step * mi / (std::sqrt(vi) * spread + eps);
    g[i] = 0;
  }
}

static void lion(float *w, float *g, float *m, int64_t n, float scale, float lr, float beta1, float beta2, float decay) {
  const float keep = 1 - lr * decay;
#pragma omp simd
  for (int64_t i = 0; i < n; i++) {
    const float gi = g[i] * scale, c = m[i] * beta1 + gi * (1 - beta1);
    w[i] = w[i] * keep - (c > 0 ? lr : c < 0 ? -lr : 0.f);
    m[i] = m[i] * beta2 + gi * (1 - beta2);
    g[i] = 0;
  }
}

static void squares(const float *g, int64_t width, int64_t rows, int64_t columns, float scale, float eps, float *row, float *column) {
  for (int64_t i = 0; i < rows; i++, g += width) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < columns; j++) {
      const float gi = g[j] * scale, square = gi * gi + eps;
      sum += square;
      column[j] += square;
    }
    row[i] = sum;
  }
}

static double factored_norm(const float *g, int64_t width, int64_t rows, int64_t columns, float scale, const float *r, const float *c) {
  double total = 0;
  for (int64_t i = 0; i < rows; i++, g += width) {
    const float ri = r[i] * scale;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < columns; j++) {
      const float u = ri * c[j] * g[j];
      sum += u * u;
    }
    total += sum;
  }
  return total;
}

static void factored(float *w, float *g, int64_t width, int64_t rows, int64_t columns, float scale, const float *r, const float *c, float keep) {
  for (int64_t i = 0; i < rows; i++, w += width, g += width) {
    const float ri = r[i] * scale;
#pragma omp simd
    for (int64_t j = 0; j < columns; j++) {
      w[j] = w[j] * keep - ri * c[j] * g[j];
      g[j] = 0;
    }
  }
}

static double sum_squares(const float *x, int64_t n) {
  double total = 0;
  for (int64_t i = 0; i < n; i += 4096) {
    const int64_t end = i + 4096 < n ? i + 4096 : n;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = i; j < end; j++) sum += x[j] * x[j];
    total += sum;
  }
  return total;
}

// SplitMix64's finaliser (Steele, Lea & Flood 2014) over (seed, index): a generator without state.
static void dropout(const float *x, float *y, int64_t n, uint64_t seed, uint64_t offset, float p) {
  const uint32_t limit = uint32_t(double(p) * 4294967296.0);
  const float scale = 1 / (1 - p);
  for (int64_t i = 0; i < n; i++) {
    uint64_t z = seed + (offset + uint64_t(i) + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    y[i] = uint32_t(z) < limit ? 0.0f : x[i] * scale;
  }
}

template <class T>
static constexpr Table<T> table() {
  return {rope<T>, swiglu<T>, swiglu_back<T>, geglu<T>, geglu_back<T>,
          gelu<T>, gelu_back<T>, cross_entropy<T>, log_probs<T>, log_probs_back<T>, cap<T>, cap_back<T>, skinny<T, T>, attend<T>, weigh<T>, weigh_back<T>, nf4<T>};
}
template <class X, class Y>
static constexpr Norms<X, Y> norms() {
  return {rmsnorm<X, Y>, rmsnorm_back<X, Y>, layernorm<X, Y>, layernorm_back<X, Y>};
}
extern const Kernels kTable;
const Kernels kTable = {table<float>(), table<double>(), table<bf16>(), norms<float, float>(), norms<double, double>(), norms<bf16, bf16>(),
                        norms<float, bf16>(), skinny<float, bf16>, adamw, lion, squares, factored_norm, factored, sum_squares, dropout};

} // namespace hone::HONE_ISA
