// Causal attention over rows that stand behind one another without padding, and over a cache of keys and values.
//
// Where every token sees all before it, libtorch's attention does it. A window (Beltagy et al. 2020) that is shorter than the
// row, or a cap on the scores (Gemma 2), takes the way of our own: blocks of queries against the keys that they see.
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>

#include "composite.hpp"
#include "team.hpp"
using namespace hone;

namespace {
// Tokens a ≤ t < b of x [tokens, heads, dim] as libtorch's attention wants them: [1, heads, b - a, dim], a view.
Tensor sequence(const Tensor &x, int64_t a, int64_t b) { return x.narrow(0, a, b - a).transpose(0, 1).unsqueeze(0); }
Tensor heads(const Tensor &x, int64_t dim) { return x.dim() == 3 ? x : x.unflatten(1, {x.size(1) / dim, dim}); }

struct Scoring {
  double scale;
  int64_t window; // tokens that a query sees, itself among them; 0 is all
  double cap;     // of the scores, as cap·tanh(score/cap); 0 is none
  bool plain(int64_t tokens) const { return cap == 0 && (window == 0 || window >= tokens); }
};

void check_scoring(const Scoring &s) { TORCH_CHECK(s.window >= 0 && s.cap >= 0, "attention: a window of ", s.window, " tokens, scores within ", s.cap); }

// Queries of a block: with a window, keys beyond it cost at most as many more. A GPU wants larger ones.
constexpr int64_t kQueries = 64, kDeviceQueries = 1024;
int64_t queries(const Tensor &q) { return q.is_cpu() ? kQueries : kDeviceQueries; }

// Queries a ≤ i < b of a row that begins at token `start`, and the keys from `first` on that they see. Heads of a group stand
// beneath one another: q [kv heads, group·(b - a), dim], k and v [kv heads, keys, dim].
struct Block {
  int64_t start, a, b, first;
  Block(int64_t start, int64_t a, int64_t tokens, int64_t queries, const Scoring &s)
      : start(start), a(a), b(std::min(tokens, a + queries)), first(s.window ? std::max<int64_t>(0, a - s.window + 1) : 0) {}
  Tensor queries(const Tensor &x, int64_t n) const {
    return x.narrow(0, start + a, b - a).unflatten(1, {n, x.size(1) / n}).permute({1, 2, 0, 3}).reshape({n, -1, x.size(2)});
  }
  Tensor keys(const Tensor &x) const { return x.narrow(0, start + first, b - first).transpose(0, 1); }
  Tensor keys_of(const Tensor &row) const { return row.narrow(0, first, b - first).transpose(0, 1); }
  void put(const Tensor &from, const Tensor &x, int64_t n) const {
    int64_t group = x.size(1) / n;
    x.narrow(0, start + a, b - a).unflatten(1, {n, group}).copy_(from.view({n, group, b - a, x.size(2)}).permute({2, 0, 1, 3}));
  }
  // Calls f(row, first key, last key + 1) for each row of scores [kv heads, group·(b - a), keys].
  template <class F>
  void rows(const Tensor &scores, const Scoring &s, F f) const {
    at::parallel_for(0, scores.size(0) * scores.size(1), grain(4 * scores.size(2)), [&](int64_t r0, int64_t r1) {
      for (int64_t r = r0; r < r1; r++) {
        int64_t i = a + r % (b - a);
        f(r, (s.window ? std::max<int64_t>(0, i - s.window + 1) : 0) - first, i + 1 - first);
      }
    });
  }
  Tensor weigh(Tensor z, const Scoring &s) const {
    if (composite(z)) return stock::weigh(z, a, b, first, s.window, s.scale, s.cap);
    dispatch(z, [&](auto zero, auto &kernel) {
      using K = decltype(zero);
      int64_t n = z.size(2);
      rows(z, s, [&](int64_t r, int64_t from, int64_t to) { kernel.weigh(ptr<K>(z) + r * n, n, from, to, s.scale, s.cap); });
    });
    return z;
  }
};

void scored(const Tensor &q, const Tensor &k, const Tensor &v, const Tensor &y, int64_t start, int64_t end, const Scoring &s) {
  for (int64_t a = 0; a < end - start; a += queries(q)) {
    Block block(start, a, end - start, queries(q), s);
    Tensor p = block.weigh(multiplied(block.queries(q, k.size(1)), block.keys(k).transpose(1, 2)), s);
    block.put(multiplied(p, block.keys(v)), y, k.size(1));
  }
}

// dk and dv are of this row alone, and sums over blocks: they are held in Acc.
void scored_back(const Tensor &dy, const Tensor &q, const Tensor &k, const Tensor &v, const Tensor &dq, const Tensor &dk, const Tensor &dv,
                 int64_t start, int64_t end, const Scoring &s) {
  for (int64_t a = 0; a < end - start; a += queries(q)) {
    Block block(start, a, end - start, queries(q), s);
    int64_t n = k.size(1);
    Tensor qb = block.queries(q, n), kb = block.keys(k), dyb = block.queries(dy, n);
    Tensor z = multiplied(qb, kb.transpose(1, 2)), p = block.weigh(z.clone(), s), dz = multiplied(dyb, block.keys(v).transpose(1, 2));
    block.keys_of(dv).add_(multiplied(p.transpose(1, 2), dyb));
    if (composite(z)) stock::weigh_back(z, p, dz, s.scale, s.cap);
    else dispatch(z, [&](auto zero, auto &kernel) {
      using K = decltype(zero);
      int64_t c = z.size(2);
      block.rows(z, s, [&](int64_t r, int64_t from, int64_t to) {
        kernel.weigh_back(ptr<K>(z) + r * c, ptr<K>(p) + r * c, ptr<K>(dz) + r * c, c, from, to, s.scale, s.cap);
      });
    });
    block.put(multiplied(dz, kb), dq, n);
    block.keys_of(dk).add_(multiplied(dz.transpose(1, 2), qb));
  }
}

// libtorch's kernel takes what it is given: it reads past the end where a shape does not fit.
void check_attention(const Tensor &q, const Tensor &k, const Tensor &v, const std::vector<int64_t> &borders, const Scoring &s) {
  TORCH_CHECK(q.dim() == 3 && k.dim() == 3 && q.size(2) > 0 && k.size(2) == q.size(2) && k.size(0) == q.size(0) && k.size(1) > 0 && q.size(1) % k.size(1) == 0,
              "attention: q ", q.sizes(), ", k ", k.sizes());
  TORCH_CHECK(v.sizes() == k.sizes() || (v.dim() == 2 && v.size(0) == k.size(0) && v.size(1) == k.size(1) * k.size(2)), "attention: k ", k.sizes(), ", v ", v.sizes());
  for (auto &x : {q, k, v}) TORCH_CHECK(x.scalar_type() == q.scalar_type() && x.stride(-1) == 1, "attention: dtypes differ, or features stand apart");
  TORCH_CHECK(!borders.empty() && borders.front() == 0 && borders.back() == q.size(0), "attention: borders of another count than ", q.size(0), " tokens");
  for (size_t i = 1; i < borders.size(); i++) TORCH_CHECK(borders[i - 1] < borders[i], "attention: a row without tokens at border ", i);
  check_scoring(s);
}

// Rows of tokens behind one another: row i is the tokens borders[i] … borders[i+1]. On a device they are there too (int32), and
// may end in rows without tokens; longest is no less than any row's.
struct Rows {
  std::vector<int64_t> borders;
  Tensor device;
  int64_t longest;
};

struct Attention : Function<Attention> {
  static Tensor forward(AutogradContext *c, const Tensor &q, const Tensor &k, const Tensor &v, Rows rows, Scoring s) {
    Tensor y, vh = heads(v, q.size(2));
    variable_list saved{q, k, v};
    if (stock::flash(q, s.cap)) {
      optional<int64_t> left, right;
      if (s.window) left = s.window - 1, right = 0;
      auto [o, lse, state, unused, debug] = at::_flash_attention_forward(q, k, vh, rows.device, rows.device, rows.longest, rows.longest, 0, true, false, s.scale, left, right);
      y = o;
      if (c) saved.insert(saved.end(), {y, rows.device, lse, state, unused});
    } else if (stock::efficient(q, s.cap)) {
      int64_t longest = std::min(rows.longest, q.size(0));
      auto [o, lse, state, unused, nq, nk] = at::_efficient_attention_forward(stock::for_heads(q, q.size(1)), stock::for_heads(k, q.size(1)), stock::for_heads(vh, q.size(1)),
          {}, rows.device, rows.device, longest, longest, 0, 1, c != nullptr, s.scale, {}, s.window ? optional<int64_t>(s.window) : std::nullopt);
      y = o.squeeze(0).to(q.scalar_type());
      if (c) saved.insert(saved.end(), {y, rows.device, lse, state, unused});
    } else {
      y = at::empty(q.sizes(), q.options());
      if (c) saved.insert(saved.end(), {y, rows.device});
      const Tensor wq = widened(q), wk = widened(k), wv = widened(vh);
      for (size_t i = 0; i + 1 < rows.borders.size(); i++) {
        int64_t a = rows.borders[i], b = rows.borders[i + 1];
        if (composite(q) || !s.plain(b - a)) {
          scored(q, k, vh, y, a, b, s);
          if (c) saved.push_back(Tensor());
          continue;
        }
        auto [o, lse] = at::_scaled_dot_product_flash_attention_for_cpu(sequence(wq, a, b), sequence(wk, a, b), sequence(wv, a, b), 0, true, {}, s.scale);
        sequence(y, a, b).copy_(o);
        if (c) saved.push_back(lse);
      }
    }
    if (c) {
      c->save_for_backward(saved);
      c->saved_data["borders"] = rows.borders;
      c->saved_data["longest"] = rows.longest;
      c->saved_data["scale"] = s.scale;
      c->saved_data["window"] = s.window;
      c->saved_data["cap"] = s.cap;
    }
    return y;
  }
  static variable_list backward(AutogradContext *c, variable_list g) {
    auto s = c->get_saved_variables();
    const Tensor &q = s[0], &k = s[1], &v = s[2], &y = s[3];
    auto borders = c->saved_data["borders"].toIntVector();
    Scoring how{c->saved_data["scale"].toDouble(), c->saved_data["window"].toInt(), c->saved_data["cap"].toDouble()};
    Tensor dy = g[0].contiguous(), vh = heads(v, q.size(2));
    if (stock::flash(q, how.cap)) {
      optional<int64_t> left, right;
      if (how.window) left = how.window - 1, right = 0;
      int64_t longest = c->saved_data["longest"].toInt();
      auto [gq, gk, gv] = at::_flash_attention_backward(dy, q, k, vh, y, s[5], s[4], s[4], longest, longest, 0, true, s[6], s[7], how.scale, left, right);
      return {gq, gk, gv.reshape(v.sizes()), Tensor(), Tensor()};
    }
    if (stock::efficient(q, how.cap)) {
      int64_t longest = std::min(c->saved_data["longest"].toInt(), q.size(0));
      auto each = [&](const Tensor &x) { return stock::for_heads(x, q.size(1)); };
      auto [gq, gk, gv, none] = at::_efficient_attention_backward(each(dy), each(q), each(k), each(vh), {}, each(y), s[4], s[4], longest, longest, s[5], 0, s[6], s[7], 1, false, how.scale, {}, how.window ? optional<int64_t>(how.window) : std::nullopt);
      return {stock::from_heads(gq, q), stock::from_heads(gk, k), stock::from_heads(gv, vh).reshape(v.sizes()), Tensor(), Tensor()};
    }
    Tensor dq = at::empty(q.sizes(), q.options()), dk = at::empty(k.sizes(), k.options()), dv = at::empty(vh.sizes(), v.options());
    // libtorch's backward pass makes a product a block and head, each so small that in bfloat16 oneDNN's preparations outlast it.
    auto wide = [](const Tensor &x) { return x.to(acc_dtype(x)); };
    const Tensor wdy = wide(dy), wq = wide(q), wk = wide(k), wv = wide(vh), wy = wide(y);
    for (size_t i = 0; i + 1 < borders.size(); i++) {
      int64_t a = borders[i], b = borders[i + 1];
      if (composite(q) || !how.plain(b - a)) {
        Tensor gk = at::zeros({b - a, k.size(1), k.size(2)}, k.options().dtype(acc_dtype(k))), gv = at::zeros_like(gk);
        scored_back(dy, q, k, vh, dq, gk, gv, a, b, how);
        dk.narrow(0, a, b - a).copy_(gk);
        dv.narrow(0, a, b - a).copy_(gv);
        continue;
      }
      auto [gq, gk, gv] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
          sequence(wdy, a, b), sequence(wq, a, b), sequence(wk, a, b), sequence(wv, a, b), sequence(wy, a, b), s[5 + i], 0, true, {}, how.scale);
      sequence(dq, a, b).copy_(gq);
      sequence(dk, a, b).copy_(gk);
      sequence(dv, a, b).copy_(gv);
    }
    return {dq, dk, dv.view(v.sizes()), Tensor(), Tensor()};
  }
};

void check_cache(const Tensor &keys, const Tensor &values) {
  TORCH_CHECK(keys.dim() == 4 && keys.is_contiguous() && values.is_contiguous() && keys.sizes() == values.sizes(), "cache: [slots, heads, length, dim] is wanted");
  TORCH_CHECK(keys.scalar_type() == values.scalar_type(), "cache: dtypes differ");
}
// x: [tokens, kv heads, dim] or [tokens, kv heads·dim], rows apart, features dense.
void check_tokens(const Tensor &x, int64_t tokens, const Tensor &cache) {
  int64_t n = cache.size(1), dim = cache.size(3);
  bool dense = x.dim() == 3 ? x.size(1) == n && x.size(2) == dim && (x.stride(1) == dim || n == 1) : x.dim() == 2 && x.size(1) == n * dim;
  TORCH_CHECK(dense && x.stride(-1) == 1 && x.size(0) >= tokens && x.scalar_type() == cache.scalar_type(),
              "cache: ", tokens, " tokens of ", n, " heads of ", dim, " are wanted, ", x.sizes(), " was given");
}
void check_slots(const int64_t *slots, int64_t rows, const Tensor &cache) {
  for (int64_t r = 0; r < rows; r++) TORCH_CHECK(slots[r] >= 0 && slots[r] < cache.size(0), "cache: slot ", slots[r], " of ", cache.size(0));
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
// borders[i] … borders[i+1], and on a device also those that `device` says there; a token sees the newest `window` up to itself
// (0: all); cap: of the scores (0: none); out: [tokens, heads, dim].
int hone_attention(hten *out, hten q, hten k, hten v, const int64_t *borders, int nborders, hten device, int64_t longest, double scale,
                   int64_t window, double cap, char **err) {
  GUARD(Rows r{std::vector<int64_t>(borders, borders + nborders), device ? T(device) : Tensor(), longest}; Scoring s{scale, window, cap};
        check_attention(T(q), T(k), T(v), r.borders, s);
        TORCH_CHECK(T(q).is_cpu() || r.device.defined(), "attention: borders are wanted on the device");
        *out = give(recording({T(q), T(k), T(v)}) ? Attention::apply(T(q), T(k), T(v), r, s) : Attention::forward(nullptr, T(q), T(k), T(v), r, s)))
}

// Writes the tokens borders[i] … borders[i+1] of k and v to slot slots[i], from its start on.
int hone_cache_write(hten k, hten v, hten keys, hten values, const int64_t *slots, const int64_t *borders, int rows, char **err) {
  GUARD(check_cache(T(keys), T(values)); check_slots(slots, rows, T(keys));
        for (int r = 0; r < rows; r++) TORCH_CHECK(borders[0] >= 0 && borders[r] <= borders[r + 1] && borders[r + 1] - borders[r] <= T(keys).size(2),
                                                   "cache: ", borders[r + 1] - borders[r], " tokens, room for ", T(keys).size(2));
        for (hten x : {k, v}) check_tokens(T(x), borders[rows], T(keys));
        if (composite(T(keys))) {
          for (int r = 0; r < rows; r++) {
            int64_t a = borders[r]; int64_t n = borders[r + 1] - a;
            for (auto [x, cache] : {std::pair{k, keys}, std::pair{v, values}})
              T(cache).select(0, slots[r]).narrow(1, 0, n).copy_(heads(T(x), T(cache).size(3)).narrow(0, a, n).transpose(0, 1));
          }
          return 0;
        }
        dispatch(T(keys), [&](auto zero, auto &) {
          using K = decltype(zero);
          at::parallel_for(0, rows, 1, [&](int64_t r0, int64_t r1) {
            for (int64_t r = r0; r < r1; r++) {
              for (int64_t t = borders[r]; t < borders[r + 1]; t++) {
                put<K>(T(k), t, T(keys), slots[r], t - borders[r]);
                put<K>(T(v), t, T(values), slots[r], t - borders[r]);
              }
            }
          });
        }))
}

// One new token a row: q [rows, heads, dim], k, v [rows, kv heads, dim]. The token becomes number lengths[i] - 1 of slot
// slots[i] and attends to all up to itself, or the newest `window`; out: [rows, heads, dim]. A composite takes its places from
// place, where (may be null: row i is slot i), until, used, starts, each and top instead; see stock::attend.
int hone_attend_cache(hten *out, hten q, hten k, hten v, hten keys, hten values, const int64_t *slots, const int64_t *lengths,
                      hten place, hten where, hten until, hten used, hten starts, hten each, int64_t top, double scale, int64_t window, double cap, char **err) {
  GUARD(
    const Tensor &qt = T(q); const Tensor &kc = T(keys); check_cache(kc, T(values));
    TORCH_CHECK(qt.dim() == 3 && kc.size(1) > 0 && qt.size(1) % kc.size(1) == 0, "attend: q ", qt.sizes(), ", cache ", kc.sizes());
    int64_t rows = qt.size(0); int64_t n = kc.size(1); int64_t room = kc.size(2); int64_t dim = kc.size(3); int64_t group = qt.size(1) / n;
    TORCH_CHECK(qt.is_contiguous() && qt.size(2) == dim && qt.scalar_type() == kc.scalar_type(), "attend: q ", qt.sizes(), ", cache ", kc.sizes());
    check_slots(slots, rows, kc);
    check_scoring({scale, window, cap});
    for (hten x : {k, v}) check_tokens(T(x), rows, kc);
    if (composite(qt)) {
      *out = give(stock::attend(qt, T(k), T(v), kc, T(values), T(place), O(where), T(until), {O(used), O(starts), O(each)}, top, scale, window, cap));
      return 0;
    }
    for (int64_t r = 0; r < rows; r++) TORCH_CHECK(lengths[r] >= 1 && lengths[r] <= room, "cache: length ", lengths[r], ", room for ", room);
    Tensor y = at::empty(qt.sizes(), qt.options());
    dispatch(qt, [&](auto zero, auto &kernel) {
      using K = decltype(zero);
      int64_t longest = 0;
      for (int64_t r = 0; r < rows; r++) {
        put<K>(T(k), r, kc, slots[r], lengths[r] - 1);
        put<K>(T(v), r, T(values), slots[r], lengths[r] - 1);
        longest = std::max(longest, lengths[r]);
      }
      Team::share(rows * n, grain_of(group * longest * dim, 10000), [&](int64_t a, int64_t b) {
        std::vector<float> scores;
        for (int64_t i = a; i < b; i++) {
          int64_t r = i / n, h = i % n, at = (slots[r] * n + h) * room * dim, qo = (r * n + h) * group * dim;
          scores.resize(group * lengths[r]);
          kernel.attend(ptr<K>(qt) + qo, ptr<K>(kc) + at, ptr<K>(T(values)) + at, ptr<K>(y) + qo, scores.data(), group, dim,
                        window ? std::max<int64_t>(0, lengths[r] - window) : 0, lengths[r], scale, cap);
        }
      });
    });
    *out = give(y))
}
}
