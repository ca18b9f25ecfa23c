// Causal attention over rows that stand behind one another without padding, and over a cache of keys and values.
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>

#include "ops_common.h"
using namespace hone;

namespace {
// Tokens a ≤ t < b of x [tokens, heads, dim] as libtorch's attention wants them: [1, heads, b - a, dim], a view.
Tensor sequence(const Tensor &x, int64_t a, int64_t b) { return x.narrow(0, a, b - a).transpose(0, 1).unsqueeze(0); }
Tensor heads(const Tensor &x, int64_t dim) { return x.dim() == 3 ? x : x.unflatten(1, {x.size(1) / dim, dim}); }

struct Attention : Function<Attention> {
  static Tensor forward(AutogradContext *c, const Tensor &q, const Tensor &k, const Tensor &v, std::vector<int64_t> borders, double scale) {
    Tensor y = at::empty(q.sizes(), q.options()), vh = heads(v, q.size(2));
    variable_list saved{q, k, v, y};
    for (size_t i = 0; i + 1 < borders.size(); i++) {
      int64_t a = borders[i], b = borders[i + 1];
      auto [o, lse] = at::_scaled_dot_product_flash_attention_for_cpu(sequence(q, a, b), sequence(k, a, b), sequence(vh, a, b), 0, true, {}, scale);
      sequence(y, a, b).copy_(o);
      if (c) saved.push_back(lse);
    }
    if (c) {
      c->save_for_backward(saved);
      c->saved_data["borders"] = borders;
      c->saved_data["scale"] = scale;
    }
    return y;
  }
  static variable_list backward(AutogradContext *c, variable_list g) {
    auto s = c->get_saved_variables();
    const Tensor &q = s[0], &k = s[1], &v = s[2], &y = s[3];
    auto borders = c->saved_data["borders"].toIntVector();
    double scale = c->saved_data["scale"].toDouble();
    Tensor dy = g[0].contiguous(), vh = heads(v, q.size(2));
    Tensor dq = at::empty(q.sizes(), q.options()), dk = at::empty(k.sizes(), k.options()), dv = at::empty(vh.sizes(), v.options());
    for (size_t i = 0; i + 1 < borders.size(); i++) {
      int64_t a = borders[i], b = borders[i + 1];
      auto [gq, gk, gv] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
          sequence(dy, a, b), sequence(q, a, b), sequence(k, a, b), sequence(vh, a, b), sequence(y, a, b), s[4 + i], 0, true, {}, scale);
      sequence(dq, a, b).copy_(gq);
      sequence(dk, a, b).copy_(gk);
      sequence(dv, a, b).copy_(gv);
    }
    return {dq, dk, dv.view(v.sizes()), Tensor(), Tensor()};
  }
};

void check_cache(const Tensor &keys, const Tensor &values) {
  TORCH_CHECK(keys.dim() == 4 && keys.is_contiguous() && values.is_contiguous() && keys.sizes() == values.sizes(), "cache: [slots, heads, length, dim] is wanted");
}
// Copies token `row` of x [tokens, kv heads, dim] to a place of the cache.
template <class K>
void put(const Tensor &x, int64_t row, const Tensor &cache, int64_t slot, int64_t at) {
  int64_t dim = cache.size(3), length = cache.size(2), n = cache.size(1);
  for (int64_t h = 0; h < n; h++)
    memcpy(ptr<K>(cache) + ((slot * n + h) * length + at) * dim, ptr<K>(x) + row * x.stride(0) + h * dim, dim * sizeof(K));
}
} // namespace

extern "C" {
// q: [tokens, heads, dim]; k, v: [tokens, kv heads, dim] (v may be [tokens, kv heads·dim], rows apart); row i is the tokens
// borders[i] … borders[i+1]; out: [tokens, heads, dim].
int hone_attention(hten *out, hten q, hten k, hten v, const int64_t *borders, int nborders, double scale, char **err) {
  GUARD(std::vector<int64_t> b(borders, borders + nborders);
        *out = give(recording({T(q), T(k), T(v)}) ? Attention::apply(T(q), T(k), T(v), b, scale) : Attention::forward(nullptr, T(q), T(k), T(v), b, scale)))
}

// Writes the tokens borders[i] … borders[i+1] of k and v to slot slots[i], from its start on.
int hone_cache_write(hten k, hten v, hten keys, hten values, const int64_t *slots, const int64_t *borders, int rows, char **err) {
  GUARD(check_cache(T(keys), T(values)); TORCH_CHECK(T(k).scalar_type() == T(keys).scalar_type(), "cache: dtypes differ");
        dispatch(T(keys), [&](auto zero, auto &) {
          using K = decltype(zero);
          at::parallel_for(0, rows, 1, [&](int64_t r0, int64_t r1) {
            for (int64_t r = r0; r < r1; r++) {
              TORCH_CHECK(borders[r + 1] - borders[r] <= T(keys).size(2), "cache: ", borders[r + 1] - borders[r], " tokens, room for ", T(keys).size(2));
              for (int64_t t = borders[r]; t < borders[r + 1]; t++) {
                put<K>(T(k), t, T(keys), slots[r], t - borders[r]);
                put<K>(T(v), t, T(values), slots[r], t - borders[r]);
              }
            }
          });
        }))
}

// One new token a row: q [rows, heads, dim], k, v [rows, kv heads, dim]. The token becomes number lengths[i] - 1 of slot
// slots[i] and attends to all up to itself; out: [rows, heads, dim].
int hone_attend_cache(hten *out, hten q, hten k, hten v, hten keys, hten values, const int64_t *slots, const int64_t *lengths,
                      double scale, char **err) {
  GUARD(
    const Tensor &qt = T(q); const Tensor &kc = T(keys); check_cache(kc, T(values));
    int64_t rows = qt.size(0); int64_t n = kc.size(1); int64_t room = kc.size(2); int64_t dim = kc.size(3); int64_t group = qt.size(1) / n;
    TORCH_CHECK(qt.is_contiguous() && qt.size(2) == dim && qt.scalar_type() == kc.scalar_type(), "attend: q ", qt.sizes(), ", cache ", kc.sizes());
    Tensor y = at::empty(qt.sizes(), qt.options());
    dispatch(qt, [&](auto zero, auto &kernel) {
      using K = decltype(zero);
      at::parallel_for(0, rows, 1, [&](int64_t r0, int64_t r1) {
        for (int64_t r = r0; r < r1; r++) {
          TORCH_CHECK(lengths[r] >= 1 && lengths[r] <= room, "cache: length ", lengths[r], ", room for ", room);
          put<K>(T(k), r, kc, slots[r], lengths[r] - 1);
          put<K>(T(v), r, T(values), slots[r], lengths[r] - 1);
        }
      });
      at::parallel_for(0, rows * n, 1, [&](int64_t a, int64_t b) {
        std::vector<float> scores;
        for (int64_t i = a; i < b; i++) {
          int64_t r = i / n, h = i % n, at = (slots[r] * n + h) * room * dim, qo = (r * n + h) * group * dim;
          scores.resize(group * lengths[r]);
          kernel.attend(ptr<K>(qt) + qo, ptr<K>(kc) + at, ptr<K>(T(values)) + at, ptr<K>(y) + qo, scores.data(), group, dim, 0, lengths[r], scale);
        }
      });
    });
    *out = give(y))
}
}
