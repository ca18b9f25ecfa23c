// Linear layers, with LoRA (Hu et al. 2021) or DoRA (Liu et al. 2024) on some of the projections that a fused weight holds.
#include "composite.hpp"
#include "nf4.hpp"
#include "team.hpp"
using namespace hone;

namespace {
// Below this many rows our own kernel reads the weights once at memory speed; above it the library's GEMM is faster.
constexpr int64_t kSkinnyRows = 32;

// y = x·wᵀ (+ bias). x: [rows, in]; w: [out, in]; y: [rows, out]
Tensor product(const Tensor &x, const Tensor &w, const optional<Tensor> &bias) {
  TORCH_CHECK(x.dim() == 2 && w.dim() == 2 && x.size(1) == w.size(1), "linear: x ", x.sizes(), ", weight ", w.sizes());
  TORCH_CHECK(x.scalar_type() == w.scalar_type() || narrow(x, w), "linear: x is ", x.scalar_type(), ", weight ", w.scalar_type());
  TORCH_CHECK(!bias || (bias->dim() == 1 && bias->size(0) == w.size(0) && bias->is_contiguous() && bias->scalar_type() == x.scalar_type()),
              "linear: bias of another shape or dtype than ", w.size(0), " outputs");
  int64_t rows = x.size(0), n = w.size(0), in = w.size(1);
  if (rows <= kSkinnyRows && in > 0 && w.is_contiguous() && !composite(x)) {
    Tensor xc = x.contiguous(), y = at::empty({rows, n}, x.options());
    dispatch(x, [&](auto zero, auto &k) {
      using K = decltype(zero);
      int64_t blocks = (n + kSkinnyColumns - 1) / kSkinnyColumns;
      Team::share(blocks, std::max<int64_t>(1, 65536 / (in * kSkinnyColumns)), [&](int64_t a, int64_t b) {
        const int64_t n0 = a * kSkinnyColumns, n1 = std::min(n, b * kSkinnyColumns);
        if (narrow(x, w)) kernels().skinny_narrow(ptr<float>(xc), ptr<bf16>(w), bias ? ptr<float>(*bias) : nullptr, ptr<float>(y), rows, in, n, n0, n1);
        else k.skinny(ptr<K>(xc), ptr<K>(w), bias ? ptr<K>(*bias) : nullptr, ptr<K>(y), rows, in, n, n0, n1);
      });
    });
    return y;
  }
  if (narrow(x, w) || widens(x)) {
    Tensor y = at::empty({rows, n}, x.options().dtype(bias ? at::kFloat : x.scalar_type())); // the bias is added before all is rounded
    mm_into(y, x, w);
    return bias ? y.add_(*bias).to(x.scalar_type()) : y;
  }
  return bias ? at::addmm(*bias, x, w.t()) : at::mm(x, w.t());
}
// dy·w: [rows, in]
Tensor product_back(const Tensor &dy, const Tensor &w) {
  Tensor dx = at::empty({dy.size(0), w.size(1)}, dy.options());
  mm_back_into(dx, dy, w);
  return dx;
}

// The same with rows from … from+rows of a weight that may be packed.
Tensor product(const Tensor &x, const Tensor &w, const optional<Tensor> &bias, int64_t from, int64_t rows) {
  if (!packed(w)) return product(x, w.narrow(0, from, rows), bias);
  TORCH_CHECK(x.dim() == 2 && x.size(1) == in_of(w) && x.scalar_type() == dtype_of(w) && (!bias || bias->numel() == rows), "linear: x ", x.sizes(), ", weight [", rows, ", ", in_of(w), "], a bias for each row");
  if (composite(w)) return product(x, block4(w, from, rows, 0, in_of(w)), bias);
  Tensor y = at::empty({x.size(0), rows}, x.options());
  by_rows(w, from, rows, [&](int64_t r, const Tensor &v) {
    y.narrow(1, r, v.size(0)).copy_(product(x, v, bias ? optional<Tensor>(bias->narrow(0, r, v.size(0))) : std::nullopt));
  });
  return y;
}
Tensor product_all(const Tensor &x, const Tensor &w, const optional<Tensor> &bias) { return product(x, w, bias, 0, rows_of(w)); }

// dy·w of those rows: [tokens, in]. A packed weight is taken some columns at a time: no sum is cut.
Tensor product_back(const Tensor &dy, const Tensor &w, int64_t from, int64_t rows) {
  if (!packed(w)) return product_back(dy, w.narrow(0, from, rows));
  if (composite(w)) return product_back(dy, block4(w, from, rows, 0, in_of(w)));
  const int64_t in = in_of(w), step = std::max<int64_t>(1, grain_of(rows, kDense) / kNF4Block) * kNF4Block;
  Tensor dx = at::empty({dy.size(0), in}, dy.options());
  for (int64_t c = 0; c < in; c += step) {
    Tensor v = block4(w, from, rows, c, std::min(step, in - c)), part = dx.narrow(1, c, v.size(1));
    gemm(part, dy, v);
  }
  return dx;
}

struct Linear : Function<Linear> {
  static Tensor forward(AutogradContext *c, const Tensor &x, const Tensor &w, const optional<Tensor> &bias) {
    c->save_for_backward({x, w, bias.value_or(Tensor())});
    c->saved_data["dx"] = x.requires_grad();
    return product_all(x, w, bias);
  }
  static variable_list backward(AutogradContext *c, variable_list g) {
    auto s = c->get_saved_variables();
    Tensor dy = g[0].contiguous();
    if (s[2].defined() && s[2].requires_grad()) grad_of(s[2]).add_(dy.sum(0));
    if (s[1].requires_grad()) add_product(grad_of(s[1]), dy.t(), s[0]);
    return {c->saved_data["dx"].toBool() ? product_back(dy, s[1], 0, dy.size(1)) : Tensor(), Tensor(), Tensor()};
  }
};

// The rows of a fused weight that carry an adapter: pairs (first output row, rows) and the scale of each.
// a: [parts·rank, in], b: [Σ rows, rank], both in the order of the parts.
struct Parts {
  std::vector<int64_t> v;
  std::vector<double> scales;
  int64_t size() const { return int64_t(v.size()) / 2; }
  int64_t from(int64_t i) const { return v[2 * i]; }
  int64_t rows(int64_t i) const { return v[2 * i + 1]; }
};

// Drawn and scaled in float32; a bfloat16 x is rounded once, after that, and a float64 one not at all. The kernel draws the same again
// from the same seed; a composite leaves in kept which elements it kept.
Tensor dropped(const Tensor &x, double p, uint64_t seed, int64_t part, variable_list &kept) {
  const uint64_t key = seed * 0x9e3779b97f4a7c15u + uint64_t(part);
  if (composite(x)) {
    if (int64_t(kept.size()) > part) return stock::dropped_again(x, kept[part], p);
    auto [y, mask] = stock::dropped(x, p, seed ? key : 0);
    kept.push_back(mask);
    return y;
  }
  if (x.scalar_type() == at::kDouble) return x * dropped(at::ones(x.sizes(), x.options().dtype(at::kFloat)), p, seed, part, kept);
  Tensor xc = x.to(at::kFloat).contiguous(), y = at::empty_like(xc);
  at::parallel_for(0, x.numel(), 65536, [&](int64_t a, int64_t b) {
    kernels().dropout(ptr<float>(xc) + a, ptr<float>(y) + a, b - a, key, uint64_t(a), float(p));
  });
  return y.to(x.scalar_type());
}

// The product y = x·wᵀ + bias, whose parts have the adapter's scale·d(x)·aᵀ·bᵀ added, where d is dropout. With magnitudes m (DoRA) and
// the norms n of the rows of w + scale·b·a, which count as constants (section 4.3 of the paper), a part is instead
//   x·wᵀ - d(x)·wᵀ + m/n·z + bias,  z = d(x)·wᵀ + scale·d(x)·aᵀ·bᵀ
// as PEFT computes it: without dropout m/n·z + bias. m, n: [Σ rows], float32 where x is bfloat16.
struct LoRA : Function<LoRA> {
  static Tensor forward(AutogradContext *c, const Tensor &x, const Tensor &w, const optional<Tensor> &bias, const Tensor &a, const Tensor &b,
                        const optional<Tensor> &m, const optional<Tensor> &n, std::vector<int64_t> parts, std::vector<double> scales,
                        double dropout, int64_t seed) {
    Parts p{parts, scales};
    int64_t rank = b.size(1), rows = 0;
    for (int64_t i = 0; i < p.size(); i++) rows += p.rows(i);
    TORCH_CHECK(a.dim() == 2 && a.size(0) == p.size() * rank && rows == b.size(0), "lora: a ", a.sizes(), ", b ", b.sizes(), ", ", p.size(), " parts of ", rows, " rows");
    TORCH_CHECK(!m || (n && m->numel() == rows && n->numel() == rows && !w.requires_grad()), "dora: a magnitude and a norm for each of ", rows, " rows of a frozen weight are wanted");
    const bool whole = m && dropout == 0; // parts are scaled before the bias comes
    Tensor y = product_all(x, w, whole ? std::nullopt : bias), xa = at::empty({x.size(0), a.size(0)}, x.options()), s, z;
    variable_list kept;
    if (m) s = m->detach() / *n, z = at::empty({x.size(0), rows}, x.options());
    for (int64_t i = 0, row = 0; i < p.size(); row += p.rows(i), i++) {
      Tensor xi = xa.narrow(1, i * rank, rank), yi = y.narrow(1, p.from(i), p.rows(i)), bt = b.narrow(0, row, p.rows(i)).t(), d;
      if (dropout > 0) gemm(xi, d = dropped(x, dropout, seed, i, kept), a.narrow(0, i * rank, rank).t());
      else if (i == 0) gemm(xa, x, a.t());
      if (!m) {
        gemm(yi, xi, bt, 1, p.scales[i]);
        continue;
      }
      Tensor zi = z.narrow(1, row, p.rows(i)), si = s.narrow(0, row, p.rows(i));
      if (whole) {
        gemm(yi, xi, bt, 1, p.scales[i]);
        zi.copy_(yi);
        yi.mul_(si);
      } else {
        zi.copy_(product(d, w, std::nullopt, p.from(i), p.rows(i)));
        yi.sub_(zi);
        gemm(zi, xi, bt, 1, p.scales[i]);
        yi.add_(zi * si);
      }
    }
    if (whole && bias) y.add_(*bias);
    kept.insert(kept.begin(), {x, w, bias.value_or(Tensor()), a, b, xa, m.value_or(Tensor()), n.value_or(Tensor()), s, z});
    c->save_for_backward(kept);
    c->saved_data["dx"] = x.requires_grad();
    c->saved_data["parts"] = parts;
    c->saved_data["scales"] = scales;
    c->saved_data["dropout"] = dropout;
    c->saved_data["seed"] = seed;
    return y;
  }
  static variable_list backward(AutogradContext *c, variable_list g) {
    auto saved = c->get_saved_variables();
    const Tensor &x = saved[0], &w = saved[1], &bias = saved[2], &a = saved[3], &b = saved[4], &xa = saved[5], &m = saved[6], &n = saved[7], &s = saved[8], &z = saved[9];
    variable_list kept(saved.begin() + 10, saved.end());
    Parts p{c->saved_data["parts"].toIntVector(), c->saved_data["scales"].toDoubleVector()};
    double dropout = c->saved_data["dropout"].toDouble();
    uint64_t seed = c->saved_data["seed"].toInt();
    bool want_dx = c->saved_data["dx"].toBool();
    int64_t rank = b.size(1);
    Tensor dy = g[0].contiguous(), t = at::empty_like(xa), dz = dy; // dz: what reaches the product of the parts
    if (bias.defined() && bias.requires_grad()) grad_of(bias).add_(dy.sum(0));
    if (w.requires_grad()) add_product(grad_of(w), dy.t(), x);
    if (m.defined()) dz = dy.clone();
    for (int64_t i = 0, row = 0; i < p.size(); row += p.rows(i), i++) {
      Tensor dzi = dz.narrow(1, p.from(i), p.rows(i)), bi = b.narrow(0, row, p.rows(i)), ti = t.narrow(1, i * rank, rank);
      if (m.defined()) {
        if (m.requires_grad()) {
          auto acc = m.scalar_type();
          grad_of(m).narrow(0, row, p.rows(i)).add_((dzi.to(acc) * z.narrow(1, row, p.rows(i)).to(acc)).sum(0) / n.narrow(0, row, p.rows(i)));
        }
        dzi.mul_(s.narrow(0, row, p.rows(i)));
      }
      gemm(ti, dzi, bi);
      ti.mul_(p.scales[i]);
      if (b.requires_grad()) add_product(grad_of(b).narrow(0, row, p.rows(i)), dzi.t(), xa.narrow(1, i * rank, rank), p.scales[i]);
    }
    Tensor dx = want_dx ? product_back(dropout == 0 ? dz : dy, w, 0, dy.size(1)) : Tensor();
    if (dropout == 0) {
      if (a.requires_grad()) add_product(grad_of(a), t.t(), x);
      if (want_dx) gemm(dx, t, a, 1);
    } else {
      for (int64_t i = 0; i < p.size(); i++) {
        Tensor ti = t.narrow(1, i * rank, rank), ai = a.narrow(0, i * rank, rank);
        if (a.requires_grad()) add_product(grad_of(a).narrow(0, i * rank, rank), ti.t(), dropped(x, dropout, seed, i, kept));
        if (!want_dx) continue;
        Tensor dd = multiplied(ti, ai);
        if (m.defined()) dd.add_(product_back(dz.narrow(1, p.from(i), p.rows(i)) - dy.narrow(1, p.from(i), p.rows(i)), w, p.from(i), p.rows(i)));
        dx.add_(dropped(dd, dropout, seed, i, kept)); // the mask and scale of the forward pass
      }
    }
    return {dx, Tensor(), Tensor(), Tensor(), Tensor(), Tensor(), Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

// The norms of the rows of w + scale·b·a, in the order of the parts: [Σ rows], in a's dtype. Some rows are held at once.
Tensor row_norms(const Tensor &w, const Tensor &a, const Tensor &b, const Parts &p) {
  at::NoGradGuard constant;
  Tensor out = at::empty({b.size(0)}, a.options());
  const int64_t rank = b.size(1), step = composite(w) ? b.size(0) : grain_of(in_of(w), kDense);
  for (int64_t i = 0, row = 0; i < p.size(); row += p.rows(i), i++) {
    for (int64_t r = 0; r < p.rows(i); r += step) {
      const int64_t rows = std::min(step, p.rows(i) - r);
      by_rows(w, p.from(i) + r, rows, [&](int64_t, const Tensor &v) {
        Tensor sum = v.to(a.scalar_type(), false, true);
        gemm(sum, b.narrow(0, row + r, rows), a.narrow(0, i * rank, rank), 1, p.scales[i]);
        out.narrow(0, row + r, rows).copy_(at::linalg_vector_norm(sum, 2, at::IntArrayRef{1}));
      });
    }
  }
  return out;
}
} // namespace

extern "C" {
// compute: the dtype of x and of the products; the weight's, or float32 beside a frozen weight that is held in bfloat16.
int hone_linear(hten *out, hten x, hten weight, hten bias, int compute, char **err) {
  GUARD(Tensor in = T(x).to(at::ScalarType(compute));
        *out = give(recording({in, T(weight), O(bias)}) ? Linear::apply(in, T(weight), O(bias)) : product_all(in, T(weight), O(bias))))
}
// parts: nparts pairs (first output row, rows), a scale each. magnitude and norms, both or neither, make it DoRA.
int hone_lora(hten *out, hten x, hten weight, hten bias, hten a, hten b, hten magnitude, hten norms, const int64_t *parts, int nparts,
              const double *scales, double dropout, uint64_t seed, int compute, char **err) {
  GUARD(std::vector<int64_t> p(parts, parts + 2 * nparts);
        *out = give(LoRA::apply(T(x).to(at::ScalarType(compute)), T(weight), O(bias), T(a), T(b), O(magnitude), O(norms), p,
                                std::vector<double>(scales, scales + nparts), dropout, int64_t(seed))))
}
int hone_row_norms(hten *out, hten weight, hten a, hten b, const int64_t *parts, int nparts, const double *scales, char **err) {
  GUARD(*out = give(row_norms(T(weight), T(a), T(b), {{parts, parts + 2 * nparts}, {scales, scales + nparts}})))
}
}
