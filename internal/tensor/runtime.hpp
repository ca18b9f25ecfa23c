// Tensors' life and what libtch does not reach: threads, grad mode without its 8-byte read, leaves over flat buffers.
#include <ATen/Version.h>
#include <torch/version.h>
#include <ATen/native/DispatchStub.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>
#include <sys/mman.h>

#include <climits>
#include <cstdlib>
#include <string>

#include "composite.hpp"
using namespace hone;

namespace {
constexpr uintptr_t kPage = 2 << 20;
constexpr size_t kStaged = 4 << 20;
// Where tensors are made: a process computes on one device.
c10::Device device(c10::kCPU);
optional<c10::Stream> stream; // of the device, for all work: not the default one, on which nothing can be recorded

// The folder of the libtorch_cpu.so that is loaded. Not &at::globalContext: that may be this program's own entry for it.
std::string libtorch_folder() {
  const void *symbol = dlsym(RTLD_DEFAULT, "_ZN2at13globalContextEv");
  Dl_info info;
  char path[PATH_MAX];
  if (!symbol || !dladdr(symbol, &info) || !realpath(info.dli_fname, path)) return "";
  std::string s(path);
  return s.substr(0, s.rfind('/'));
}
// What the driver calls device number i.
std::string device_name(int i) {
  void *driver = dlopen("libcuda.so.1", RTLD_NOW);
  auto get = driver ? reinterpret_cast<int (*)(int *, int)>(dlsym(driver, "cuDeviceGet")) : nullptr;
  auto name = driver ? reinterpret_cast<int (*)(char *, int, int)>(dlsym(driver, "cuDeviceGetName")) : nullptr;
  char text[256] = "";
  int d = 0;
  if (!get || !name || get(&d, i) || name(text, sizeof text - 1, d)) return "CUDA device " + std::to_string(i);
  return text;
}
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
  GUARD(*out = give(at::empty(at::IntArrayRef(shape, dims), at::TensorOptions().dtype(at::ScalarType(dtype)).device(device))))
}
// Asks for huge pages, which most kernels leave to programs, before the tensor is first written.
int hone_huge(hten t, char **err) {
  GUARD(if (!T(t).is_cpu()) return 0;
        auto at = reinterpret_cast<uintptr_t>(T(t).data_ptr()), end = (at + T(t).nbytes()) & ~(kPage - 1);
        at = (at + kPage - 1) & ~(kPage - 1);
        if (at < end) madvise(reinterpret_cast<void *>(at), end - at, MADV_HUGEPAGE)) // advice: a kernel without them says no
}
// Whether bfloat16 holds every element of a contiguous float32 tensor exactly.
int hone_fits_bfloat16(hten t, int *fits, char **err) {
  GUARD(const Tensor &x = T(t); TORCH_CHECK(x.is_contiguous() && x.scalar_type() == at::kFloat, "float32 behind one another is wanted");
        std::atomic<bool> all{true}; auto bits = ptr<uint32_t>(x);
        at::parallel_for(0, x.numel(), 1 << 16, [&](int64_t a, int64_t b) {
          uint32_t low = 0;
          for (int64_t i = a; i < b && all.load(std::memory_order_relaxed); i += 4096) {
            for (int64_t j = i; j < std::min(b, i + 4096); j++) low |= bits[j] & 0xffff;
            if (low) all = false;
          }
        });
        *fits = all)
}
int hone_info(hten t, int64_t *shape, int64_t *stride, int *dims, int *dtype, int *contiguous, void **data, char **err) {
  GUARD(const Tensor &x = T(t); TORCH_CHECK(x.dim() <= 8, "more than 8 dimensions"); *dims = int(x.dim());
        for (int i = 0; i < x.dim(); i++) { shape[i] = x.size(i); stride[i] = x.stride(i); }
        *dtype = int(x.scalar_type()); *contiguous = x.is_contiguous(); *data = x.is_cpu() ? x.data_ptr() : nullptr)
}
// Opens libtorch's CUDA library, which registers its kernels: how many devices there are, or none and in why (malloc'ed) the reason.
int hone_cuda(int *devices, char **why, char **err) {
  GUARD(std::string path = libtorch_folder() + "/libtorch_cuda.so"; *devices = 0;
        if (access(path.c_str(), F_OK)) { *why = strdup((path + " is not there: this libtorch is built for the CPU alone").c_str()); return 0; }
        if (!dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL)) { *why = strdup(dlerror()); return 0; }
        *devices = at::detail::getCUDAHooks().deviceCount();
        if (!*devices) *why = strdup("no NVIDIA driver, or no device that it lets this process see"))
}
// What device number i is called (malloc'ed).
char *hone_device_name(int i) { return strdup(device_name(i).c_str()); }
// The calling thread's work goes to the device's stream: each thread has a current one of its own.
void hone_thread(void) {
  if (!device.is_cpu()) c10::impl::VirtualGuardImpl(c10::kCUDA).exchangeStream(*stream);
}
void hone_use_cpu(void) { device = c10::Device(c10::kCPU); at::globalContext().setDeterministicAlgorithms(false, false); }
// Tensors are made on device number i from now on, by deterministic algorithms where `same` says so. Call hone_cuda before.
int hone_use_cuda(int i, int same, char **name, char **err) {
  GUARD(auto &context = at::globalContext(); context.lazyInitDevice(c10::kCUDA); device = c10::Device(c10::kCUDA, i);
        c10::impl::VirtualGuardImpl guard(c10::kCUDA); guard.setDevice(device);
        if (!stream || stream->device() != device) stream = guard.getStreamFromGlobalPool(device);
        hone_thread();
        context.setDeterministicAlgorithms(same != 0, false); context.setDeterministicFillUninitializedMemory(false);
        *name = strdup(device_name(i).c_str()))
}
// Opens libhone_cuda.so beside this program, which records work and has kernels for a device; where it cannot, the reason is in why (malloc'ed).
int hone_plugin(int *version, char **why, char **err) {
  GUARD(char path[PATH_MAX]; ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1); std::string file(path, n > 0 ? n : 0);
        file = file.substr(0, file.rfind('/') + 1) + "libhone_cuda.so";
        void *library = dlopen(file.c_str(), RTLD_NOW);
        auto get = library ? reinterpret_cast<const hone_cuda_api *(*)()>(dlsym(library, "hone_cuda_plugin")) : nullptr;
        if (!get) { *why = strdup(dlerror()); return 0; }
        if (get()->version != kPluginVersion) { *why = strdup((file + " is of another version of hone").c_str()); return 0; }
        plugin = get(); *version = plugin->version)
}
// Records what is done between begin and end instead of doing it; replay does it.
int hone_graph_begin(void **graph, char **err) { return (*graph = plugin->begin(err)) == nullptr; }
int hone_graph_end(void *graph, char **err) { return plugin->end(graph, err); }
int hone_graph_replay(void *graph, char **err) { return plugin->replay(graph, err); }
void hone_graph_free(void *graph) { plugin->free(graph); }
void hone_graph_watch(int level) { plugin->watch(level); }
// The device's draws of random numbers: begun anew at a key, how far they are, and gone on with from there.
int hone_draw_from(uint64_t key, char **err) { GUARD(hone::stock::begin_draws(device, key)) }
int hone_drawn(uint64_t *at, char **err) { GUARD(*at = at::globalContext().defaultGenerator(device).get_offset()) }
int hone_draw_on(uint64_t at, char **err) { GUARD(at::Generator g = at::globalContext().defaultGenerator(device); g.set_offset(at)) }
// Uniform in -1 to 1.
int hone_uniform(hten *out, const int64_t *shape, int dims, char **err) {
  GUARD(*out = give(at::empty(at::IntArrayRef(shape, dims), at::TensorOptions().dtype(at::kFloat).device(device)).uniform_(-1, 1)))
}
int hone_on_device(void) { return !device.is_cpu(); }
// Makes every operator take its composite, for tests.
void hone_composites(int on) { composites = on != 0; }
// Copies a tensor's elements, row-major, to main memory and from there. Bytes of its elements: no more, no less.
int hone_read(hten t, void *to, char **err) {
  GUARD(Tensor x = T(t).detach(); at::from_blob(to, x.sizes(), x.options().device(c10::kCPU)).copy_(x))
}
int hone_write(hten t, const void *from, char **err) {
  GUARD(Tensor x = T(t).detach();
        if (x.is_cpu() || x.nbytes() > kStaged) { x.copy_(at::from_blob(const_cast<void *>(from), x.sizes(), x.options().device(c10::kCPU))); return 0; }
        // Small things, a step's inputs, do not wait for the work before them: pages that stay in memory are copied when it is done.
        Tensor pinned = at::empty(x.sizes(), x.options().device(c10::kCPU).pinned_memory(true));
        memcpy(pinned.data_ptr(), from, x.nbytes()); x.copy_(pinned, true))
}
int hone_zero(hten t, char **err) { GUARD(T(t).detach().zero_()) }
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
