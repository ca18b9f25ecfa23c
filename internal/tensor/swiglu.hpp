// SwiGLU and GeGLU (Shazeer 2020) on a fused gate-up projection: silu(gate)·up and gelu(gate)·up; GELU without a gate.
#include "composite.hpp"
using namespace hone;

namespace {
struct Silu {
  using Stock = stock::Silu;
  static constexpr bool gelu = false;
  template <class K> static auto forward(const Table<K> &k) { return k.swiglu; }
  template <class K> static auto back(const Table<K> &k) { return k.swiglu_back; }
};
struct Gelu {
  using Stock = stock::Gelu;
  static constexpr bool gelu = true;
  template <class K> static auto forward(const Table<K> &k) { return k.geglu; }
  template <class K> static auto back(const Table<K> &k) { return k.geglu_back; }
};

template <class Gate>
Tensor gate(const Tensor &gu) {
  TORCH_CHECK(gu.dim() == 2 && gu.is_contiguous() && gu.size(1) % 2 == 0, "gated unit: ", gu.sizes());
  int64_t rows = gu.size(0), f = gu.size(1) / 2;
  if (composite(gu) && !device_kernels(gu)) return stock::gate<typename Gate::Stock>(gu);
  Tensor y = at::empty({rows, f}, gu.options());
  if (auto k = device_kernels(gu)) {
    launched(k->gate(int(gu.scalar_type()), Gate::gelu, gu.data_ptr(), y.data_ptr(), rows, f));
    return y;
  }
  dispatch(gu, [&](auto zero, auto &k) {
    using K = decltype(zero);
    at::parallel_for(0, rows, grain(3 * f), [&](int64_t a, int64_t b) { Gate::forward(k)(ptr<K>(gu) + a * 2 * f, ptr<K>(y) + a * f, b - a, f); });
  });
  return y;
}
template <class Gate>
struct Gated : Function<Gated<Gate>> {
  static Tensor forward(AutogradContext *c, const Tensor &gu) {
    c->save_for_backward({gu});
    return gate<Gate>(gu);
  }
  static variable_list backward(AutogradContext *c, variable_list g) {
    Tensor gu = c->get_saved_variables()[0];
    if (composite(gu) && !device_kernels(gu)) return {stock::gate_back<typename Gate::Stock>(g[0], gu)};
    Tensor dy = g[0].contiguous(), dgu = at::empty_like(gu);
    int64_t rows = gu.size(0), f = gu.size(1) / 2;
    if (auto k = device_kernels(gu)) {
      launched(k->gate_back(int(gu.scalar_type()), Gate::gelu, dy.data_ptr(), gu.data_ptr(), dgu.data_ptr(), rows, f));
      return {dgu};
    }
    dispatch(gu, [&](auto zero, auto &k) {
      using K = decltype(zero);
      at::parallel_for(0, rows, grain(5 * f), [&](int64_t a, int64_t b) {
        Gate::back(k)(ptr<K>(dy) + a * f, ptr<K>(gu) + a * 2 * f, ptr<K>(dgu) + a * 2 * f, b - a, f);
      });
    });
    return {dgu};
  }
};

constexpr int64_t kGrain = 16384;
Tensor gelu(const Tensor &x) {
  TORCH_CHECK(x.is_contiguous(), "gelu: not contiguous");
  if (composite(x)) return at::gelu(x, "tanh");
  Tensor y = at::empty_like(x);
  dispatch(x, [&](auto zero, auto &k) {
    using K = decltype(zero);
    at::parallel_for(0, x.numel(), kGrain, [&](int64_t a, int64_t b) { k.gelu(ptr<K>(x) + a, ptr<K>(y) + a, b - a); });
  });
  return y;
}
struct GELU : Function<GELU> {
  static Tensor forward(AutogradContext *c, const Tensor &x) {
    c->save_for_backward({x});
    return ::gelu(x);
  }
  static variable_list backward(AutogradContext *c, variable_list g) {
    Tensor x = c->get_saved_variables()[0];
    if (composite(x)) return {at::gelu_backward(g[0], x, "tanh")};
    Tensor dy = g[0].contiguous(), dx = at::empty_like(x);
    dispatch(x, [&](auto zero, auto &k) {
      using K = decltype(zero);
      at::parallel_for(0, x.numel(), kGrain, [&](int64_t a, int64_t b) { k.gelu_back(ptr<K>(dy) + a, ptr<K>(x) + a, ptr<K>(dx) + a, b - a); });
    });
    return {dx};
  }
};
} // namespace

extern "C" {
// gate_up: [rows, 2f], gate first; out: [rows, f].
int hone_swiglu(hten *out, hten gate_up, char **err) {
  GUARD(*out = give(recording({T(gate_up)}) ? Gated<Silu>::apply(T(gate_up)) : gate<Silu>(T(gate_up))))
}
int hone_geglu(hten *out, hten gate_up, char **err) {
  GUARD(*out = give(recording({T(gate_up)}) ? Gated<Gelu>::apply(T(gate_up)) : gate<Gelu>(T(gate_up))))
}
// x: any shape, contiguous.
int hone_gelu(hten *out, hten x, char **err) { GUARD(*out = give(recording({T(x)}) ? GELU::apply(T(x)) : ::gelu(T(x)))) }
}
