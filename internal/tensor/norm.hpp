// RMSNorm (Zhang & Sennrich 2019), with the residual addition before it in the same pass.
#include "ops_common.h"
using namespace hone;

namespace {
// x: [..., dim], last dimension dense, the others collapsible to one stride. Returns {sum, out, rstd}; sum is x where residual is absent.
struct Forward { Tensor sum, out, rstd; };
int64_t row_stride(const Tensor &x) { // of [rows, heads, dim] the heads must be dense
  if (x.dim() == 2) return x.stride(0);
  TORCH_CHECK(x.is_contiguous(), "rmsnorm: not contiguous");
  return x.size(-1);
}
Forward forward(const Tensor &x, const optional<Tensor> &r, const Tensor &w, double eps, double shift) {
  TORCH_CHECK(x.stride(-1) == 1 && w.numel() == x.size(-1) && w.is_contiguous(), "rmsnorm: x ", x.sizes(), ", weight ", w.sizes());
  TORCH_CHECK(!r || (r->is_contiguous() && r->sizes() == x.sizes()), "rmsnorm: residual of another shape");
  TORCH_CHECK(w.scalar_type() == x.scalar_type() && (!r || r->scalar_type() == x.scalar_type()), "rmsnorm: dtypes differ");
  int64_t dim = x.size(-1), rows = x.numel() / dim, xs = row_stride(x);
  Forward f{r ? at::empty(x.sizes(), x.options()) : x, at::empty(x.sizes(), x.options()), at::empty({rows}, x.options().dtype(acc_dtype(x)))};
  dispatch(x, [&](auto zero, auto &k) {
    using K = decltype(zero);
    at::parallel_for(0, rows, grain(dim), [&](int64_t a, int64_t b) {
      k.rmsnorm(ptr<K>(x) + a * xs, xs, r ? ptr<K>(*r) + a * dim : nullptr, ptr<K>(w), r ? ptr<K>(f.sum) + a * dim : nullptr,
                ptr<K>(f.out) + a * dim, ptr<Acc<K>>(f.rstd) + a, b - a, dim, eps, shift);
    });
  });
  return f;
}

struct RMSNorm : Function<RMSNorm> {
  static variable_list forward(AutogradContext *c, const Tensor &x, const optional<Tensor> &r, const Tensor &w, double eps, double shift) {
    auto f = ::forward(x, r, w, eps, shift);
    c->save_for_backward({f.sum, w, f.rstd});
    c->saved_data["shift"] = shift;
    c->saved_data["residual"] = r.has_value();
    if (!r) return {f.out};
    return {f.sum, f.out};
  }
  static variable_list backward(AutogradContext *c, variable_list g) {
    auto s = c->get_saved_variables();
    const Tensor &sum = s[0], &w = s[1], &rstd = s[2];
    bool residual = c->saved_data["residual"].toBool();
    double shift = c->saved_data["shift"].toDouble();
    Tensor dy = residual ? g[1] : g[0], ds = residual ? g[0] : Tensor();
    if (!dy.defined()) return {ds, ds, Tensor(), Tensor(), Tensor()};
    dy = dy.contiguous();
    if (ds.defined()) ds = ds.contiguous();
    int64_t dim = sum.size(-1), rows = sum.numel() / dim, ss = row_stride(sum);
    Tensor dx = at::empty(sum.sizes(), sum.options());
    bool train = w.requires_grad();
    Tensor dw = train ? at::zeros({kBlocks, dim}, rstd.options()) : Tensor();
    dispatch(sum, [&](auto zero, auto &k) {
      using K = decltype(zero);
      at::parallel_for(0, kBlocks, 1, [&](int64_t b0, int64_t b1) {
        for (int64_t b = b0; b < b1; b++) {
          int64_t i = rows * b / kBlocks, e = rows * (b + 1) / kBlocks;
          k.rmsnorm_back(ptr<K>(dy) + i * dim, ds.defined() ? ptr<K>(ds) + i * dim : nullptr, ptr<K>(sum) + i * ss, ss, ptr<K>(w),
                         ptr<Acc<K>>(rstd) + i, ptr<K>(dx) + i * dim, train ? ptr<Acc<K>>(dw) + b * dim : nullptr, e - i, dim, shift);
        }
      });
    });
    if (train) grad_of(w).add_(dw.sum(0));
    return {dx, residual ? dx : Tensor(), Tensor(), Tensor(), Tensor()};
  }
};
} // namespace

extern "C" int hone_rmsnorm(hten *sum, hten *out, hten x, hten residual, hten weight, double eps, double shift, char **err) {
  GUARD(
    if (!recording({T(x), O(residual), T(weight)})) {
      auto f = ::forward(T(x), O(residual), T(weight), eps, shift);
      if (residual) *sum = give(f.sum);
      *out = give(f.out);
      return 0;
    }
    auto v = RMSNorm::apply(T(x), O(residual), T(weight), eps, shift);
    if (residual) *sum = give(v[0]);
    *out = give(v.back()))
}
