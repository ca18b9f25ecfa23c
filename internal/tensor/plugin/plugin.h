// What libhone_cuda.so gives the worker, as plain C: the part that needs CUDA's headers. A message in err is malloc'ed.
#pragma once
struct hone_cuda_api {
  int version;                      // of this struct
  void *(*begin)(char **err);       // starts to record the current stream, which must not be the default one
  int (*end)(void *graph, char **err);
  int (*replay)(void *graph, char **err);
  void (*free)(void *graph);
  void (*watch)(int level);         // a hidden synchronisation is 0: allowed, 1: warned of, 2: an error
};
constexpr int kPluginVersion = 1;
