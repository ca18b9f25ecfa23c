// What every operator file needs: error guard, optional tensors, the kernel table of a dtype, direct gradients.
#pragma once
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <atomic>
#include <cstring>
#include <vector>

#include "kernels.h"
#include "ops.h"
#include "plugin/plugin.h"

namespace hone {
using at::Tensor;
using std::optional;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

inline const Tensor &T(hten p) {
  TORCH_CHECK(p && static_cast<Tensor *>(p)->defined(), "a tensor is absent");
  return *static_cast<Tensor *>(p);
}
inline optional<Tensor> O(hten p) { return p ? optional<Tensor>(T(p)) : std::nullopt; }
inline hten give(Tensor t) { return new Tensor(std::move(t)); }

template <class S> struct DtypeOf;
template <> struct DtypeOf<float> { using type = float; static const Table<float> &table() { return kernels().f32; } };
template <> struct DtypeOf<double> { using type = double; static const Table<double> &table() { return kernels().f64; } };
template <> struct DtypeOf<c10::BFloat16> { using type = bf16; static const Table<bf16> &table() { return kernels().b16; } };

template <class K>
K *ptr(const Tensor &t) { return static_cast<K *>(t.data_ptr()); }

// Calls f with the kernel type of t's dtype and its table: dispatch(x, [&](auto zero, auto &kernel) { using K = decltype(zero); … }).
template <class F>
void dispatch(const Tensor &t, F f) {
  switch (t.scalar_type()) {
  case at::kFloat: f(float(), kernels().f32); break;
  case at::kDouble: f(double(), kernels().f64); break;
  case at::kBFloat16: f(bf16(), kernels().b16); break;
  default: TORCH_CHECK(false, "no kernel for dtype ", t.scalar_type());
  }
}
// The same for the norms of a stream of x's dtype whose parts are of dtype y: f(X(), Y(), norms).
template <class F>
void dispatch_norms(const Tensor &x, at::ScalarType y, F f) {
  const Kernels &k = kernels();
  if (x.scalar_type() == at::kFloat && y == at::kFloat) f(float(), float(), k.norms_f32);
  else if (x.scalar_type() == at::kDouble && y == at::kDouble) f(double(), double(), k.norms_f64);
  else if (x.scalar_type() == at::kBFloat16 && y == at::kBFloat16) f(bf16(), bf16(), k.norms_b16);
  else if (x.scalar_type() == at::kFloat && y == at::kBFloat16) f(float(), bf16(), k.norms_mixed);
  else TORCH_CHECK(false, "no norm of ", x.scalar_type(), " to ", y);
}
// Whether t takes the composite of libtorch's operations (composite.hpp) instead of a kernel of our own for the processor: what lies on a
// device does, and in tests everything.
inline bool composites = false;
inline bool composite(const Tensor &t) { return composites || !t.is_cpu(); }
// The kernels of our own for t's device, which go before a composite; null where there are none.
inline const hone_cuda_api *plugin = nullptr; // once it is open
inline const hone_cuda_api *device_kernels(const Tensor &t) { return !composites && t.is_cuda() && t.numel() > 0 ? plugin : nullptr; }
inline void launched(int error) { TORCH_CHECK(error == 0, "a kernel was not launched: CUDA's error ", error); }
inline void *data_of(const Tensor &t) { return t.defined() ? t.data_ptr() : nullptr; }

// Composites take either dtype of control.
inline void check_control(const char *op, const Tensor &w, const Tensor &control) {
  TORCH_CHECK(control.numel() == 4 && control.is_contiguous() && control.is_cpu() == w.is_cpu() && (composite(w) || control.scalar_type() == at::kDouble),
              op, ": another control than that of its device");
}

inline at::ScalarType acc_dtype(const Tensor &t) { return t.scalar_type() == at::kDouble ? at::kDouble : at::kFloat; }

// Items of so much work each that a thread takes at least.
inline int64_t grain_of(int64_t work, int64_t least) { return std::max<int64_t>(1, least / std::max<int64_t>(1, work)); }
// Rows, so that one task touches about 64 KB.
inline int64_t grain(int64_t columns) { return grain_of(columns, 16384); }

// Blocks of rows whose weight gradients are summed apart: the sum does not depend on the threads.
constexpr int64_t kBlocks = 16;

// The gradient buffer of a leaf. Operators add to it where they compute the gradient, instead of handing autograd a tensor
// that it would add in a pass of its own: a weight's gradient is written once, by the GEMM.
inline Tensor &grad_of(const Tensor &leaf) {
  Tensor &g = const_cast<Tensor &>(leaf).mutable_grad();
  if (!g.defined()) g = at::zeros_like(leaf);
  return g;
}
// Whether libtorch would multiply matrices of x's dtype an element at a time, on one thread: bfloat16 on a processor without AVX-512. They
// are widened then, which is all that oneDNN does where it is fast: sums are in float32 and rounded once.
inline bool widens(const Tensor &x) {
#if defined(__x86_64__)
  static const bool slow = !(__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"));
#else
  static const bool slow = false;
#endif
  return slow && x.is_cpu() && x.scalar_type() == at::kBFloat16;
}
inline Tensor widened(const Tensor &x) { return widens(x) ? x.to(at::kFloat) : x; }
// a·b, of matrices or of batches of them.
inline Tensor multiplied(const Tensor &a, const Tensor &b) {
  return (a.dim() == 3 ? at::bmm(widened(a), widened(b)) : at::mm(widened(a), widened(b))).to(a.scalar_type());
}
// out = beta·out + alpha·a·b.
inline void gemm(Tensor out, const Tensor &a, const Tensor &b, double beta = 0, double alpha = 1) {
  if (widens(a)) out.copy_(beta == 0 ? at::mm(widened(a), widened(b)).mul_(alpha) : widened(out).addmm_(widened(a), widened(b), beta, alpha));
  else if (beta == 0 && alpha == 1) at::mm_out(out, a, b);
  else out.addmm_(a, b, beta, alpha);
}
// g += scale·a·b. A leaf of bfloat16 has a float32 gradient: the product is rounded as autograd would round it, then added.
inline void add_product(Tensor g, const Tensor &a, const Tensor &b, double scale = 1) {
  if (g.scalar_type() == a.scalar_type()) gemm(g, a, b, 1, scale);
  else if (g.is_cuda()) at::addmm_out(g, g, a, b, g.scalar_type(), 1, scale); // a GPU's product adds to float32 unrounded
  else g.add_(multiplied(a, b), scale);
}
// A frozen weight whose values bfloat16 holds exactly may be in it while products are in float32.
inline bool narrow(const Tensor &x, const Tensor &w) { return x.scalar_type() == at::kFloat && w.scalar_type() == at::kBFloat16; }

// Calls f(first row, those rows of w in float32), some rows at a time: what is held is small.
template <class F>
void each_wide(const Tensor &w, F f) {
  int64_t step = grain_of(w.size(1), 1 << 19);
  for (int64_t r = 0; r < w.size(0); r += step) f(r, w.narrow(0, r, std::min(step, w.size(0) - r)).to(at::kFloat));
}
// y = x·wᵀ and dx = dy·w, written to y and dx, for a weight that may be narrow. y and dx are of x's dtype, or float32.
inline void mm_into(Tensor y, const Tensor &x, const Tensor &w) {
  if (!narrow(x, w) && !widens(x)) {
    at::mm_out(y, x, w.t());
    return;
  }
  const Tensor wide = widened(x);
  each_wide(w, [&](int64_t r, const Tensor &v) {
    Tensor part = y.narrow(1, r, v.size(0));
    if (y.scalar_type() == at::kFloat) at::mm_out(part, wide, v.t());
    else part.copy_(at::mm(wide, v.t()));
  });
}
inline void mm_back_into(Tensor dx, const Tensor &dy, const Tensor &w) {
  if (!narrow(dy, w) && !widens(dy)) {
    at::mm_out(dx, dy, w);
    return;
  }
  const Tensor wide = widened(dy);
  Tensor sum = dx.scalar_type() == at::kFloat ? dx : at::empty(dx.sizes(), dx.options().dtype(at::kFloat));
  each_wide(w, [&](int64_t r, const Tensor &v) { sum.addmm_(wide.narrow(1, r, v.size(0)), v, r ? 1 : 0); });
  if (dx.scalar_type() != at::kFloat) dx.copy_(sum);
}

inline bool recording(std::initializer_list<optional<Tensor>> ts) {
  if (!at::GradMode::is_enabled()) return false;
  for (auto &t : ts)
    if (t && t->defined() && t->requires_grad()) return true;
  return false;
}
} // namespace hone

#define GUARD(...) \
  try { __VA_ARGS__; return 0; } \
  catch (const c10::Error &e) { *err = strdup(e.what_without_backtrace()); } \
  catch (const std::exception &e) { *err = strdup(e.what()); } \
  catch (...) { *err = strdup("unknown C++ exception"); } \
  return 1;
