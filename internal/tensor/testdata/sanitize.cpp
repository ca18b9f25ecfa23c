// Every kernel on shapes that are a multiple of nothing, for the address and undefined-behaviour sanitizers: `just sanitize`.
// Buffers are exactly as long as the kernels may read and write. What they compute is tested in Go.
#include <cstdio>
#include <vector>

#include "../kernels.h"
using namespace hone;

template <class X, class Y>
static void norms_of(const Norms<X, Y> &k, int64_t rows, int64_t dim) {
  std::vector<X> x(rows * dim), s(rows * dim), dx(rows * dim);
  std::vector<Y> r(rows * dim), y(rows * dim), dr(rows * dim);
  std::vector<Acc<X>> w(dim), b(dim), mean(rows), rstd(rows), dw(dim), db(dim);
  k.rmsnorm(x.data(), dim, r.data(), w.data(), s.data(), y.data(), rstd.data(), rows, dim, 1e-5, 0);
  k.rmsnorm_back(y.data(), x.data(), s.data(), dim, w.data(), rstd.data(), dx.data(), dr.data(), dw.data(), rows, dim, 0);
  k.layernorm(x.data(), r.data(), w.data(), b.data(), s.data(), y.data(), mean.data(), rstd.data(), rows, dim, 1e-5);
  k.layernorm_back(y.data(), x.data(), s.data(), w.data(), mean.data(), rstd.data(), dx.data(), dr.data(), dw.data(), db.data(), rows, dim);
}

template <class T>
static void rows_of(const Table<T> &k, int64_t rows, int64_t dim) {
  using A = Acc<T>;
  std::vector<T> x(rows * dim), y(rows * dim), dx(rows * dim), gu(rows * 2 * dim), dgu(rows * 2 * dim);
  std::vector<A> weight(rows, 1), logp(rows), lse(rows), stats(3 * rows);
  std::vector<int64_t> label(rows, dim - 1), position(rows, 2);
  k.geglu(gu.data(), y.data(), rows, dim);
  k.geglu_back(y.data(), gu.data(), dgu.data(), rows, dim);
  k.gelu(x.data(), y.data(), rows * dim);
  k.gelu_back(y.data(), x.data(), dx.data(), rows * dim);
  std::vector<T> p(dim);
  for (int64_t i = 0; i < dim; i++) {
    k.weigh(p.data(), dim, i / 2, i + 1, 0.1, i % 2);
    k.weigh_back(x.data(), p.data(), dx.data(), dim, i / 2, i + 1, 0.1, i % 2);
  }
  k.swiglu(gu.data(), y.data(), rows, dim);
  k.swiglu_back(y.data(), gu.data(), dgu.data(), rows, dim);
  k.cross_entropy(y.data(), label.data(), weight.data(), true, logp.data(), stats.data(), rows, dim);
  k.log_probs(x.data(), label.data(), A(0.5), logp.data(), lse.data(), stats.data(), rows, dim);
  k.log_probs_back(y.data(), label.data(), A(0.5), lse.data(), weight.data(), rows, dim);
  k.cap(y.data(), rows * dim, 30);
  k.cap_back(x.data(), y.data(), rows * dim, 30);
  if (dim % 2 == 0) {
    std::vector<float> cos(3 * dim / 2), sin(3 * dim / 2);
    k.rope(gu.data(), 2 * dim, dgu.data(), cos.data(), sin.data(), position.data(), rows, 2, dim, dim, 1);
  }
  std::vector<uint8_t> codes((rows * dim + kNF4Block - 1) / kNF4Block * kNF4Block / 2, 0x5a);
  std::vector<float> scales(codes.size() / 32, 2);
  for (int64_t i = 0; i < rows; i++) k.nf4(codes.data(), scales.data() + i * dim / kNF4Block, y.data() + i * dim, i * dim, dim);
  for (int64_t n : {1, 15, 16, 31, 33, 71}) {
    std::vector<T> matrix(n * dim), bias(n), out(rows * n);
    k.skinny(x.data(), matrix.data(), bias.data(), out.data(), rows, dim, n, 0, n);
    std::vector<bf16> half(n * dim);
    if constexpr (sizeof(T) == 4) kernels().skinny_narrow(x.data(), half.data(), bias.data(), out.data(), rows, dim, n, 0, n);
  }
  std::vector<T> q(3 * dim), o(3 * dim);
  std::vector<float> scores(3 * rows);
  k.attend(q.data(), x.data(), x.data(), o.data(), scores.data(), 3, dim, 0, rows, 0.1, 0);
  k.attend(q.data(), x.data(), x.data(), o.data(), scores.data(), 3, dim, rows / 2, rows, 0.1, 50);
}

int main() {
  const Kernels &k = kernels();
  for (int64_t rows : {1, 2, 3, 5, 7, 32})
    for (int64_t dim : {1, 3, 15, 16, 17, 64, 83}) {
      norms_of(k.norms_f32, rows, dim);
      norms_of(k.norms_f64, rows, dim);
      norms_of(k.norms_b16, rows, dim);
      norms_of(k.norms_mixed, rows, dim);
      rows_of(k.f32, rows, dim);
      rows_of(k.f64, rows, dim);
      rows_of(k.b16, rows, dim);
    }
  for (int64_t n : {1, 15, 16, 17, 4097}) {
    std::vector<float> a(n), b(n), c(n), d(n), e(n);
    k.adamw(a.data(), b.data(), c.data(), d.data(), n, 1, 1e-3, 0.9, 0.99, 1e-8, 0.1, 0.1, 0.1);
    k.lion(a.data(), b.data(), c.data(), n, 1, 1e-3, 0.9, 0.99, 0.1);
    k.squares(a.data(), n, 1, n, 1, 1e-30, d.data(), e.data());
    k.factored_norm(a.data(), n, 1, n, 1, d.data(), e.data());
    k.factored(b.data(), a.data(), n, 1, n, 1, d.data(), e.data(), 1);
    k.sum_squares(a.data(), n);
    k.dropout(a.data(), e.data(), n, 1, 2, 0.5);
  }
  puts("kernels: clean");
}
