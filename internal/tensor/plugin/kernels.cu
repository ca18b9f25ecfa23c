// Kernels of our own for a device, where operations of libtorch would pass over memory several times: the mathematics is that of
// kernels_impl.h, sums are in float32 (float64 of float64) and in one order.
#include <cuda_bf16.h>

#include "plugin.h"

extern "C" cudaStream_t hone_stream();

namespace {
using bf16 = __nv_bfloat16;
constexpr int kFloat = 6, kDouble = 7, kBFloat16 = 15; // at::ScalarType
constexpr int kThreads = 256;

template <class T> struct AccOf { using type = float; };
template <> struct AccOf<double> { using type = double; };
template <class T> using Acc = typename AccOf<T>::type;

template <class T> __device__ Acc<T> load(T x) { return x; }
template <> __device__ float load(bf16 x) { return __bfloat162float(x); }
template <class T> __device__ T store(Acc<T> x) { return x; }
template <> __device__ bf16 store<bf16>(float x) { return __float2bfloat16_rn(x); }

// N elements behind one another, read and written at once.
template <class T, int N> struct alignas(sizeof(T) * N) Pack { T v[N]; };
template <int N, class T> __device__ Pack<T, N> take(const T *p) { return *reinterpret_cast<const Pack<T, N> *>(p); }
template <int N, class T> __device__ void put(T *p, const Pack<T, N> &x) { *reinterpret_cast<Pack<T, N> *>(p) = x; }

// Whether rows of so many elements, at p, can be read N at a time.
template <int N, class T> bool packs(const T *p, int64_t row) { return row % N == 0 && reinterpret_cast<uintptr_t>(p) % (N * sizeof(T)) == 0; }
inline unsigned over(int64_t n, int64_t by) { return unsigned((n + by - 1) / by); }

template <class T, int N>
__global__ void rope(const T *x, int64_t xs, T *y, const float *cos, const float *sin, const int64_t *position, int heads, int dim, int half, int sign) {
  const int each = (dim - half) / N, i = blockIdx.y * kThreads + threadIdx.x; // half pairs and what is not rotated, of a head
  if (i >= heads * each) return;
  const int64_t row = blockIdx.x;
  const int h = i / each, j = i % each * N;
  x += row * xs + h * dim;
  y += (row * heads + h) * dim;
  if (j >= half) {
    put<N>(y + half + j, take<N>(x + half + j));
    return;
  }
  const Pack<float, N> c = take<N>(cos + position[row] * half + j), s = take<N>(sin + position[row] * half + j);
  const Pack<T, N> a = take<N>(x + j), b = take<N>(x + half + j);
  Pack<T, N> p, q;
#pragma unroll
  for (int k = 0; k < N; k++) {
    Acc<T> u = load(a.v[k]), v = load(b.v[k]), sk = Acc<T>(sign) * s.v[k];
    p.v[k] = store<T>(u * c.v[k] - v * sk);
    q.v[k] = store<T>(v * c.v[k] + u * sk);
  }
  put<N>(y + j, p);
  put<N>(y + half + j, q);
}
template <class T>
void rope(const void *x_, int64_t xs, void *y_, const float *cos, const float *sin, const int64_t *position, int64_t rows, int64_t heads, int64_t dim,
          int64_t rot, int sign) {
  const T *x = static_cast<const T *>(x_);
  T *y = static_cast<T *>(y_);
  const int64_t half = rot / 2, each = heads * (dim - half);
  if (packs<4>(x, xs) && packs<4>(y, dim) && packs<4>(cos, half) && packs<4>(sin, half))
    rope<T, 4><<<dim3(rows, over(each / 4, kThreads)), kThreads, 0, hone_stream()>>>(x, xs, y, cos, sin, position, heads, dim, half, sign);
  else
    rope<T, 1><<<dim3(rows, over(each, kThreads)), kThreads, 0, hone_stream()>>>(x, xs, y, cos, sin, position, heads, dim, half, sign);
}

// The units of a gate, and their derivatives.
struct Silu {
  template <class A> static __device__ A forward(A x) { return x / (1 + exp(-x)); }
  template <class A> static __device__ A back(A x) { A s = 1 / (1 + exp(-x)); return s * (1 + x * (1 - s)); }
};
struct Gelu { // the tanh form
  template <class A> static __device__ A inner(A x) { return tanh(A(0.7978845608028654) * (x + A(0.044715) * x * x * x)); }
  template <class A> static __device__ A forward(A x) { return A(0.5) * x * (1 + inner(x)); }
  template <class A> static __device__ A back(A x) {
    A t = inner(x);
    return A(0.5) * (1 + t) + A(0.5) * x * (1 - t * t) * A(0.7978845608028654) * (1 + A(3 * 0.044715) * x * x);
  }
};
// y = unit(gate)·up, or where dy is given the gradients by both in y [rows, 2f].
template <class Unit, class T, int N>
__global__ void gate(const T *dy, const T *gu, T *y, int64_t f) {
  const int64_t row = blockIdx.x, j = (int64_t(blockIdx.y) * kThreads + threadIdx.x) * N;
  if (j >= f) return;
  const Pack<T, N> g = take<N>(gu + row * 2 * f + j), u = take<N>(gu + row * 2 * f + f + j);
  Pack<T, N> p, q;
  if (!dy) {
#pragma unroll
    for (int k = 0; k < N; k++) p.v[k] = store<T>(Unit::forward(load(g.v[k])) * load(u.v[k]));
    put<N>(y + row * f + j, p);
    return;
  }
  const Pack<T, N> d = take<N>(dy + row * f + j);
#pragma unroll
  for (int k = 0; k < N; k++) {
    p.v[k] = store<T>(load(d.v[k]) * load(u.v[k]) * Unit::back(load(g.v[k])));
    q.v[k] = store<T>(load(d.v[k]) * Unit::forward(load(g.v[k])));
  }
  put<N>(y + row * 2 * f + j, p);
  put<N>(y + row * 2 * f + f + j, q);
}
template <class T>
void gate(bool gelu, const void *dy_, const void *gu_, void *y_, int64_t rows, int64_t f) {
  const T *dy = static_cast<const T *>(dy_), *gu = static_cast<const T *>(gu_);
  T *y = static_cast<T *>(y_);
  constexpr int N = 16 / sizeof(T);
  if (packs<N>(dy, f) && packs<N>(gu, f) && packs<N>(y, f)) {
    auto kernel = gelu ? gate<Gelu, T, N> : gate<Silu, T, N>;
    kernel<<<dim3(rows, over(f / N, kThreads)), kThreads, 0, hone_stream()>>>(dy, gu, y, f);
  } else {
    auto kernel = gelu ? gate<Gelu, T, 1> : gate<Silu, T, 1>;
    kernel<<<dim3(rows, over(f, kThreads)), kThreads, 0, hone_stream()>>>(dy, gu, y, f);
  }
}

// The sum over the threads of a row: a warp, or all of a block.
template <class A>
__device__ A summed(A x, A *shared) {
  for (int o = 16; o; o /= 2) x += __shfl_xor_sync(~0u, x, o);
  if (blockDim.y > 1) return x;
  __syncthreads(); // before it is read, another sum may be
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
  __syncthreads();
  x = 0;
  for (int i = 0; i < kThreads / 32; i++) x += shared[i];
  return x;
}

template <class X, class Y, int N>
__global__ void rmsnorm(const X *x, int64_t xs, const Y *r, const Acc<X> *w, X *s, Y *y, Acc<X> *rstd, int64_t rows, int dim, double eps, double shift) {
  using A = Acc<X>;
  __shared__ A warps[kThreads / 32];
  const int64_t row = int64_t(blockIdx.x) * blockDim.y + threadIdx.y;
  if (row >= rows) return; // with a warp a row: nobody waits for it
  x += row * xs;
  A squares = 0;
  for (int j = threadIdx.x * N; j < dim; j += blockDim.x * N) {
    Pack<X, N> a = take<N>(x + j);
    if (r) {
      Pack<Y, N> b = take<N>(r + row * dim + j);
#pragma unroll
      for (int k = 0; k < N; k++) a.v[k] = store<X>(load(a.v[k]) + load(b.v[k]));
      put<N>(s + row * dim + j, a);
    }
#pragma unroll
    for (int k = 0; k < N; k++) squares += load(a.v[k]) * load(a.v[k]);
  }
  const A rs = 1 / sqrt(summed(squares, warps) / A(dim) + A(eps));
  if (threadIdx.x == 0) rstd[row] = rs;
  if (r) x = s + row * dim; // what this thread wrote
  for (int j = threadIdx.x * N; j < dim; j += blockDim.x * N) {
    const Pack<X, N> a = take<N>(x + j);
    const Pack<A, N> v = take<N>(w + j);
    Pack<Y, N> out;
#pragma unroll
    for (int k = 0; k < N; k++) out.v[k] = store<Y>(load(a.v[k]) * rs * (v.v[k] + A(shift)));
    put<N>(y + row * dim + j, out);
  }
}

template <class X, class Y, int N>
__global__ void rmsnorm_back(const Y *dy, const X *ds, const X *s, int64_t ss, const Acc<X> *w, const Acc<X> *rstd, X *dx, Y *dr, Acc<X> *dw, int64_t rows,
                             int dim, double shift) {
  using A = Acc<X>;
  __shared__ A warps[kThreads / 32];
  extern __shared__ double memory[];
  A *own = reinterpret_cast<A *>(memory) + threadIdx.y * dim; // each thread its columns
  if (dw)
    for (int j = threadIdx.x * N; j < dim; j += blockDim.x * N)
      for (int k = 0; k < N; k++) own[j + k] = 0;
  for (int64_t row = int64_t(blockIdx.x) * blockDim.y + threadIdx.y; row < rows; row += int64_t(gridDim.x) * blockDim.y) {
    const Y *g = dy + row * dim;
    const X *x = s + row * ss;
    A dot = 0;
    for (int j = threadIdx.x * N; j < dim; j += blockDim.x * N) {
      const Pack<Y, N> a = take<N>(g + j);
      const Pack<X, N> b = take<N>(x + j);
      const Pack<A, N> v = take<N>(w + j);
#pragma unroll
      for (int k = 0; k < N; k++) dot += load(a.v[k]) * (v.v[k] + A(shift)) * load(b.v[k]);
    }
    const A rs = rstd[row], c = summed(dot, warps) * rs * rs / A(dim);
    for (int j = threadIdx.x * N; j < dim; j += blockDim.x * N) {
      const Pack<Y, N> a = take<N>(g + j);
      const Pack<X, N> b = take<N>(x + j);
      const Pack<A, N> v = take<N>(w + j);
      Pack<X, N> d, out;
      Pack<Y, N> narrow;
      if (ds) d = take<N>(ds + row * dim + j);
#pragma unroll
      for (int k = 0; k < N; k++) {
        A o = rs * (load(a.v[k]) * (v.v[k] + A(shift)) - load(b.v[k]) * c);
        out.v[k] = store<X>(ds ? o + load(d.v[k]) : o);
        narrow.v[k] = store<Y>(Acc<Y>(load(out.v[k])));
        if (dw) own[j + k] += load(a.v[k]) * load(b.v[k]) * rs;
      }
      put<N>(dx + row * dim + j, out);
      if (dr) put<N>(dr + row * dim + j, narrow);
    }
  }
  if (!dw) return;
  __syncthreads();
  own = reinterpret_cast<A *>(memory);
  for (int j = threadIdx.y * blockDim.x + threadIdx.x; j < dim; j += kThreads) {
    A sum = 0;
    for (int i = 0; i < blockDim.y; i++) sum += own[i * dim + j];
    dw[int64_t(blockIdx.x) * dim + j] = sum;
  }
}

inline dim3 norm_threads(int64_t dim) { return dim3(kThreads / norm_rows(dim), norm_rows(dim)); }
template <class X, class Y>
void rmsnorm(const void *x_, int64_t xs, const void *r_, const void *w_, void *s_, void *y_, void *rstd, int64_t rows, int64_t dim, double eps, double shift) {
  const X *x = static_cast<const X *>(x_);
  const Y *r = static_cast<const Y *>(r_);
  const Acc<X> *w = static_cast<const Acc<X> *>(w_);
  X *s = static_cast<X *>(s_);
  Y *y = static_cast<Y *>(y_);
  bool four = packs<4>(x, xs) && packs<4>(r, dim) && packs<4>(w, dim) && packs<4>(s, dim) && packs<4>(y, dim);
  auto kernel = four ? rmsnorm<X, Y, 4> : rmsnorm<X, Y, 1>;
  kernel<<<over(rows, norm_rows(dim)), norm_threads(dim), 0, hone_stream()>>>(x, xs, r, w, s, y, static_cast<Acc<X> *>(rstd), rows, dim, eps, shift);
}
template <class X, class Y>
void rmsnorm_back(const void *dy_, const void *ds_, const void *s_, int64_t ss, const void *w_, const void *rstd, void *dx_, void *dr_, void *dw, int64_t rows,
                  int64_t dim, double shift) {
  const Y *dy = static_cast<const Y *>(dy_);
  const X *ds = static_cast<const X *>(ds_), *s = static_cast<const X *>(s_);
  const Acc<X> *w = static_cast<const Acc<X> *>(w_);
  X *dx = static_cast<X *>(dx_);
  Y *dr = static_cast<Y *>(dr_);
  bool four = packs<4>(dy, dim) && packs<4>(ds, dim) && packs<4>(s, ss) && packs<4>(w, dim) && packs<4>(dx, dim) && packs<4>(dr, dim);
  auto kernel = four ? rmsnorm_back<X, Y, 4> : rmsnorm_back<X, Y, 1>;
  kernel<<<dw ? norm_blocks(rows) : over(rows, norm_rows(dim)), norm_threads(dim), dw ? norm_rows(dim) * dim * sizeof(Acc<X>) : 0, hone_stream()>>>(
      dy, ds, s, ss, w, static_cast<const Acc<X> *>(rstd), dx, dr, static_cast<Acc<X> *>(dw), rows, dim, shift);
}

// The largest of what was seen, and Σ exp(x - largest).
template <class A> struct Sum {
  A most = -INFINITY, sum = 0;
  __device__ void add(A other, A s) {
    const A now = max(most, other);
    if (now == -INFINITY) return;
    sum = sum * exp(most - now) + s * exp(other - now);
    most = now;
  }
};
template <class A, class T, int N>
__global__ void softmax(const A *z, A scale, const int64_t *label, A *logp, A *lse, T *dz, int64_t vocabulary) {
  __shared__ Sum<A> warps[32];
  const int64_t row = blockIdx.x, at = label[row];
  z += row * vocabulary;
  Sum<A> own;
  for (int64_t j = threadIdx.x * N; j < vocabulary; j += blockDim.x * N) {
    const Pack<A, N> x = take<N>(z + j);
    A most = -INFINITY, sum = 0;
#pragma unroll
    for (int k = 0; k < N; k++) most = max(most, scale * x.v[k]);
#pragma unroll
    for (int k = 0; k < N; k++) sum += exp(scale * x.v[k] - most);
    own.add(most, sum);
  }
  for (int o = 16; o; o /= 2) {
    const A most = __shfl_xor_sync(~0u, own.most, o), sum = __shfl_xor_sync(~0u, own.sum, o);
    own.add(most, sum);
  }
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = own;
  __syncthreads();
  own = warps[0];
  for (int i = 1; i < blockDim.x / 32; i++) own.add(warps[i].most, warps[i].sum);
  const A all = own.most + log(own.sum), one = scale * z[at] - all;
  if (threadIdx.x == 0) {
    if (logp) logp[row] = one;
    if (lse) lse[row] = all;
  }
  if (!dz) return;
  dz += row * vocabulary;
  for (int64_t j = threadIdx.x * N; j < vocabulary; j += blockDim.x * N) {
    const Pack<A, N> x = take<N>(z + j);
    Pack<T, N> p;
#pragma unroll
    for (int k = 0; k < N; k++) p.v[k] = store<T>(j + k == at ? expm1(one) : exp(scale * x.v[k] - all));
    put<N>(dz + j, p);
  }
}
template <class A, class T>
void softmax(const void *z_, double scale, const int64_t *label, void *logp, void *lse, void *dz_, int64_t rows, int64_t vocabulary) {
  const A *z = static_cast<const A *>(z_);
  T *dz = static_cast<T *>(dz_);
  auto kernel = packs<4>(z, vocabulary) && packs<4>(dz, vocabulary) ? softmax<A, T, 4> : softmax<A, T, 1>;
  kernel<<<rows, 1024, 0, hone_stream()>>>(z, A(scale), label, static_cast<A *>(logp), static_cast<A *>(lse), dz, vocabulary);
}

// Calls f with the type of a dtype; f of two for a norm's stream and parts.
template <class F>
int of(int dtype, F f) {
  if (dtype == kFloat) f(float());
  else if (dtype == kDouble) f(double());
  else if (dtype == kBFloat16) f(bf16());
  else return cudaErrorInvalidValue;
  return cudaGetLastError();
}
template <class F>
int of(int x, int y, F f) {
  if (x == kFloat && y == kFloat) f(float(), float());
  else if (x == kDouble && y == kDouble) f(double(), double());
  else if (x == kBFloat16 && y == kBFloat16) f(bf16(), bf16());
  else if (x == kFloat && y == kBFloat16) f(float(), bf16());
  else return cudaErrorInvalidValue;
  return cudaGetLastError();
}
} // namespace

extern "C" {
int hone_rope_kernel(int dtype, const void *x, int64_t xs, void *y, const float *cos, const float *sin, const int64_t *position, int64_t rows,
                     int64_t heads, int64_t dim, int64_t rot, int sign) {
  return of(dtype, [&](auto zero) { rope<decltype(zero)>(x, xs, y, cos, sin, position, rows, heads, dim, rot, sign); });
}
int hone_gate_kernel(int dtype, int gelu, const void *gu, void *y, int64_t rows, int64_t f) {
  return of(dtype, [&](auto zero) { gate<decltype(zero)>(gelu, nullptr, gu, y, rows, f); });
}
int hone_gate_back_kernel(int dtype, int gelu, const void *dy, const void *gu, void *dgu, int64_t rows, int64_t f) {
  return of(dtype, [&](auto zero) { gate<decltype(zero)>(gelu, dy, gu, dgu, rows, f); });
}
int hone_rmsnorm_kernel(int x, int y, const void *in, int64_t xs, const void *r, const void *w, void *s, void *out, void *rstd, int64_t rows, int64_t dim,
                        double eps, double shift) {
  return of(x, y, [&](auto stream, auto part) { rmsnorm<decltype(stream), decltype(part)>(in, xs, r, w, s, out, rstd, rows, dim, eps, shift); });
}
int hone_rmsnorm_back_kernel(int x, int y, const void *dy, const void *ds, const void *s, int64_t ss, const void *w, const void *rstd, void *dx, void *dr,
                             void *dw, int64_t rows, int64_t dim, double shift) {
  return of(x, y, [&](auto stream, auto part) { rmsnorm_back<decltype(stream), decltype(part)>(dy, ds, s, ss, w, rstd, dx, dr, dw, rows, dim, shift); });
}
int hone_softmax_kernel(int dtype, int to, const void *z, double scale, const int64_t *label, void *logp, void *lse, void *dz, int64_t rows,
                        int64_t vocabulary) {
  return of(dtype, to, [&](auto wide, auto part) {
    softmax<Acc<decltype(wide)>, decltype(part)>(z, scale, label, logp, lse, dz, rows, vocabulary);
  });
}
}
