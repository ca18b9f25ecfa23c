package main

import (
	"fmt"
	"runtime"
	"strings"

	"golang.org/x/sys/cpu"
)

// examineCPU names the processor and what of it libtorch's kernels use.
func examineCPU() checkup {
	var has []string
	for _, feature := range []struct {
		name  string
		there bool
	}{
		{"avx2", cpu.X86.HasAVX2 && cpu.X86.HasFMA},
		{"avx512", cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL && cpu.X86.HasAVX512DQ},
		{"avx512_bf16", cpu.X86.HasAVX512BF16},
		{"amx_bf16", cpu.X86.HasAMXBF16},
		{"neon", cpu.ARM64.HasASIMD},
	} {
		if feature.there {
			has = append(has, feature.name)
		}
	}
	f := checkup{
		Name: "cpu", Status: fine, Found: fmt.Sprintf("%s, %d cores, %s", processor(), runtime.NumCPU(), strings.Join(has, " ")),
		Detail: map[string]any{"model": processor(), "cores": runtime.NumCPU(), "features": has},
	}
	if runtime.GOARCH == "amd64" && len(has) == 0 {
		f.Status, f.Found = note, f.Found+"without AVX2: training is several times slower than it could be"
	}
	return f
}
