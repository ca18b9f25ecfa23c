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

// plugin opens libhone_cuda.so once, or says why it cannot.
var plugin = sync.OnceValue(func() error {
	var why, e *C.char
	if C.hone_plugin(&why, &e) != 0 {
		why = e
	}
	if why == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(why))
	return errors.New(C.GoString(why))
})

// Records says why a Recording only ever calls its work; nil where it records.
func Records() error {
	if !OnDevice() {
		return errors.New("tensors are made in main memory")
	}
	return plugin()
}

// Replays counts what was replayed in this process.
var Replays int

// WatchSyncs makes it an error that work waits for the device without being asked to; for tests. It does nothing where Records is not nil.
func WatchSyncs(on bool) {
	if Records() == nil {
		level := C.int(0)
		if on {
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
	graph  unsafe.Pointer
}

// unrecorded is set where recording has failed once: the process goes on without.
var unrecorded bool

// Run does the work.
func (r *Recording) Run(f func()) {
	if r.graph == nil && r.called && !unrecorded && Records() == nil {
		if err := r.record(f); err != nil {
			fmt.Fprintln(os.Stderr, "work is not recorded as a CUDA graph, and slower:", err)
			unrecorded = true
		}
	}
	if r.graph == nil {
		f()
		r.called = true
		return
	}
	var e *C.char
	check("replay", C.hone_graph_replay(r.graph, &e), e)
	Replays++
}

func (r *Recording) record(f func()) error {
	return Guard(func() error {
		var graph unsafe.Pointer
		var e *C.char
		check("record", C.hone_graph_begin(&graph, &e), e)
		err := Guard(func() error { defer Open().Close(); f(); return nil })
		if rc := C.hone_graph_end(graph, &e); rc != 0 || err != nil {
			C.hone_graph_free(graph)
			if err != nil {
				return err
			}
			check("record", rc, e)
		}
		r.graph = graph
		return nil
	})
}

// Free forgets what was recorded.
func (r *Recording) Free() {
	if r.graph != nil {
		C.hone_graph_free(r.graph)
	}
	*r = Recording{}
}
