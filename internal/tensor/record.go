package tensor

// #include <stdlib.h>
// #include "ops.h"
import "C"

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"unsafe"
)

// plugin opens libhone_cuda.so once, which records work and has kernels for a device, or says why it cannot.
var plugin = sync.OnceValue(func() error {
	var version C.int
	var why, e *C.char
	if C.hone_plugin(&version, &why, &e) != 0 {
		why = e
	}
	if why == nil {
		kernels = fmt.Sprintf("libhone_cuda %d", version)
		return nil
	}
	defer C.free(unsafe.Pointer(why))
	return errors.New(C.GoString(why))
})

// kernels names the plugin that was opened.
var kernels = "libtorch's kernels"

// Kernels says by whose kernels a device computes, since the bits differ; nothing on the processor.
func Kernels() string {
	if !OnDevice() {
		return ""
	}
	return kernels
}

// Records says why a Recording only ever calls its work; nil where it records.
func Records() error {
	if !OnDevice() {
		return errors.New("tensors are made in main memory")
	}
	return plugin()
}

// Replays counts what was replayed in this process.
var Replays int

// watched is whether work may not wait.
var watched bool

// WatchSyncs makes it an error that work waits for the device without being asked to; for tests. It does nothing where Records is not nil.
func WatchSyncs(on bool) {
	if Records() == nil {
		level := C.int(0)
		if watched = on; on {
			level = 2
		}
		C.hone_graph_watch(level)
	}
}

// Recording is work that is done again and again over the same memory. It is called the first time, recorded the second as a
// CUDA graph, and replayed from then on: the processor has nothing more to do with it. What it gives goes to memory that it
// does not make itself, what it makes is its own, and it may not wait for the device. Recordings run one after another. Where work
// cannot be recorded it is called each time.
type Recording struct {
	called bool
	graphs []unsafe.Pointer // one, or two around what the processor does between them
}

// unrecorded is set where recording has failed once: the process goes on without.
var unrecorded bool

// Run does the work.
func (r *Recording) Run(f func()) { r.RunAround(nil, func(func()) { f() }) }

// RunAround does work that asks the processor once, by calling ask: between is done there, which reads what the work has given so
// far and writes what it goes on from. So it may wait for the device. It is recorded as two graphs.
func (r *Recording) RunAround(between func(), f func(ask func())) {
	asked := false
	ask := func() {
		if asked { // before recording failed
			return
		}
		asked = true
		if watched {
			WatchSyncs(false)
			defer WatchSyncs(true)
		}
		between()
	}
	if r.graphs == nil && r.called && !unrecorded && Records() == nil {
		err := r.record(ask, f)
		if err == nil {
			return
		}
		fmt.Fprintln(os.Stderr, "work is not recorded as a CUDA graph, and slower:", err)
		unrecorded = true
	}
	if r.graphs == nil {
		f(ask)
		r.called = true
		return
	}
	for i, g := range r.graphs {
		if i > 0 {
			ask()
		}
		replay(g)
	}
}

func replay(graph unsafe.Pointer) {
	var e *C.char
	check("replay", C.hone_graph_replay(graph, &e), e)
	Replays++
}

// record records the work and does it, a part after the other. What the first part made lives on until the second is recorded.
func (r *Recording) record(ask func(), f func(ask func())) error {
	var open unsafe.Pointer // the part that is being recorded
	begin := func() {
		var e *C.char
		check("record", C.hone_graph_begin(&open, &e), e)
	}
	end := func() {
		part := open
		open = nil
		var e *C.char
		if rc := C.hone_graph_end(part, &e); rc != 0 {
			C.hone_graph_free(part)
			check("record", rc, e)
		}
		r.graphs = append(r.graphs, part)
	}
	err := Guard(func() error {
		begin()
		func() {
			defer Open().Close()
			f(func() {
				end()
				replay(r.graphs[0])
				ask()
				begin()
			})
		}()
		end()
		replay(r.graphs[len(r.graphs)-1])
		return nil
	})
	if err != nil {
		if open != nil {
			var e *C.char
			if C.hone_graph_end(open, &e) != 0 {
				C.free(unsafe.Pointer(e))
			}
			C.hone_graph_free(open)
		}
		r.Free()
	}
	return err
}

// Free forgets what was recorded.
func (r *Recording) Free() {
	for _, g := range r.graphs {
		C.hone_graph_free(g)
	}
	*r = Recording{}
}
