// Rotary position embedding (Su et al. 2021) with the halves paired, as the Hugging Face checkpoints have it, and the split
// of a fused projection, whose gradients meet in one buffer.
#include "composite.hpp"
using namespace hone;

namespace {
// x: [rows, heads·dim], dense within a row; returns [rows, heads, dim].
Tensor rotate(const Tensor &x, const Tensor &cos, const Tensor &sin, const Tensor &position, int64_t heads, int sign) {
  TORCH_CHECK(x.dim() >= 2 && x.dim() <= 3 && x.size(0) > 0 && heads > 0 && x.numel() % (x.size(0) * heads) == 0, "rope: ", x.sizes(), " in ", heads, " heads");
  TORCH_CHECK(cos.dim() == 2 && cos.sizes() == sin.sizes() && cos.is_contiguous() && sin.is_contiguous() && cos.scalar_type() == at::kFloat && sin.scalar_type() == at::kFloat,
              "rope: cos ", cos.sizes(), ", sin ", sin.sizes(), ": float32 alike are wanted");
  int64_t rows = x.size(0), dim = x.numel() / rows / heads, xs = x.stride(0), rot = cos.size(1) * 2;
  TORCH_CHECK(x.stride(-1) == 1 && (x.dim() == 2 || x.stride(1) == dim), "rope: rows of x are not dense");
  TORCH_CHECK(rot <= dim && position.numel() == rows && position.is_contiguous() && position.scalar_type() == at::kLong, "rope: x ", x.sizes(), ", cos ", cos.sizes());
  if (auto k = device_kernels(x)) {
    Tensor y = at::empty({rows, heads, dim}, x.options());
    launched(k->rope(int(x.scalar_type()), x.data_ptr(), xs, y.data_ptr(), ptr<float>(cos), ptr<float>(sin), ptr<int64_t>(position), rows, heads, dim, rot, sign));
    return y;
  }
  if (composite(x)) return stock::rope(x, cos, sin, position, heads, sign);
  for (int64_t i = 0; i < rows; i++) {
    int64_t p = ptr<int64_t>(position)[i];
    TORCH_CHECK(p >= 0 && p < cos.size(0), "rope: position ", p, " of ", cos.size(0));
  }
  Tensor y = at::empty({rows, heads, dim}, x.options());
  dispatch(x, [&](auto zero, auto &k) {
    using K = decltype(zero);
    at::parallel_for(0, rows, grain(heads * dim), [&](int64_t a, int64_t b) {
      k.rope(ptr<K>(x) + a * xs, xs, ptr<K>(y) + a * heads * dim, ptr<float>(cos), ptr<float>(sin), ptr<int64_t>(position) + a, b - a, heads, dim, rot, sign);
    });
  });
  return y;
}
struct Rope : Function<Rope> {
  static Tensor forward(AutogradContext *c, const Tensor &x, const Tensor &cos, const Tensor &sin, const Tensor &position, int64_t heads) {
    c->save_for_backward({cos, sin, position});
    c->saved_data["heads"] = heads;
    c->saved_data["flat"] = x.dim() == 2;
    return rotate(x, cos, sin, position, heads, 1);
  }
  static variable_list backward(AutogradContext *c, variable_list g) {
    auto s = c->get_saved_variables();
    Tensor dx = rotate(g[0].contiguous(), s[0], s[1], s[2], c->saved_data["heads"].toInt(), -1);
    if (c->saved_data["flat"].toBool()) dx = dx.flatten(1);
    return {dx, Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

variable_list cut(const Tensor &x, at::IntArrayRef sizes) {
  TORCH_CHECK(x.dim() == 2, "split: ", sizes, " of ", x.sizes());
  variable_list out;
  int64_t at = 0;
  for (int64_t n : sizes) { out.push_back(x.narrow(1, at, n)); at += n; }
  TORCH_CHECK(at == x.size(1), "split: ", sizes, " of ", x.sizes());
  return out;
}
struct Split : Function<Split> {
  static variable_list forward(AutogradContext *c, const Tensor &x, std::vector<int64_t> sizes) {
    c->saved_data["sizes"] = sizes;
    c->saved_data["rows"] = x.size(0);
    return cut(x, sizes);
  }
  static variable_list backward(AutogradContext *c, variable_list g) {
    auto sizes = c->saved_data["sizes"].toIntVector();
    Tensor dx;
    for (size_t i = 0, at = 0; i < g.size(); at += sizes[i], i++) {
      if (!g[i].defined()) continue;
      if (!dx.defined()) {
        int64_t total = 0;
        for (int64_t n : sizes) total += n;
        dx = at::empty({c->saved_data["rows"].toInt(), total}, g[i].options());
        for (size_t j = 0, o = 0; j < g.size(); o += sizes[j], j++) if (!g[j].defined()) dx.narrow(1, o, sizes[j]).zero_();
      }
      dx.narrow(1, at, sizes[i]).copy_(g[i].reshape({dx.size(0), sizes[i]}));
    }
    return {dx, Tensor()};
  }
};
} // namespace

extern "C" {
// x: [rows, heads·dim] or [rows, heads, dim]; cos, sin: [positions, rotated/2] f32; out: [rows, heads, dim].
int hone_rope(hten *out, hten x, hten cos, hten sin, hten position, int64_t heads, char **err) {
  GUARD(*out = give(recording({T(x)}) ? Rope::apply(T(x), T(cos), T(sin), T(position), heads) : rotate(T(x), T(cos), T(sin), T(position), heads, 1)))
}
// x: [rows, Σ sizes]; outs[i]: [rows, sizes[i]], views of x.
int hone_split(hten *outs, hten x, const int64_t *sizes, int n, char **err) {
  GUARD(std::vector<int64_t> s(sizes, sizes + n); auto v = recording({T(x)}) ? Split::apply(T(x), s) : cut(T(x), s);
        for (int i = 0; i < n; i++) outs[i] = give(v[i]))
}
}
