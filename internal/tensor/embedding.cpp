// Token embedding: rows of a weight, gradients added where the rows are.
#include "ops_common.h"
using namespace hone;

namespace {
struct Embedding : Function<Embedding> {
  static Tensor forward(AutogradContext *c, const Tensor &w, const Tensor &ids) {
    c->save_for_backward({w, ids});
    return w.index_select(0, ids);
  }
  static variable_list backward(AutogradContext *c, variable_list g) {
    auto s = c->get_saved_variables();
    grad_of(s[0]).index_add_(0, s[1], g[0].to(grad_of(s[0]).scalar_type()));
    return {Tensor(), Tensor()};
  }
};
} // namespace

// weight: [vocabulary, dim]; ids: [tokens] int64; out: [tokens, dim].
extern "C" int hone_embedding(hten *out, hten weight, hten ids, char **err) {
  GUARD(*out = give(recording({T(weight)}) ? Embedding::apply(T(weight), T(ids)) : T(weight).index_select(0, T(ids))))
}
