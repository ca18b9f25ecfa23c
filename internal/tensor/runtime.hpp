// Tensors' life and what libtch does not reach: threads, grad mode without its 8-byte read, leaves over flat buffers.
#include <ATen/Version.h>
#include <torch/version.h>
#include <ATen/native/DispatchStub.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <sys/mman.h>

#include "ops_common.h"
using namespace hone;

namespace {
constexpr uintptr_t kPage = 2 << 20;
}

// MKL takes a slow path on processors that are not Intel's unless this answers 1; libtorch_cpu asks the program's own
// definition where there is one, which doubles the rate of f32 GEMMs on AMD.
extern "C" __attribute__((visibility("default"))) int mkl_serv_intel_cpu_true(void) { return 1; }

extern "C" {
int hone_version(char **text, char **capability, int *abi, char **err) {
  GUARD(*text = strdup(TORCH_VERSION); *capability = strdup(at::get_cpu_capability().c_str());
        *abi = int(aoti_torch_abi_version() >> 48))
}
int hone_set_threads(int n, char **err) { GUARD(at::set_num_threads(n)) }
int hone_threads(void) { return at::get_num_threads(); }
void hone_grad_mode(int on) { at::GradMode::set_enabled(on != 0); }

int hone_empty(hten *out, const int64_t *shape, int dims, int dtype, char **err) {
  GUARD(*out = give(at::empty(at::IntArrayRef(shape, dims), at::TensorOptions().dtype(at::ScalarType(dtype)))))
}
// Asks for huge pages, which most kernels leave to programs, before the tensor is first written.
int hone_huge(hten t, char **err) {
  GUARD(auto at = reinterpret_cast<uintptr_t>(T(t).data_ptr()), end = (at + T(t).nbytes()) & ~(kPage - 1);
        at = (at + kPage - 1) & ~(kPage - 1);
        if (at < end) madvise(reinterpret_cast<void *>(at), end - at, MADV_HUGEPAGE)) // advice: a kernel without them says no
}
int hone_info(hten t, int64_t *shape, int64_t *stride, int *dims, int *dtype, int *contiguous, void **data, char **err) {
  GUARD(const Tensor &x = T(t); TORCH_CHECK(x.dim() <= 8, "more than 8 dimensions"); *dims = int(x.dim());
        for (int i = 0; i < x.dim(); i++) { shape[i] = x.size(i); stride[i] = x.stride(i); }
        *dtype = int(x.scalar_type()); *contiguous = x.is_contiguous(); *data = x.data_ptr())
}
// A leaf whose values, and where grad is given whose gradient, are slices of flat buffers.
int hone_leaf(hten *out, hten storage, int64_t offset, const int64_t *shape, int dims, int trainable, hten grad, char **err) {
  GUARD(at::IntArrayRef s(shape, dims); int64_t n = c10::multiply_integers(s);
        Tensor leaf = T(storage).detach().narrow(0, offset, n).view(s); leaf = leaf.detach(); leaf.set_requires_grad(trainable != 0);
        if (grad) leaf.mutable_grad() = T(grad).detach().narrow(0, offset, n).view(s).detach();
        *out = give(leaf))
}
// A slice of a contiguous tensor's elements in another shape, without autograd.
int hone_view(hten *out, hten t, int64_t offset, const int64_t *shape, int dims, char **err) {
  GUARD(at::IntArrayRef s(shape, dims); TORCH_CHECK(T(t).is_contiguous(), "view of a tensor that is not contiguous");
        *out = give(T(t).detach().view(-1).narrow(0, offset, c10::multiply_integers(s)).view(s)))
}
// Gradients of the leaves from outs[i], weighted by grads[i]; a null gradient is one, for a scalar.
int hone_backward(const hten *outs, const hten *grads, int n, char **err) {
  GUARD(variable_list o; variable_list g; for (int i = 0; i < n; i++) { o.push_back(T(outs[i])); g.push_back(grads[i] ? T(grads[i]) : Tensor()); }
        torch::autograd::backward(o, g))
}
int hone_gradient(hten *out, hten t, char **err) {
  GUARD(TORCH_CHECK(T(t).grad().defined(), "no gradient"); *out = give(T(t).grad()))
}
int hone_clone(hten *out, hten t, char **err) { GUARD(*out = give(T(t).detach().clone())) }
void hone_free(hten t) { delete static_cast<Tensor *>(t); }
}
