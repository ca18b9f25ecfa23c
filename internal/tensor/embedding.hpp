// Token embedding: rows of a weight, gradients added where the rows are.
#include "ops_common.h"
using namespace hone;

namespace {
struct Embedding : Function<Embedding> {
  static Tensor forward(AutogradContext *c, const Tensor &w, const Tensor &ids, int64_t padding) {
    c->save_for_backward({w, ids});
    c->saved_data["padding"] = padding;
    return w.index_select(0, ids);
  }
  static variable_list backward(AutogradContext *c, variable_list g) {
    auto s = c->get_saved_variables();
    Tensor dy = g[0].to(grad_of(s[0]).scalar_type());
    int64_t padding = c->saved_data["padding"].toInt();
    if (padding >= 0) dy = dy.masked_fill(s[1].eq(padding).unsqueeze(1), 0);
    grad_of(s[0]).index_add_(0, s[1], dy);
    return {Tensor(), Tensor(), Tensor()};
  }
};
} // namespace

// weight: [vocabulary, dim]; ids: [tokens] int64; out: [tokens, dim]. The row padding, where it is not negative, gets no
// gradient from here.
extern "C" int hone_embedding(hten *out, hten weight, hten ids, int64_t padding, char **err) {
  GUARD(*out = give(recording({T(weight)}) ? Embedding::apply(T(weight), T(ids), padding) : T(weight).index_select(0, T(ids))))
}
