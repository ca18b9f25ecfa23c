// libhone_cuda.so: recorded work as CUDA graphs, and kernels of our own (kernels.cu). Built by build/cuda-plugin, with or without a GPU; the worker opens it beside
// itself where it has found a device, after libtorch_cuda.so, whose symbols it takes from the process.
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>

#include <cstring>
#include <exception>
#include <memory>
#include <type_traits>

#include "plugin.h"

using at::cuda::CUDAGraph;

template <class F>
static bool guarded(char **err, F f) {
  try { f(); return true; }
  catch (const c10::Error &e) { *err = strdup(e.what_without_backtrace()); }
  catch (const std::exception &e) { *err = strdup(e.what()); }
  catch (...) { *err = strdup("unknown C++ exception"); }
  return false;
}

// Graphs share one pool: they run one after another and leave nothing in it that another reads. A pool ends with its last graph.
static at::cuda::MempoolId_t pool;
static int graphs = 0;

static void *begin(char **err) {
  std::unique_ptr<CUDAGraph> graph;
  bool ok = guarded(err, [&] {
    if (graphs == 0) pool = at::cuda::graph_pool_handle();
    graph = std::make_unique<CUDAGraph>();
    graph->capture_begin(pool, cudaStreamCaptureModeGlobal);
    graphs++;
  });
  return ok ? graph.release() : nullptr;
}
static int end(void *g, char **err) { return !guarded(err, [&] { static_cast<CUDAGraph *>(g)->capture_end(); }); }
static int replay(void *g, char **err) { return !guarded(err, [&] { static_cast<CUDAGraph *>(g)->replay(); }); }
static void release(void *g) { delete static_cast<CUDAGraph *>(g); graphs--; }
static void watch(int level) { c10::cuda::warning_state().set_sync_debug_mode(static_cast<c10::cuda::SyncDebugMode>(level)); }

extern "C" cudaStream_t hone_stream() { return c10::cuda::getCurrentCUDAStream(); }
extern "C" { // kernels.cu
std::remove_pointer_t<decltype(hone_cuda_api::rope)> hone_rope_kernel;
std::remove_pointer_t<decltype(hone_cuda_api::gate)> hone_gate_kernel;
std::remove_pointer_t<decltype(hone_cuda_api::gate_back)> hone_gate_back_kernel;
std::remove_pointer_t<decltype(hone_cuda_api::rmsnorm)> hone_rmsnorm_kernel;
std::remove_pointer_t<decltype(hone_cuda_api::rmsnorm_back)> hone_rmsnorm_back_kernel;
std::remove_pointer_t<decltype(hone_cuda_api::softmax)> hone_softmax_kernel;
}

extern "C" __attribute__((visibility("default"))) const hone_cuda_api *hone_cuda_plugin() {
  static const hone_cuda_api api{kPluginVersion, begin, end, replay, release, watch, hone_rope_kernel, hone_gate_kernel, hone_gate_back_kernel,
                                 hone_rmsnorm_kernel, hone_rmsnorm_back_kernel, hone_softmax_kernel};
  return &api;
}
