package tensor

// #include <stdlib.h>
// #include "ops.h"
import "C"

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"unsafe"
)

// cuda opens libtorch's CUDA library once: how many devices there are, or why there is none.
var cuda = sync.OnceValues(func() (int, error) {
	var n C.int
	var why, e *C.char
	if C.hone_cuda(&n, &why, &e) != 0 {
		why = e
	}
	if why != nil {
		defer C.free(unsafe.Pointer(why))
		return 0, errors.New(C.GoString(why))
	}
	return int(n), nil
})

// CUDA is the number of CUDA devices, or why there is none. The first call takes some tenths of a second where there is one.
func CUDA() (int, error) { return cuda() }

// Devices is the CUDA devices as `cuda:N NAME`, or why there is none.
func Devices() (names []string, why string) {
	n, err := CUDA()
	if err != nil {
		return nil, err.Error()
	}
	for i := range n {
		name := C.hone_device_name(C.int(i))
		names = append(names, fmt.Sprintf("cuda:%d %s", i, C.GoString(name)))
		C.free(unsafe.Pointer(name))
	}
	return names, ""
}

// Use makes tensors on a device from now on: cpu, cuda, cuda:N, or auto, which is CUDA where there is one. It returns the
// device's name, cpu or the accelerator's. There, the same work gives the same bits where same says so: slower in places.
func Use(device string, same bool) (string, error) {
	C.hone_use_cpu()
	if device == "" || device == "cpu" {
		return "cpu", nil
	}
	n, err := CUDA()
	if device == "auto" && err != nil {
		return "cpu", nil
	}
	if err != nil {
		return "", fmt.Errorf("device %s: %w", device, err)
	}
	kind, number, _ := strings.Cut(device, ":")
	i, err := strconv.Atoi("0" + number)
	switch {
	case kind != "cuda" && kind != "auto" || err != nil:
		return "", fmt.Errorf("device %s is not known: auto, cpu and cuda[:N] are", device)
	case i >= n:
		return "", fmt.Errorf("device %s: this machine has %d", device, n)
	}
	var name, e *C.char
	deterministic := C.int(0)
	if same {
		deterministic = 1
	}
	if rc := C.hone_use_cuda(C.int(i), deterministic, &name, &e); rc != 0 {
		defer C.free(unsafe.Pointer(e))
		return "", fmt.Errorf("device %s: %s", device, C.GoString(e))
	}
	defer C.free(unsafe.Pointer(name))
	_ = plugin() // Records says why not
	return C.GoString(name), nil
}

// OnDevice reports whether tensors are made on an accelerator.
func OnDevice() bool { return C.hone_on_device() != 0 }

// DrawFrom begins the device's draws of random numbers anew: what follows depends on key, which is not 0, and repeats.
func DrawFrom(key uint64) {
	var e *C.char
	check("draw", C.hone_draw_from(C.uint64_t(key), &e), e)
}

// Drawn is how far the device's draws are; DrawOn goes on from there. Work that is being recorded can do neither.
func Drawn() uint64 {
	var at C.uint64_t
	var e *C.char
	check("draw", C.hone_drawn(&at, &e), e)
	return uint64(at)
}

// DrawOn has draws go on from where Drawn said that they were.
func DrawOn(at uint64) {
	var e *C.char
	check("draw", C.hone_draw_on(C.uint64_t(at), &e), e)
}

// Uniform draws float32 numbers within -1 and 1 on the device.
func Uniform(shape ...int64) Tensor {
	var out C.hten
	var e *C.char
	check("uniform", C.hone_uniform(&out, shapePtr(shape), C.int(len(shape)), &e), e)
	return wrap(out)
}

// composites is whether every operator takes its composite of libtorch's operations, as it does on a device; for tests.
var composites bool

func useComposites(on bool) {
	if composites = on; on {
		C.hone_composites(1)
	} else {
		C.hone_composites(0)
	}
}
