// SwiGLU (Shazeer 2020) on a fused gate-up projection: silu(gate)·up.
#include "ops_common.h"
using namespace hone;

namespace {
Tensor forward(const Tensor &gu) {
  TORCH_CHECK(gu.dim() == 2 && gu.is_contiguous() && gu.size(1) % 2 == 0, "swiglu: ", gu.sizes());
  int64_t rows = gu.size(0), f = gu.size(1) / 2;
  Tensor y = at::empty({rows, f}, gu.options());
  dispatch(gu, [&](auto zero, auto &k) {
    using K = decltype(zero);
    at::parallel_for(0, rows, grain(3 * f), [&](int64_t a, int64_t b) { k.swiglu(ptr<K>(gu) + a * 2 * f, ptr<K>(y) + a * f, b - a, f); });
  });
  return y;
}
struct SwiGLU : Function<SwiGLU> {
  static Tensor forward(AutogradContext *c, const Tensor &gu) {
    c->save_for_backward({gu});
    return ::forward(gu);
  }
  static variable_list backward(AutogradContext *c, variable_list g) {
    Tensor gu = c->get_saved_variables()[0], dy = g[0].contiguous(), dgu = at::empty_like(gu);
    int64_t rows = gu.size(0), f = gu.size(1) / 2;
    dispatch(gu, [&](auto zero, auto &k) {
      using K = decltype(zero);
      at::parallel_for(0, rows, grain(5 * f), [&](int64_t a, int64_t b) {
        k.swiglu_back(ptr<K>(dy) + a * f, ptr<K>(gu) + a * 2 * f, ptr<K>(dgu) + a * 2 * f, b - a, f);
      });
    });
    return {dgu};
  }
};
} // namespace

// gate_up: [rows, 2f], gate first; out: [rows, f].
extern "C" int hone_swiglu(hten *out, hten gate_up, char **err) {
  GUARD(*out = give(recording({T(gate_up)}) ? SwiGLU::apply(T(gate_up)) : forward(T(gate_up))))
}
