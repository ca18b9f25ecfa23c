// RMSNorm (Zhang & Sennrich 2019), with the residual addition before it in the same pass.
#include "composite.hpp"
using namespace hone;

namespace {
// x: [..., dim], last dimension dense, the others collapsible to one stride. Returns {sum, out, rstd}; sum is x where residual is absent.
struct Forward { Tensor sum, out, rstd; };
int64_t row_stride(const Tensor &x) { // of [rows, heads, dim] the heads must be dense
  if (x.dim() == 2) return x.stride(0);
  TORCH_CHECK(x.is_contiguous(), "rmsnorm: not contiguous");
  return x.size(-1);
}
// A device's, where the row fits what a pass back sums in.
const hone_cuda_api *kernels_for(const Tensor &x) {
  return norm_fits(x.size(-1), acc_dtype(x) == at::kDouble ? 8 : 4) ? device_kernels(x) : nullptr;
}
Forward forward(const Tensor &x, const optional<Tensor> &r, const Tensor &w, double eps, double shift, at::ScalarType to) {
  TORCH_CHECK(x.dim() > 0 && x.size(-1) > 0 && x.stride(-1) == 1 && w.numel() == x.size(-1) && w.is_contiguous(), "rmsnorm: x ", x.sizes(), ", weight ", w.sizes());
  TORCH_CHECK(!r || (r->is_contiguous() && r->sizes() == x.sizes()), "rmsnorm: residual of another shape");
  TORCH_CHECK(w.scalar_type() == acc_dtype(x) && (!r || r->scalar_type() == to), "rmsnorm: a weight of ", w.scalar_type(), " or a residual of another dtype than ", to);
  auto device = kernels_for(x);
  if (composite(x) && !device) {
    Tensor s = r ? x + *r : x;
    auto n = stock::rmsnorm(s, w, eps, shift, to);
    return {s, n.out, n.rstd};
  }
  int64_t dim = x.size(-1), rows = x.numel() / dim, xs = row_stride(x);
  Forward f{r ? at::empty(x.sizes(), x.options()) : x, at::empty(x.sizes(), x.options().dtype(to)), at::empty({rows}, x.options().dtype(acc_dtype(x)))};
  if (device) {
    launched(device->rmsnorm(int(x.scalar_type()), int(to), x.data_ptr(), xs, r ? r->data_ptr() : nullptr, w.data_ptr(), r ? f.sum.data_ptr() : nullptr,
                             f.out.data_ptr(), f.rstd.data_ptr(), rows, dim, eps, shift));
    return f;
  }
  dispatch_norms(x, to, [&](auto stream, auto part, auto &k) {
    using X = decltype(stream);
    using Y = decltype(part);
    at::parallel_for(0, rows, grain(dim), [&](int64_t a, int64_t b) {
      k.rmsnorm(ptr<X>(x) + a * xs, xs, r ? ptr<Y>(*r) + a * dim : nullptr, ptr<Acc<X>>(w), r ? ptr<X>(f.sum) + a * dim : nullptr,
                ptr<Y>(f.out) + a * dim, ptr<Acc<X>>(f.rstd) + a, b - a, dim, eps, shift);
    });
  });
  return f;
}

struct RMSNorm : Function<RMSNorm> {
  static variable_list forward(AutogradContext *c, const Tensor &x, const optional<Tensor> &r, const Tensor &w, double eps, double shift, at::ScalarType to) {
    auto f = ::forward(x, r, w, eps, shift, to);
    c->save_for_backward({f.sum, w, f.rstd});
    c->saved_data["shift"] = shift;
    c->saved_data["residual"] = r.has_value();
    c->saved_data["to"] = int64_t(to);
    if (!r) return {f.out};
    return {f.sum, f.out};
  }
  static variable_list backward(AutogradContext *c, variable_list g) {
    auto s = c->get_saved_variables();
    const Tensor &sum = s[0], &w = s[1], &rstd = s[2];
    bool residual = c->saved_data["residual"].toBool();
    double shift = c->saved_data["shift"].toDouble();
    Tensor dy = residual ? g[1] : g[0], ds = residual ? g[0] : Tensor();
    auto to = at::ScalarType(c->saved_data["to"].toInt());
    if (!dy.defined()) return {ds, residual ? ds.to(to) : Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
    auto device = kernels_for(sum);
    if (composite(sum) && !device) {
      auto [dx, dw] = stock::rmsnorm_back(dy, sum, w, rstd, shift, w.requires_grad());
      if (w.requires_grad()) grad_of(w).add_(dw);
      auto d = stock::joined(dx, ds, sum, residual, to);
      return {d[0], d[1], Tensor(), Tensor(), Tensor(), Tensor()};
    }
    dy = dy.contiguous();
    if (ds.defined()) ds = ds.contiguous();
    int64_t dim = sum.size(-1), rows = sum.numel() / dim, ss = row_stride(sum);
    Tensor dx = at::empty(sum.sizes(), sum.options()), dr = residual ? dx : Tensor();
    bool narrow = residual && to != sum.scalar_type();
    if (narrow) dr = at::empty(sum.sizes(), sum.options().dtype(to));
    bool train = w.requires_grad();
    Tensor dw = train ? at::zeros({device ? norm_blocks(rows) : kBlocks, dim}, rstd.options()) : Tensor();
    if (device) {
      launched(device->rmsnorm_back(int(sum.scalar_type()), int(to), dy.data_ptr(), data_of(ds), sum.data_ptr(), ss, w.data_ptr(), rstd.data_ptr(),
                                    dx.data_ptr(), narrow ? dr.data_ptr() : nullptr, data_of(dw), rows, dim, shift));
      if (train) grad_of(w).add_(dw.sum(0));
      return {dx, dr, Tensor(), Tensor(), Tensor(), Tensor()};
    }
    dispatch_norms(sum, to, [&](auto stream, auto part, auto &k) {
      using X = decltype(stream);
      using Y = decltype(part);
      at::parallel_for(0, kBlocks, 1, [&](int64_t b0, int64_t b1) {
        for (int64_t b = b0; b < b1; b++) {
          int64_t i = rows * b / kBlocks, e = rows * (b + 1) / kBlocks;
          k.rmsnorm_back(ptr<Y>(dy) + i * dim, ds.defined() ? ptr<X>(ds) + i * dim : nullptr, ptr<X>(sum) + i * ss, ss, ptr<Acc<X>>(w),
                         ptr<Acc<X>>(rstd) + i, ptr<X>(dx) + i * dim, narrow ? ptr<Y>(dr) + i * dim : nullptr,
                         train ? ptr<Acc<X>>(dw) + b * dim : nullptr, e - i, dim, shift);
        }
      });
    });
    if (train) grad_of(w).add_(dw.sum(0));
    return {dx, dr, Tensor(), Tensor(), Tensor(), Tensor()};
  }
};
} // namespace

// x: the stream, [..., dim]; residual and out are of dtype `to`, which is the stream's but in mixed precision; weight: [dim], float32
// (float64 with float64).
extern "C" int hone_rmsnorm(hten *sum, hten *out, hten x, hten residual, hten weight, double eps, double shift, int to, char **err) {
  GUARD(
    auto y = at::ScalarType(to);
    if (!recording({T(x), O(residual), T(weight)})) {
      auto f = ::forward(T(x), O(residual), T(weight), eps, shift, y);
      if (residual) *sum = give(f.sum);
      *out = give(f.out);
      return 0;
    }
    auto v = RMSNorm::apply(T(x), O(residual), T(weight), eps, shift, y);
    if (residual) *sum = give(v[0]);
    *out = give(v.back()))
}
