// hone-worker does one stage that needs tensors or token ids, and answers prompts for `hone generate` and `hone chat`.
//
//	hone-worker stage JOBDIR     the job in a job folder (docs/worker.md)
//	hone-worker complete         requests on standard input, answers on standard output, a JSON line each (complete.go)
//	hone-worker bench            what predictions go by, for `hone doctor --bench` (bench.go)
//	hone-worker version [--json] libtorch, its instruction set, the versions of stage kinds
//
// hone starts it; people seldom do.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/tensor"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
	"github.com/hone-ml/hone/stages/model"
)

func main() {
	// The thread that libtorch's state lives on is the main one, from before any tensor.
	tensor.Lock()
	args := os.Args[1:]
	switch {
	case len(args) == 2 && args[0] == "stage":
		os.Exit(stages.Main(args[1], model.Stages(), model.Numerics))
	case len(args) == 1 && args[0] == "complete":
		os.Exit(complete(os.Stdin, os.Stdout))
	case len(args) >= 1 && args[0] == "bench":
		os.Exit(bench(args[1:], os.Stdout))
	case len(args) >= 1 && args[0] == "version":
		version(len(args) > 1 && args[1] == "--json")
	default:
		fmt.Fprintln(os.Stderr, "usage: hone-worker stage JOBDIR | complete | bench [--device DEVICE] [--threads N] | version [--json]")
		os.Exit(2)
	}
}

func version(asJSON bool) {
	libtorch, capability, _ := tensor.Version()
	devices, why := tensor.Devices()
	kinds := map[string]int{}
	for kind := range model.Stages() {
		kinds[kind] = schemas.Implementation(kind)
	}
	if asJSON {
		b, _ := json.Marshal(map[string]any{"protocol": job.Protocol, "libtorch": libtorch, "cpu_capability": capability,
			"threads": runtime.NumCPU(), "devices": append([]string{"cpu"}, devices...), "no_cuda": why, "kinds": kinds})
		fmt.Printf("%s\n", b)
		return
	}
	if why == "" {
		why = strings.Join(devices, ", ")
	}
	fmt.Printf("protocol %d, libtorch %s, %s, %d processors, CUDA: %s\n", job.Protocol, libtorch, capability, runtime.NumCPU(), why)
}
